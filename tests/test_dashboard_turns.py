"""The dashboard leaves the database to events: few of its pages are made at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from receiver.dashboard.desk import AT_ONCE
from tests.order import Order, waiting_for_a_lock
from tests.receiving import EVENT
from tests.seat import seated

if TYPE_CHECKING:
    from tests.asgi import Client
    from tests.wishes import Pool


async def test_pages_that_wait_for_the_database_hold_up_no_event(db: Pool, client: Client, order: Order) -> None:
    """Ten pages wait behind a lock; an event is stored meanwhile, and afterwards every page is there."""
    seat = await seated(client)
    async with order.first() as holding:
        await holding.execute("LOCK TABLE audit IN ACCESS EXCLUSIVE MODE")
        forms = asyncio.gather(*(seat.form("/pause", {"reason": str(one)}) for one in range(10)))
        pages = await order.waiting(forms, at_least=AT_ONCE)

        stored = await client.post("/events/generic", EVENT)

        assert stored.status == 202
        assert len(await waiting_for_a_lock(holding)) == AT_ONCE
    answers = await pages

    assert sorted(one.headers["location"] for one in answers) == ["/?said=paused", *["/?said=paused-already"] * 9]
