"""GET /v1/lookups, and a person's decisions about a lookup: retry, cancel or release."""

from __future__ import annotations

from typing import Any

import asyncpg
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from enrichment.shown import show_lookup
from receiver.auth import who
from receiver.bodies import read_body
from receiver.decisions import Decisions, warning
from receiver.encodings import plain_body
from receiver.lookup_lists import list_lookups, read_wanted_list
from receiver.messages import CancelAnswer, LookupPage, ReleaseAnswer, RetryAnswer, RetryBody
from receiver.problems import id_of, not_found, wrong_fields
from store import reports
from store.installation import Installation

MOST_OF_A_DECISION = 4096  # bytes


class Api:
    """The handlers that read, retry, cancel and release lookups."""

    def __init__(self, pool: asyncpg.Pool[Any], installation: Installation, decisions: Decisions) -> None:
        self._pool = pool
        self._installation = installation
        self._decisions = decisions

    async def read(self, request: Request) -> Response:
        """Answer with one lookup and its jobs."""
        rows = await reports.read_lookups(self._pool, [id_of(request, "lookup")])
        if not rows:
            raise not_found("lookup")
        return as_json(show_lookup(rows[0]))

    async def page(self, request: Request) -> Response:
        """Answer with a page of lookups, newest first."""
        wanted = read_wanted_list(request.query_params)
        ids, after = await list_lookups(self._pool, self._installation, wanted)
        rows = await reports.read_lookups(self._pool, ids)
        return as_json(LookupPage(lookups=[show_lookup(row) for row in rows], next_cursor=after))

    async def retry(self, request: Request) -> Response:
        """Try a failed, unresolved or held lookup again, or a found one whose number is wrong."""
        wrong_number = await _read_wrong_number(request)
        id = id_of(request, "lookup")
        done = await self._decisions.retry(id, wrong_number=wrong_number, who=who(request))
        return as_json(RetryAnswer(id=id, status=done.status, warning=warning(done.doubtful)), 202)

    async def cancel(self, request: Request) -> Response:
        """Cancel a queued, held, failed or unresolved lookup; others that wait for its search go on without it."""
        id = id_of(request, "lookup")
        await self._decisions.cancel(id, who=who(request))
        return as_json(CancelAnswer(id=id))

    async def release(self, request: Request) -> Response:
        """Let a held lookup go on, whatever it is held for."""
        id = id_of(request, "lookup")
        status = await self._decisions.release(id, who=who(request))
        return as_json(ReleaseAnswer(id=id, status=status))


def as_json(model: BaseModel, status: int = 200) -> Response:
    """Return *model* as a JSON response."""
    return Response(model.model_dump_json(), status, media_type="application/json")


async def _read_wrong_number(request: Request) -> bool:
    """Read the optional body {"wrong_number": true}. Raise Problem (400, 413, 415, 422)."""
    body = plain_body(request.headers, await read_body(request, MOST_OF_A_DECISION), MOST_OF_A_DECISION)
    if not body.strip():
        return False
    try:
        return RetryBody.model_validate_json(body).wrong_number
    except ValidationError:
        raise wrong_fields([("wrong_number", "true or false; the body may be left out")]) from None
