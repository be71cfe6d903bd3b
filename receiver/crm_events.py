"""POST /events/{CRM}: verify, name the contacts to read, commit, answer. A 202 means: committed.

An event is a hint: it names contacts, and the submitter reads each from the CRM before anything is spent.
"""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import Response

from enrichment.contact import Problem as FieldProblem
from enrichment.crms import CRMS, build_crm
from enrichment.crms.base import Crm, Heard
from enrichment.crms.generic import read_named
from enrichment.event import NotAnEvent
from enrichment.event_json import NotJson
from enrichment.settings import Settings
from enrichment.shown import WrongField
from receiver.auth import Tokens
from receiver.bodies import MOST_OF_AN_EVENT, believe, json_of, read_body, read_unverified
from receiver.clocks import Clocks
from receiver.encodings import as_signed
from receiver.messages_crms import CrmEventAnswer
from receiver.metrics import Metrics
from receiver.patience import patience_with
from receiver.pings import echo_body, echo_query, probe
from receiver.problems import Problem, wrong_fields
from store.connections import Connections
from store.database import UNREACHABLE
from store.group_commit import GroupCommit
from store.notify import READINGS, Notifier
from store.readings import CrmEvent

LOOKING = 1.0  # seconds to wait for the connection's row; after that, its last known state is used


class CrmEvents:
    """The handlers of one CRM's events."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        tokens: Tokens,
        connections: Connections,
        commit: GroupCommit[CrmEvent, int],
        notifier: Notifier,
        metrics: Metrics,
    ) -> None:
        self._name = name
        self._public_url = settings.public_url or ""
        self._fields = settings.generic_fields
        self._tokens = tokens
        self._connections = connections
        self._commit = commit
        self._notifier = notifier
        self._metrics = metrics
        self._clocks = Clocks(name, metrics)
        self._unconnected = self._known = build_crm(name, settings, {})  # from the environment alone

    async def receive(self, request: Request) -> Response:
        """Store an event that the CRM signed or that came with a token, and name its contacts."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        if self._tokens.holders(request) or not self._known.may_be_signed(headers):
            if not self._tokens.holders(request):
                raise self._tokens.refusal(request, _unsigned(CRMS[self._name].label))
            self._tokens.admit(request, "events")
            return await self._take_with_token(request, await read_body(request, MOST_OF_AN_EVENT))
        crm = await self._crm()  # before the body: nothing is to be waited for while a stranger's is held
        body = await read_unverified(request, MOST_OF_AN_EVENT)
        url, now = self._url(request), time.time()
        if not any(
            crm.verify(method=request.method, url=url, headers=headers, body=signed, now=now)
            for signed in as_signed(request.headers, body, MOST_OF_AN_EVENT)
        ):
            for signed in as_signed(request.headers, body, MOST_OF_AN_EVENT):
                apart = crm.clocks_apart(method=request.method, url=url, headers=headers, body=signed, now=now)
                if apart is not None:
                    self._clocks.note(apart)
            raise self._tokens.refusal(request, _unsigned(crm.label))
        believe(request)
        text = json_of(request, body, MOST_OF_AN_EVENT)
        try:
            heard = crm.read_event(text)
        except (NotJson, NotAnEvent) as error:
            raise _unreadable(error) from None
        return await self._store(text, heard, ())

    async def probe(self, request: Request) -> Response:
        """Answer a sender that checks the address first."""
        return await probe(request, self._tokens)

    async def _take_with_token(self, request: Request, body: bytes) -> Response:
        """Name the contacts of a body that came with a token, as a workflow of the CRM sends it."""
        if not body and (echo := echo_query(request)):
            return echo
        text = json_of(request, body, MOST_OF_AN_EVENT)
        if echo := echo_body(text):
            return echo
        try:
            heard, problems = read_named(text, self._known, self._fields)
        except (NotJson, NotAnEvent) as error:
            raise _unreadable(error) from None
        return await self._store(text, heard, problems)

    async def _store(self, body: bytes, heard: Heard, problems: tuple[FieldProblem, ...]) -> Response:
        """Commit the event with the contacts that it names, and answer."""
        offered = sum(one.events for one in heard.named)
        accepted = 0
        if heard.named:
            event = CrmEvent(self._name, body, heard.named)
            accepted = await self._commit.submit(event, within=patience_with(self._name))
        ignored = heard.ignored + offered - accepted
        if accepted:
            self._notifier.wake(READINGS)
        for verdict, events in (("accepted", accepted), ("ignored", ignored)):
            self._metrics.crm_events.labels(self._name, verdict).inc(events)
        shown = [WrongField(path=path, message=message) for path, message in problems]
        answer = CrmEventAnswer(accepted=accepted, ignored=ignored, problems=shown)
        return Response(answer.model_dump_json(exclude_defaults=True), 202, media_type="application/json")

    async def _crm(self) -> Crm:
        """Return the adapter with what `ringback connect` learned; while PostgreSQL is unreachable, the last one known.

        Without a secret no signature can be checked: raise the error that PostgreSQL gave.
        """
        try:
            async with asyncio.timeout(LOOKING):
                connected = await self._connections.crm(self._name)
        except UNREACHABLE:
            if not self._known.can_verify:
                raise
            return self._known
        self._known = connected or self._unconnected
        return self._known

    def _url(self, request: Request) -> str:
        """Return the public address that the sender called and signed: with its path and query as sent."""
        path: str = request.scope["raw_path"].decode("latin-1")
        query: str = request.scope["query_string"].decode("latin-1")
        return f"{self._public_url}{path}?{query}" if query else f"{self._public_url}{path}"


def _unsigned(label: str) -> Problem:
    """Return the 401 for a request with neither a token nor a valid signature."""
    return Problem(
        401,
        f"Neither a token of API_TOKENS nor a valid signature of {label}; nothing was stored. If it is {label}'s own "
        "event, check the secret, PUBLIC_URL and the clock of this machine.",
        headers={"WWW-Authenticate": 'Bearer realm="ringback"'},
    )


def _unreadable(error: NotJson | NotAnEvent) -> Problem:
    """Return the 400 or 422 for a body without events."""
    if isinstance(error, NotAnEvent):
        return wrong_fields([(error.path, str(error))])
    return Problem(400, f"The body is not JSON: {error}.")
