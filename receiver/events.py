"""POST /events/{source} and /v1/lookups: verify, read, commit, answer.  A 202 means that it is stored."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from enrichment.providers.base import Provider
from enrichment.settings import Settings
from receiver.auth import Tokens, may_be_signed, unauthorized, verify_webhook, webhook_key
from receiver.bodies import MOST_OF_AN_EVENT, read_body
from receiver.contacts import read_wishes
from receiver.encodings import as_signed, json_text
from receiver.patience import patience_with
from receiver.pings import echo_body, echo_query, probe
from receiver.problems import Problem
from store.group_commit import GroupCommit
from store.intake import Event, Taken
from store.notify import Notifier

SOURCES = ("generic",)
API = "api"  # the source of what comes through /v1/lookups


class Events:
    """Takes events in."""

    def __init__(
        self,
        settings: Settings,
        tokens: Tokens,
        providers: Mapping[str, Provider],
        commit: GroupCommit[Event, list[Taken]],
        notifier: Notifier,
    ) -> None:
        secret = settings.events_signing_secret
        self._key = webhook_key(secret) if secret else None
        self._tokens = tokens
        self._providers = providers
        self._commit = commit
        self._notifier = notifier

    async def receive(self, request: Request) -> Response:
        """A CRM's event is stored, with its lookups and their first jobs."""
        source = _source(request)
        if self._tokens.admit(request):
            return await self._take(request, source, await read_body(request, MOST_OF_AN_EVENT), None)
        if self._key is None or not may_be_signed(request.headers):
            raise unauthorized()
        body = await read_body(request, MOST_OF_AN_EVENT)
        for signed in as_signed(request.headers, body, MOST_OF_AN_EVENT):
            message_id = verify_webhook(request.headers, signed, key=self._key, now=time.time())
            if message_id is not None:
                return await self._take(request, source, body, message_id)
        raise unauthorized()

    async def probe(self, request: Request) -> Response:
        """Answer a sender that looks at the address first."""
        _source(request)
        return await probe(request, self._tokens)

    async def create(self, request: Request) -> Response:
        """The same through the API."""
        return await self._take(request, API, await read_body(request, MOST_OF_AN_EVENT), None)

    async def _take(self, request: Request, source: str, body: bytes, message_id: str | None) -> Response:
        if not body and (echo := echo_query(request)):
            return echo
        body = json_text(request.headers, body, MOST_OF_AN_EVENT)
        if echo := echo_body(body):
            return echo
        wishes = read_wishes(body, source=source, message_id=message_id, providers=self._providers)
        taken = await self._commit.submit(Event(source, body, wishes), within=patience_with(source))
        if not all(lookup.duplicate for lookup in taken):
            self._notifier.wake()
        return _answer(taken)


def _source(request: Request) -> str:
    source: str = request.path_params["source"]
    if source not in SOURCES:
        raise Problem(404, f"There is no such source; there is: {', '.join(SOURCES)}.")
    return source


def _answer(taken: Sequence[Taken]) -> Response:
    lookups = [{"id": str(one.id), "status": one.status, "duplicate": one.duplicate} for one in taken]
    return Response(json.dumps({"lookups": lookups}), 202, media_type="application/json")
