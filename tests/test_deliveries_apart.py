"""Deliveries to one record of a CRM: one at a time, so that no write of ours looks like a person's."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from store.deliveries import DeliveryClaim, Ended, claim, end
from store.deliveries_apart import claim_apart
from tests.factories import lookup
from tests.order import Order

if TYPE_CHECKING:
    from store.database import Db
    from tests.order import Pool

LEASE = timedelta(seconds=20)


async def delivery(pool: Pool, record_id: str, channel: str = "hubspot", **overrides: str) -> UUID:
    """Insert a due delivery to the record, of a lookup of its own."""
    row = await lookup(pool, source="hubspot", record_id=record_id, final_status="found")
    id: UUID = await pool.fetchval(
        "INSERT INTO deliveries (id, lookup_id, channel, record_id) VALUES (new_id(), $1, $2, $3) RETURNING id",
        row["id"], channel, overrides.get("moved_to"),
    )  # fmt: skip
    return id


async def claimed(db: Db, most: int = 10) -> DeliveryClaim:
    """Claim deliveries to HubSpot."""
    return await claim_apart(db, "hubspot", most=most, lease=LEASE, claim_id=uuid4())


def ids(found: DeliveryClaim) -> list[UUID]:
    """Return the deliveries of a claim."""
    return [one.id for one in found.deliveries]


async def test_a_record_has_one_delivery_at_a_time(pool: Pool) -> None:
    """The second is claimed when the first has ended; deliveries to other records pass it."""
    first, second, other = await delivery(pool, "1"), await delivery(pool, "1"), await delivery(pool, "2")

    assert set(ids(await claimed(pool))) == {first, other}
    assert ids(await claimed(pool)) == []
    await end(pool, [Ended(first, 1, "delivered")])
    assert ids(await claimed(pool)) == [second]


async def test_a_delivery_counts_for_the_record_that_it_goes_to(pool: Pool) -> None:
    """After a merge that is another than the lookup's."""
    first, _ = await delivery(pool, "1", moved_to="2"), await delivery(pool, "2")

    assert ids(await claimed(pool)) == [first]
    assert ids(await claimed(pool)) == []


async def test_many_deliveries_to_one_record_do_not_keep_the_others_waiting(pool: Pool) -> None:
    """They fill the first claim, and are passed by the next."""
    first = await delivery(pool, "1")
    for _ in range(5):
        await delivery(pool, "1")
    other = await delivery(pool, "2")

    one = await claimed(pool, most=3)
    two = await claimed(pool, most=3)

    assert (ids(one), one.more) == ([first], True)
    assert (ids(two), two.more) == ([other], False)


async def test_a_delivery_whose_lookup_is_gone_is_claimed(pool: Pool) -> None:
    """It goes to no record, and ends by itself."""
    gone = await delivery(pool, "1")
    await pool.execute("DELETE FROM lookups")

    assert ids(await claimed(pool)) == [gone]


async def test_two_processes_do_not_claim_one_record_at_once(pool: Pool, order: Order) -> None:
    """The second waits for the claim of the first, and sees what it took."""
    await delivery(pool, "1")
    await delivery(pool, "1")

    async with order.first() as first:
        assert len(ids(await claimed(first, most=1))) == 1
        waiting = await order.waiting(claimed(pool))
    assert ids(await waiting) == []


async def test_claims_for_another_channel_do_not_wait(pool: Pool, order: Order) -> None:
    """Results for the webhook, and deliveries to another CRM, are none of its business."""
    await delivery(pool, "1")
    result = await delivery(pool, "1", channel="webhook")

    async with order.first() as first:
        await claimed(first)
        found = await claim(pool, "webhook", most=10, lease=LEASE, claim_id=uuid4())

    assert ids(found) == [result]
