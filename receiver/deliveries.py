"""GET /v1/deliveries, and the replay of a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from starlette.requests import Request
from starlette.responses import Response

from enrichment.crms import CRMS
from enrichment.states import DELIVERY_STATES
from enrichment.wish import WEBHOOK
from receiver.api import DEFAULT_LIMIT, LARGEST_LIMIT, as_json, whole_number
from receiver.auth import who
from receiver.cursors import read_cursor, write_cursor
from receiver.messages_deliveries import Delivery, DeliveryPage, ReplayAnswer
from receiver.problems import Problem, wrong_fields
from store import deliveries
from store.notify import Notifier
from store.reports import NEWEST

log = structlog.get_logger()

CHANNELS = (WEBHOOK, *CRMS)


class Deliveries:
    """The handlers that list deliveries and replay them."""

    def __init__(self, pool: asyncpg.Pool[Any], notifier: Notifier) -> None:
        self._pool = pool
        self._notifier = notifier

    async def page(self, request: Request) -> Response:
        """Answer with a page of deliveries, newest first."""
        query = _read_query(request.query_params)
        ids = await deliveries.list_deliveries(
            self._pool,
            channels=query["channels"],
            states=query["states"],
            lookup_id=query["lookup_id"],
            before=query["before"],
            limit=query["limit"] + 1,  # one more shows whether there is a next page
        )
        shown = ids[: query["limit"]]
        rows = await deliveries.read_deliveries(self._pool, shown)
        return as_json(
            DeliveryPage(
                deliveries=[Delivery.model_validate(row) for row in rows],
                next_cursor=write_cursor(shown[-1]) if len(ids) > len(shown) else None,
            )
        )

    async def replay(self, request: Request) -> Response:
        """Send an ended delivery again, from the beginning of its schedule."""
        try:
            id = UUID(request.path_params["id"])
        except ValueError:
            raise _not_found() from None
        if not await deliveries.replay_one(self._pool, id, who=who(request)):
            rows = await deliveries.read_deliveries(self._pool, [id])
            if not rows:
                raise _not_found()
            raise Problem(409, f"This delivery is {rows[0]['status']}; only one that has ended can be sent again.")
        self._notifier.wake()
        log.info("replayed", delivery=str(id))
        return as_json(ReplayAnswer(id=id, status="queued"), 202)


def _not_found() -> Problem:
    return Problem(404, "There is no such delivery.")


def _read_query(query: Mapping[str, str]) -> dict[str, Any]:
    status, channel, cursor = (query.get(name) for name in ("status", "channel", "cursor"))
    wrong = []
    if status is not None and status not in DELIVERY_STATES:
        wrong.append(("status", f"one of {', '.join(DELIVERY_STATES)}"))
    if channel is not None and channel not in CHANNELS:
        wrong.append(("channel", f"one of {', '.join(CHANNELS)}"))
    before = NEWEST if cursor is None else read_cursor(cursor)
    if before is None:
        wrong.append(("cursor", "a next_cursor from the page before"))
    lookup_id = None
    try:
        lookup_id = UUID(query["lookup_id"]) if "lookup_id" in query else None
    except ValueError:
        wrong.append(("lookup_id", "the id of a lookup"))
    try:
        limit = whole_number(query, "limit", default=DEFAULT_LIMIT, most=LARGEST_LIMIT)
    except Problem as problem:
        wrong.extend(problem.errors)
    if wrong:
        raise wrong_fields(wrong)
    return {
        "channels": CHANNELS if channel is None else (channel,),
        "states": DELIVERY_STATES if status is None else (status,),
        "lookup_id": lookup_id,
        "before": before,
        "limit": limit,
    }
