"""GET /v1/readings: the contacts that CRMs named, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from enrichment.crms import CRMS
from enrichment.event import LONGEST_ID
from receiver.api import DEFAULT_LIMIT, LARGEST_LIMIT, as_json, whole_number
from receiver.cursors import read_cursor, write_cursor
from receiver.messages_crms import Reading, ReadingPage
from receiver.problems import Problem, wrong_fields
from store import readings


class Readings:
    """The handler that lists readings."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def page(self, request: Request) -> Response:
        """Answer with a page of readings, newest first."""
        query = _read_query(request.query_params)
        sources, states, before = query["sources"], query["states"], query["before"]
        limit = query["limit"]
        if query["record_id"] is not None:
            rows = await readings.readings_of_record(self._pool, query["record_id"], sources, states, before=before)
        else:  # one more shows whether there is a next page
            rows = await readings.list_readings(self._pool, sources, states, before=before, limit=limit + 1)
        shown = rows[:limit]
        return as_json(
            ReadingPage(
                readings=[Reading.model_validate(dict(row)) for row in shown],
                next_cursor=write_cursor(shown[-1]["id"]) if len(rows) > len(shown) else None,
            )
        )


def _read_query(query: Mapping[str, str]) -> dict[str, Any]:
    """Read the parameters. Raise Problem (422), which names every unusable one."""
    status, source, record_id, cursor = (query.get(name) for name in ("status", "source", "record_id", "cursor"))
    wrong = []
    if status is not None and status not in readings.STATES:
        wrong.append(("status", f"one of {', '.join(readings.STATES)}"))
    if source is not None and source not in CRMS:
        wrong.append(("source", f"one of {', '.join(CRMS)}"))
    if record_id is not None and ("\0" in record_id or len(record_id) > LONGEST_ID):
        wrong.append(("record_id", f"up to {LONGEST_ID} characters, none of them NUL"))
    before = read_cursor(cursor) if cursor is not None else None
    if cursor is not None and before is None:
        wrong.append(("cursor", "a next_cursor from the page before"))
    limit = DEFAULT_LIMIT
    try:
        limit = whole_number(query, "limit", default=DEFAULT_LIMIT, most=LARGEST_LIMIT)
    except Problem as problem:
        wrong.extend(problem.errors)
    if wrong:
        raise wrong_fields(wrong)
    return {
        "states": [status] if status else list(readings.STATES),
        "sources": [source] if source else list(CRMS),
        "record_id": record_id,
        "before": before,
        "limit": limit,
    }
