"""GET /v1/readings: the contacts that CRMs named, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from enrichment.crms import CRMS
from receiver.api import as_json
from receiver.messages_crms import Reading, ReadingPage
from receiver.pages import Place, read_place, wrong_id
from store import readings
from store.database import Db


class Readings:
    """The handler that lists readings."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def page(self, request: Request) -> Response:
        """Answer with a page of readings, newest first."""
        rows, after = await read_page(self._pool, request.query_params)
        return as_json(ReadingPage(readings=[Reading.model_validate(dict(row)) for row in rows], next_cursor=after))


async def read_page(db: Db, query: Mapping[str, str]) -> tuple[Sequence[asyncpg.Record], str | None]:
    """Return the page of readings that *query* asks for, and the cursor of the next one. Raise Problem (422)."""
    sources, states, place = _read_query(query)
    before = place.before
    if (record_id := query.get("record_id")) is not None:
        found = await readings.readings_of_record(db, record_id, sources, states, before=before)
    else:
        found = await readings.list_readings(db, sources, states, before=before, limit=place.one_more)
    return place.cut(found, lambda row: row["id"])


def _read_query(query: Mapping[str, str]) -> tuple[list[str], list[str], Place]:
    """Read the sources, the states and the place. Raise Problem (422), which names every unusable parameter."""
    status, source = query.get("status"), query.get("source")
    wrong = wrong_id(query, "record_id")
    if status is not None and status not in readings.STATES:
        wrong.append(("status", f"one of {', '.join(readings.STATES)}"))
    if source is not None and source not in CRMS:
        wrong.append(("source", f"one of {', '.join(CRMS)}"))
    place = read_place(query, wrong)
    return [source] if source else list(CRMS), [status] if status else list(readings.STATES), place
