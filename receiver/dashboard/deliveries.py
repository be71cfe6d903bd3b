"""/deliveries: results on their way out, what the other side says, and "Send again"."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from enrichment.selection import REPLAYED
from enrichment.states import DELIVERY_STATES
from receiver.auth import who
from receiver.dashboard.desk import Desk
from receiver.dashboard.filters import given, written
from receiver.dashboard.rendering import as_page, back_to
from receiver.deliveries import CHANNELS, read_page
from receiver.problems import Problem, id_of
from store import deliveries

FILTERS = ("status", "channel", "lookup_id")


class DeliveriesPage:
    """The handlers of the page."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def page(self, request: Request) -> Response:
        """Show a page of deliveries, newest first."""
        query = given(request)
        rows, cursor = await read_page(self._desk.pool, query)
        return as_page(
            request,
            "deliveries.html",
            rows=rows,
            query=query,
            waiting=[dict(row) for row in await deliveries.outstanding(self._desk.pool)],
            states=DELIVERY_STATES,
            channels=CHANNELS,
            ended=REPLAYED,
            all_again=_selection(query),
            chosen=written(query, *FILTERS),
            here=written(query, *FILTERS, "cursor"),
            cursor=cursor,
            has_webhook=self._desk.settings.result_webhook_url is not None,
        )

    async def replay(self, request: Request) -> Response:
        """Send one again, and go back to the same part of the list."""
        here = f"/deliveries?{written(given(request), *FILTERS, 'cursor')}".rstrip("?")
        try:
            await self._desk.decisions.replay(id_of(request, "delivery"), who=who(request))
        except Problem as problem:
            if problem.status != 409:
                raise
            return back_to(here, "sent-already")
        return back_to(here, "sent-again")


def _selection(query: Mapping[str, str]) -> str | None:
    """Return the address that selects what the page lists, to send all of it again; None if none of it has ended."""
    if query.get("status") not in (None, *REPLAYED) or "lookup_id" in query:
        return None
    chosen = {"action": "replay", "state": query.get("status"), "channel": query.get("channel")}
    return f"/lookups/selection?{urlencode({name: value for name, value in chosen.items() if value})}"
