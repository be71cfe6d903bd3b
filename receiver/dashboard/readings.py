"""/readings: the contacts that CRMs named: still to be read, or skipped and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from enrichment.crms import CRMS
from receiver.dashboard.desk import Desk
from receiver.dashboard.filters import given, written
from receiver.dashboard.rendering import as_page
from receiver.readings import read_page
from store import readings, reports

LOOKED_BACK = timedelta(hours=24)
FILTERS = ("status", "source", "record_id")


class ReadingsPage:
    """The handler of the page."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def page(self, request: Request) -> Response:
        """Show a page of readings, newest first, and why contacts were skipped lately."""
        query = given(request)
        rows, cursor = await read_page(self._desk.pool, query)
        return as_page(
            request,
            "readings.html",
            rows=[dict(row) for row in rows],
            query=query,
            counts=await readings.readings_by_status(self._desk.pool, datetime.now(UTC) - LOOKED_BACK),
            connections=[row["crm"] for row in await reports.connections(self._desk.pool)],
            states=readings.STATES,
            sources=tuple(CRMS),
            chosen=written(query, *FILTERS),
            cursor=cursor,
        )
