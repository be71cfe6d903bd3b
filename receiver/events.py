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
from receiver.bodies import MOST_OF_AN_EVENT, read_body, require_json
from receiver.contacts import read_wishes
from receiver.problems import Problem
from store.group_commit import GroupCommit
from store.intake import Event, Taken
from store.notify import Notifier

SOURCES = ("generic",)
API = "api"  # the source of what comes through /v1/lookups
PATIENCE = 4.0  # seconds for the commit; HubSpot gives an answer five


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
        source = request.path_params["source"]
        if source not in SOURCES:
            raise Problem(404, f"There is no such source; there is: {', '.join(SOURCES)}.")
        if self._tokens.admit(request):
            return await self._take(request, source, await read_body(request, MOST_OF_AN_EVENT), None)
        if self._key is None or not may_be_signed(request.headers):
            raise unauthorized()
        body = await read_body(request, MOST_OF_AN_EVENT)
        message_id = verify_webhook(request.headers, body, key=self._key, now=time.time())
        if message_id is None:
            raise unauthorized()
        return await self._take(request, source, body, message_id)

    async def create(self, request: Request) -> Response:
        """The same through the API."""
        return await self._take(request, API, await read_body(request, MOST_OF_AN_EVENT), None)

    async def _take(self, request: Request, source: str, body: bytes, message_id: str | None) -> Response:
        require_json(request)
        wishes = read_wishes(body, source=source, message_id=message_id, providers=self._providers)
        taken = await self._commit.submit(Event(source, body, wishes), within=PATIENCE)
        if not all(lookup.duplicate for lookup in taken):
            self._notifier.wake()
        return _answer(taken)


def _answer(taken: Sequence[Taken]) -> Response:
    lookups = [{"id": str(one.id), "status": one.status, "duplicate": one.duplicate} for one in taken]
    return Response(json.dumps({"lookups": lookups}), 202, media_type="application/json")
