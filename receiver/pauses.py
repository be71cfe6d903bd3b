"""/v1/pauses: the brake. Paid questions stop within a second; polls, callbacks and deliveries go on."""

from __future__ import annotations

from typing import Any

import asyncpg
import structlog
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from enrichment.settings import PROVIDER_NAMES, SOURCE_NAMES
from receiver.api import MOST_OF_A_DECISION, as_json
from receiver.auth import who
from receiver.bodies import read_body
from receiver.encodings import plain_body
from receiver.messages_pauses import LONGEST_REASON, Pause, PauseBody, PauseList
from receiver.problems import Problem, id_of, not_found, wrong_fields
from store import pauses
from store.database import transaction
from store.notify import Notifier

log = structlog.get_logger()

FIELDS = {
    "provider": f"one of {', '.join(PROVIDER_NAMES)}; left out, not of a provider",
    "source": f"one of {', '.join(SOURCE_NAMES)}; left out, not of a source",
    "reason": f"needed: 1 to {LONGEST_REASON} characters, none of them NUL",
}


class Pauses:
    """The handlers that list, add and remove pauses."""

    def __init__(self, pool: asyncpg.Pool[Any], notifier: Notifier) -> None:
        self._pool = pool
        self._notifier = notifier

    async def list(self, _: Request) -> Response:
        """Answer with the pauses in force."""
        return as_json(PauseList(pauses=[Pause.model_validate(row) for row in await pauses.find_pauses(self._pool)]))

    async def add(self, request: Request) -> Response:
        """Pause a provider, a source, or all paid questions."""
        sent = await read_body(request, MOST_OF_A_DECISION)
        body = _read_body(plain_body(request.headers, sent, MOST_OF_A_DECISION))
        scope = pauses.Scope(body.provider, body.source)
        async with transaction(self._pool, acknowledge=True) as connection:
            pause = await pauses.add_pause(connection, scope, reason=body.reason, who=who(request))
        if pause is None:
            raise Problem(409, f"A pause of {scope} is in force already; GET /v1/pauses says who made it, and why.")
        log.warning("paused", provider=body.provider, source=body.source, who=who(request))
        return as_json(Pause.model_validate(pause), 201)

    async def remove(self, request: Request) -> Response:
        """Remove a pause; the questions that it held go on."""
        async with transaction(self._pool, acknowledge=True) as connection:
            pause = await pauses.remove_pause(connection, id_of(request, "pause"), who=who(request))
        if pause is None:
            raise not_found("pause")
        self._notifier.wake()
        log.info("resumed", provider=pause["provider"], source=pause["source"], who=who(request))
        return as_json(Pause.model_validate(pause))


def _read_body(body: bytes) -> PauseBody:
    """Read what to pause. Raise Problem (422)."""
    try:
        read = PauseBody.model_validate_json(body)
    except ValidationError as error:
        names = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
        wrong = [(name, FIELDS.get(name, "not a field of a pause")) for name in sorted(names)]
        raise wrong_fields(wrong or [("", 'JSON, like {"provider": "nyne", "reason": "..."}')]) from None
    wrong = []
    if read.provider is not None and read.provider not in PROVIDER_NAMES:
        wrong.append(("provider", FIELDS["provider"]))
    if read.source is not None and read.source not in SOURCE_NAMES:
        wrong.append(("source", FIELDS["source"]))
    if read.provider is not None and read.source is not None:
        wrong.append(("source", "a pause is of a provider or of a source; make two"))
    if "\0" in read.reason or not read.reason.strip():
        wrong.append(("reason", FIELDS["reason"]))
    if wrong:
        raise wrong_fields(wrong)
    return read
