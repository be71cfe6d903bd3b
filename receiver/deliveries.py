"""GET /v1/deliveries, and the replay of a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from enrichment.crms import CRMS
from enrichment.states import DELIVERY_STATES
from enrichment.wish import WEBHOOK
from receiver.api import as_json
from receiver.auth import who
from receiver.decisions import Decisions
from receiver.messages_deliveries import Delivery, DeliveryPage, ReplayAnswer
from receiver.pages import Place, read_place
from receiver.problems import id_of
from store import deliveries
from store.database import Db
from store.partitions import NEWEST

CHANNELS = (WEBHOOK, *CRMS)


class Deliveries:
    """The handlers that list deliveries and replay them."""

    def __init__(self, pool: asyncpg.Pool[Any], decisions: Decisions) -> None:
        self._pool = pool
        self._decisions = decisions

    async def page(self, request: Request) -> Response:
        """Answer with a page of deliveries, newest first."""
        rows, after = await read_page(self._pool, request.query_params)
        return as_json(DeliveryPage(deliveries=[Delivery.model_validate(row) for row in rows], next_cursor=after))

    async def replay(self, request: Request) -> Response:
        """Send an ended delivery again, from the beginning of its schedule."""
        id = id_of(request, "delivery")
        await self._decisions.replay(id, who=who(request))
        return as_json(ReplayAnswer(id=id, status="queued"), 202)


async def read_page(db: Db, query: Mapping[str, str]) -> tuple[list[dict[str, Any]], str | None]:
    """Return the page of deliveries that *query* asks for, and the cursor of the next one. Raise Problem (422)."""
    given, place = _read_query(query)
    found = await deliveries.list_deliveries(db, **given, before=place.before or NEWEST, limit=place.one_more)
    ids, after = place.cut(found, lambda one: one)
    return await deliveries.read_deliveries(db, ids), after


def _read_query(query: Mapping[str, str]) -> tuple[dict[str, Any], Place]:
    """Read the filter and the place. Raise Problem (422), which names every unusable parameter."""
    status, channel = (query.get(name) for name in ("status", "channel"))
    wrong = []
    if status is not None and status not in DELIVERY_STATES:
        wrong.append(("status", f"one of {', '.join(DELIVERY_STATES)}"))
    if channel is not None and channel not in CHANNELS:
        wrong.append(("channel", f"one of {', '.join(CHANNELS)}"))
    lookup_id = None
    try:
        lookup_id = UUID(query["lookup_id"]) if "lookup_id" in query else None
    except ValueError:
        wrong.append(("lookup_id", "the id of a lookup"))
    place = read_place(query, wrong)
    given = {
        "channels": CHANNELS if channel is None else (channel,),
        "states": DELIVERY_STATES if status is None else (status,),
        "lookup_id": lookup_id,
    }
    return given, place
