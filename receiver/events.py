"""POST /events/{source} and /v1/lookups: verify, read, commit, answer. A 202 means: committed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from enrichment.contact import Problem as FieldProblem
from enrichment.contact import fingerprint
from enrichment.event import ContactRead, NotAnEvent, read_event
from enrichment.event_json import NotJson
from enrichment.providers.base import Provider
from enrichment.settings import Settings
from enrichment.signatures import may_be_signed, verify_webhook, webhook_key
from enrichment.wish import Wish
from receiver.auth import Tokens
from receiver.bodies import MOST_OF_AN_EVENT, believe, json_of, read_body, read_unverified
from receiver.encodings import as_signed
from receiver.patience import patience_with
from receiver.pings import echo_body, echo_query, probe
from receiver.problems import Problem, wrong_fields
from store.group_commit import GroupCommit
from store.intake import Event, Receipt
from store.notify import Notifier

SOURCES = ("generic",)
API = "api"  # the source of events that come through /v1/lookups


class Events:
    """The handlers of events."""

    def __init__(
        self,
        settings: Settings,
        tokens: Tokens,
        providers: Mapping[str, Provider],
        commit: GroupCommit[Event, list[Receipt]],
        notifier: Notifier,
    ) -> None:
        self._keys = [webhook_key(secret) for secret in settings.events_signing_secret]
        self._tokens = tokens
        self._providers = providers
        self._fields = settings.generic_fields
        self._commit = commit
        self._notifier = notifier

    async def receive(self, request: Request) -> Response:
        """Store a CRM's event, with its lookups and their first jobs."""
        source = _source(request)
        if not self._keys or not may_be_signed(request.headers) or self._tokens.holders(request):
            self._tokens.admit(request, "events")
            return await self._take(request, source, await read_body(request, MOST_OF_AN_EVENT), None)
        body = await read_unverified(request, MOST_OF_AN_EVENT)
        for signed in as_signed(request.headers, body, MOST_OF_AN_EVENT):
            message_id = verify_webhook(request.headers, signed, keys=self._keys, now=time.time())
            if message_id is not None:
                believe(request)
                return await self._take(request, source, body, message_id)
        raise self._tokens.refusal(request)

    async def probe(self, request: Request) -> Response:
        """Answer a sender that checks the address first."""
        _source(request)
        return await probe(request, self._tokens)

    async def create(self, request: Request) -> Response:
        """Store an event that comes through the API, as `receive` does."""
        return await self._take(request, API, await read_body(request, MOST_OF_AN_EVENT), None)

    async def _take(self, request: Request, source: str, body: bytes, message_id: str | None) -> Response:
        if not body and (echo := echo_query(request)):
            return echo
        body = json_of(request, body, MOST_OF_AN_EVENT)
        if echo := echo_body(body):
            return echo
        return _answer(*await self._store(source, body, message_id, strict=_read_strict(request)))

    async def store_contact(self, fields: Mapping[str, str]) -> Receipt:
        """Store the contact that a person typed, as an event that comes through the API. Raise Problem (422)."""
        _, taken = await self._store(API, json.dumps(fields).encode(), None, strict=True)
        return taken[0]

    async def _store(
        self, source: str, body: bytes, message_id: str | None, *, strict: bool
    ) -> tuple[Sequence[ContactRead], Sequence[Receipt]]:
        """Commit the event; return its contacts, and a receipt for each that can be used."""
        contacts = self._read(body)
        usable = [read for read in contacts if read.contact is not None]
        if not usable or (strict and any(read.problems for read in contacts)):
            raise wrong_fields(_errors(contacts))
        wishes = tuple(_wish(read, message_id) for read in usable)
        taken = await self._commit.submit(Event(source, body, wishes), within=patience_with(source))
        if not all(lookup.duplicate for lookup in taken):
            self._notifier.wake()
        return contacts, taken

    def _read(self, body: bytes) -> Sequence[ContactRead]:
        """Read the contacts. Raise Problem: 400 if the body is not JSON, 422 if it is not an event."""
        try:
            return read_event(body, providers=self._providers, fields=self._fields)
        except NotJson as error:
            raise Problem(400, f"The body is not JSON: {error}.") from None
        except NotAnEvent as error:
            raise wrong_fields([(error.path, str(error))]) from None


def _source(request: Request) -> str:
    source: str = request.path_params["source"]
    if source not in SOURCES:
        raise Problem(404, f"There is no such source; there is: {', '.join(SOURCES)}.")
    return source


def _read_strict(request: Request) -> bool:
    """Read ?strict=, which refuses an event that has an unusable field. Raise Problem."""
    strict = request.query_params.get("strict", "false").strip().lower()
    if strict not in ("true", "1", "false", "0"):
        raise wrong_fields([("strict", "true or false")])
    return strict in ("true", "1")


def _wish(read: ContactRead, message_id: str | None) -> Wish:
    """Build the wish of a usable contact. Equal content has the same fingerprint, however it is written."""
    assert read.contact is not None  # noqa: S101  only usable contacts come here
    content = fingerprint(read.contact, read.named)
    return Wish(read.contact, read.providers, read.record_id, read.event_id or message_id, content, read.problems)


def _errors(contacts: Sequence[ContactRead]) -> list[FieldProblem]:
    """List the problems of all contacts, each with its path in the body."""
    return [
        (".".join(filter(None, (read.path, path))), message) for read in contacts for path, message in read.problems
    ]


def _answer(contacts: Sequence[ContactRead], taken: Sequence[Receipt]) -> Response:
    """Build the answer: for each contact, in order, its lookup, or null if nothing in it can be used."""
    rest = iter(taken)
    lookups = []
    for read in contacts:
        one = next(rest) if read.contact is not None else None
        lookups.append({
            "id": str(one.id) if one else None,
            "status": one.status if one else None,
            "duplicate": one.duplicate if one else False,
            "problems": [{"path": path, "message": message} for path, message in read.problems],
        })  # fmt: skip
    return Response(json.dumps({"lookups": lookups}), 202, media_type="application/json")
