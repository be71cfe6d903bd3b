"""Deliveries are claimed once, written only by the attempt that has them, and never lost with their sender."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from enrichment.states import DELIVERY_STATES
from store.deliveries import ClaimedDelivery, DeliveryClaim, Ended, claim, end, list_deliveries, read_deliveries, replay
from store.leases import DELIVERIES, Postponed
from store.partitions import NEWEST
from tests.factories import delivery
from tests.order import Order

if TYPE_CHECKING:
    from tests.wishes import Pool

LEASE = timedelta(seconds=20)
LATER = timedelta(seconds=7)
FINAL = ("delivered", "refused", "given_up", "skipped")


async def take(pool: Pool, most: int = 10, channel: str = "webhook", claim_id: UUID | None = None) -> DeliveryClaim:
    """Make one claim."""
    return await claim(pool, channel, most=most, lease=LEASE, claim_id=claim_id or uuid7())


async def taken(pool: Pool, **overrides: Any) -> ClaimedDelivery:
    """Return a delivery that was just claimed."""
    await delivery(pool, **overrides)
    (one,) = (await take(pool)).deliveries
    return one


async def now(pool: Pool, id: UUID) -> asyncpg.Record:
    """Return the delivery as it is now."""
    row: asyncpg.Record | None = await pool.fetchrow("SELECT * FROM deliveries WHERE id = $1", id)
    assert row is not None
    return row


async def lease_expires(pool: Pool, id: UUID) -> None:
    """Let the delivery's lease run out."""
    await pool.execute("UPDATE deliveries SET lease_expires_at = now() - interval '1 s' WHERE id = $1", id)


async def test_a_claim_takes_what_is_due_longest_first(pool: Pool) -> None:
    """Up to as many as the sender has room for; the rest is for the next claim."""
    moments = [datetime.now(UTC) - timedelta(minutes=minutes) for minutes in (1, 3, 2)]
    rows = [await delivery(pool, due_at=at) for at in moments]

    first = await take(pool, most=2)
    second = await take(pool, most=2)

    assert {one.id for one in first.deliveries} == {rows[1]["id"], rows[2]["id"]}
    assert [one.id for one in second.deliveries] == [rows[0]["id"]]
    assert (first.more, second.more) == (True, False)
    assert {(one.attempt, one.tries) for one in (*first.deliveries, *second.deliveries)} == {(1, 0)}


async def test_a_claim_takes_its_channel_only(pool: Pool) -> None:
    """A delivery to a CRM is not the webhook's."""
    await delivery(pool, channel="hubspot")

    assert (await take(pool)).deliveries == ()
    assert len((await take(pool, channel="hubspot")).deliveries) == 1


async def test_two_senders_take_different_deliveries(pool: Pool, order: Order) -> None:
    """The second does not wait for the first, and takes the next one."""
    rows = [await delivery(pool) for _ in range(2)]
    async with order.first() as first:
        await first.execute("SELECT FROM deliveries WHERE id = $1 FOR UPDATE", rows[0]["id"])

        assert [one.id for one in (await take(pool)).deliveries] == [rows[1]["id"]]


@pytest.mark.parametrize(("due_in", "idle"), [(None, True), (3600, True), (2, False)])
async def test_a_sender_rests_unless_something_is_due_soon(pool: Pool, due_in: int | None, idle: bool) -> None:
    """A retry in an hour costs no look every second."""
    if due_in is not None:
        await delivery(pool, due_at=datetime.now(UTC) + timedelta(seconds=due_in))

    claimed = await take(pool)

    assert (claimed.deliveries, claimed.idle) == ((), idle)


async def test_a_renewed_lease_is_the_attempts_own(pool: Pool) -> None:
    """A renewal changes only the lease of its own attempt, and none that has expired."""
    one = await taken(pool)
    await lease_expires(pool, one.id)

    assert await DELIVERIES.renew(pool, [(one.id, one.attempt + 1)], LEASE) == set()
    assert await DELIVERIES.renew(pool, [(one.id, one.attempt)], LEASE) == {(one.id, one.attempt)}
    assert (await now(pool, one.id))["lease_expires_at"] > datetime.now(UTC)


async def test_a_failed_claim_is_undone(pool: Pool) -> None:
    """Its deliveries are queued again, and no try is counted; another claim's deliveries stay."""
    mine, other = uuid7(), uuid7()
    row = await delivery(pool)
    await take(pool, claim_id=mine)

    assert await DELIVERIES.undo(pool, other) == []
    assert await DELIVERIES.undo(pool, mine) == [row["id"]]
    assert ((await now(pool, row["id"]))["state"], (await now(pool, row["id"]))["tries"]) == ("queued", 0)


@pytest.mark.parametrize("counts", [True, False])
async def test_a_failed_try_is_due_later(pool: Pool, counts: bool) -> None:
    """It waits as long as asked, keeps the error, and counts unless a limit was the reason."""
    one = await taken(pool)

    assert await DELIVERIES.requeue(pool, [Postponed(one.id, one.attempt, LATER, "HTTP 500", counts)]) == {one.id}

    row = await now(pool, one.id)
    assert (row["state"], row["tries"], row["error"]) == ("queued", int(counts), "HTTP 500")
    assert row["due_at"] > datetime.now(UTC) + LATER - timedelta(seconds=5)


@pytest.mark.parametrize("state", FINAL)
async def test_a_delivery_ends_in_the_way_it_was_told(pool: Pool, state: Any) -> None:
    """It ends with its reason and the receiver's words; the hash and earlier record are kept."""
    one = await taken(pool, wrote=b"before", record_id="43")

    ended = await end(pool, [Ended(one.id, one.attempt, state, reason="why", answer="words")])

    row = await now(pool, one.id)
    assert ended == {one.id}
    assert (row["state"], row["reason"], row["answer"]) == (state, "why", "words")
    assert (row["wrote"], row["record_id"], row["claimed_by"]) == (b"before", "43", None)


async def test_an_overtaken_attempt_writes_nothing(pool: Pool) -> None:
    """After its lease expired, the next attempt has the delivery: the first one's result is dropped."""
    first = await taken(pool)
    await lease_expires(pool, first.id)
    assert await DELIVERIES.rescue(pool, 10) == [first.id]
    assert await end(pool, [Ended(first.id, first.attempt, "delivered")]) == set()
    (second,) = (await take(pool)).deliveries

    assert await end(pool, [Ended(first.id, first.attempt, "delivered")]) == set()
    assert await DELIVERIES.requeue(pool, [Postponed(first.id, first.attempt, LATER, "HTTP 500")]) == set()
    assert (second.attempt, second.tries) == (2, 1)
    assert (await now(pool, first.id))["state"] == "sending"


async def test_a_rescue_takes_silent_senders_only(pool: Pool) -> None:
    """A live lease is left alone; so is one that is being renewed or written at this moment."""
    alive, silent = await delivery(pool, "sending"), await delivery(pool, "sending")
    await lease_expires(pool, silent["id"])

    async with pool.acquire() as busy, busy.transaction():
        await busy.execute("SELECT FROM deliveries WHERE id = $1 FOR UPDATE", silent["id"])
        assert await DELIVERIES.rescue(pool, 10) == []

    assert await DELIVERIES.rescue(pool, 10) == [silent["id"]]
    assert (await now(pool, alive["id"]))["state"] == "sending"


@pytest.mark.parametrize("state", DELIVERY_STATES)
async def test_only_what_has_ended_is_sent_again(pool: Pool, state: str) -> None:
    """From the beginning of its schedule, at once; what waits or is being sent is left alone."""
    row = await delivery(pool, state, tries=3)

    assert await replay(pool, [row["id"], uuid7()]) == ({row["id"]} if state in FINAL else set())

    after = await now(pool, row["id"])
    assert after["state"] == ("queued" if state in FINAL else state)
    assert (after["tries"], after["attempt"]) == (0 if state in FINAL else 3, row["attempt"])


async def test_the_list_is_of_channels_and_states_newest_first(pool: Pool) -> None:
    """Pages go on before the last of the page before."""
    rows = [await delivery(pool, state, channel=channel) for channel in ("webhook", "hubspot") for state in FINAL]
    ids = [row["id"] for row in reversed(rows)]

    everything = await list_deliveries(pool, channels=("webhook", "hubspot"), before=NEWEST, limit=100)
    page = await list_deliveries(pool, channels=("webhook", "hubspot"), before=ids[2], limit=2)
    some = await list_deliveries(pool, channels=("hubspot",), states=("refused", "skipped"), before=NEWEST, limit=9)

    assert (everything, page, some) == (ids, ids[3:5], [ids[0], ids[2]])
    assert [row["id"] for row in await read_deliveries(pool, everything)] == ids
