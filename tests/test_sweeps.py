"""Sweeps: every change is named once, by one process at a time, and the watermark moves after the last page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.crms.base import Change
from store.connections import connect, disconnect
from store.sweeps import LEASE, OVERLAP, Window, claim_sweep, end_sweep, leave_sweep, name, name_page, name_swept
from tests.factories import lookup
from tests.order import Order

if TYPE_CHECKING:
    from tests.order import Pool

MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
async def connected(pool: Pool) -> Pool:
    """Provide the pool, connected to HubSpot an hour ago."""
    await connect(pool, "hubspot", account="62515", learned={})
    await pool.execute(
        "UPDATE connections SET connected_at = now() - interval '1 h', swept_to = now() - interval '1 h'"
    )
    return pool


async def claimed(db: Pool) -> Window:
    """Claim the sweep, which is due."""
    window = await claim_sweep(db, "hubspot")
    assert window is not None
    return window


async def due_again(db: Pool) -> None:
    """Let the claim's lease run out."""
    await db.execute("UPDATE connections SET sweep_due_at = now() - interval '1 s'")


async def watermark(db: Pool) -> datetime:
    """Return how far the sweeps have come."""
    swept_to: datetime = await db.fetchval("SELECT swept_to FROM connections")
    return swept_to


async def reading(db: Pool, record_id: str) -> dict[str, Any]:
    """Return the reading of the contact."""
    row = await db.fetchrow(
        "SELECT state::text, named_by, seen, attempt, tries, reason, erases FROM readings WHERE record_id = $1",
        record_id,
    )
    assert row is not None
    return dict(row)


async def end_readings(db: Pool, reason: str = "older than the connection") -> None:
    """Let every contact that is named have been read, and skipped."""
    await db.execute("UPDATE readings SET state = 'skipped', ended_at = now(), reason = $1", reason)


async def test_a_window_reaches_from_before_the_watermark_to_now(connected: Pool) -> None:
    """The index of changes lags, so every window begins 300 s before the watermark."""
    before = await watermark(connected)

    window = await claimed(connected)

    assert window.since == before - OVERLAP
    assert window.until == await connected.fetchval("SELECT sweep_due_at - $1::interval FROM connections", LEASE)
    assert not window.has_next


async def test_a_long_outage_is_caught_up_in_windows(connected: Pool) -> None:
    """Each finished window of six hours moves the watermark, so three days are caught up step by step."""
    await connected.execute("UPDATE connections SET swept_to = now() - interval '3 days'")
    windows = 0
    has_next = True
    while has_next:
        window = await claimed(connected)
        assert await end_sweep(connected, window, MINUTE)
        assert window.until - window.since <= timedelta(hours=6) + OVERLAP
        has_next, windows = window.has_next, windows + 1

    assert windows == 12 + 1
    assert await claim_sweep(connected, "hubspot") is None
    assert await watermark(connected) == window.until


async def test_one_process_sweeps_at_a_time(connected: Pool) -> None:
    """The sweep is due; one process claims it, and it is not due for the next."""
    assert await claim_sweep(connected, "hubspot") is not None
    assert await claim_sweep(connected, "hubspot") is None


async def test_of_two_that_claim_at_once_one_gets_it(connected: Pool, order: Order) -> None:
    """The second waits for the first's commit, and then finds the sweep claimed."""
    async with order.first() as first:
        assert await claim_sweep(first, "hubspot") is not None
        second = await order.waiting(claim_sweep(connected, "hubspot"))

    assert await second is None


async def test_a_sweep_is_not_due_before_its_interval_has_passed(connected: Pool) -> None:
    """The next one begins an interval after this one began."""
    window = await claimed(connected)
    await end_sweep(connected, window, MINUTE)

    assert await connected.fetchval("SELECT sweep_due_at FROM connections") == window.until + MINUTE


async def test_the_watermark_stays_until_the_window_is_done(connected: Pool) -> None:
    """A process that dies after the first page has moved nothing: the next one reads the window again."""
    before = await watermark(connected)
    window = await claimed(connected)
    await name_page(connected, window, [Change("1", NOW)])

    assert await watermark(connected) == before
    await due_again(connected)
    assert (await claimed(connected)).since == window.since


async def test_a_page_renews_the_claim(connected: Pool) -> None:
    """While pages are committed, no other process takes over the sweep."""
    window = await claimed(connected)
    await connected.execute("UPDATE connections SET sweep_due_at = sweep_due_at - interval '59 s'")
    late = Window(window.crm, window.since, window.until, window.claim - timedelta(seconds=59), window.has_next)

    claim, _ = await name_page(connected, late, [])

    assert claim is not None
    assert claim > window.claim


async def test_a_sweeper_that_lost_its_claim_moves_nothing(connected: Pool) -> None:
    """A frozen process that goes on finds the sweep claimed by another: its page counts, its watermark does not."""
    frozen = await claimed(connected)
    await due_again(connected)
    other = await claimed(connected)
    before = await watermark(connected)

    assert (await name_page(connected, frozen, [Change("1", NOW)]))[0] is None
    assert not await end_sweep(connected, frozen, MINUTE)
    await leave_sweep(connected, frozen, "trouble", MINUTE)

    assert await watermark(connected) == before
    assert await connected.fetchval("SELECT error FROM connections") is None
    assert await end_sweep(connected, other, MINUTE)


async def test_a_sweeper_of_an_earlier_connection_moves_nothing(connected: Pool) -> None:
    """Disconnected and connected again: the first connection's sweep does not move the second's watermark."""
    window = await claimed(connected)
    await disconnect(connected, "hubspot")
    await connect(connected, "hubspot", account="62515", learned={})

    assert not await end_sweep(connected, window, MINUTE)


async def test_the_watermark_never_moves_back(connected: Pool) -> None:
    """PostgreSQL's clock was set back: the watermark stays, and the sweeps go on below it."""
    await connected.execute("UPDATE connections SET swept_to = now() + interval '1 h'")
    before = await watermark(connected)

    window = await claimed(connected)
    await end_sweep(connected, window, MINUTE)

    assert window.since < datetime.now(UTC) - OVERLAP + MINUTE
    assert await watermark(connected) == before


async def test_trouble_is_kept_until_a_sweep_succeeds(connected: Pool) -> None:
    """`ringback status` shows the last error; the next sweep that reads its window ends it."""
    await leave_sweep(connected, await claimed(connected), "HubSpot is away", timedelta(0))
    assert await connected.fetchval("SELECT error FROM connections") == "HubSpot is away"

    await end_sweep(connected, await claimed(connected), MINUTE)
    assert await connected.fetchval("SELECT error FROM connections") is None


async def test_a_contact_is_named_once_for_each_change(connected: Pool) -> None:
    """Windows overlap: the same change again names no contact, a newer one does."""
    assert await name_swept(connected, "hubspot", [Change("1", NOW)]) == 1
    await end_readings(connected)

    assert await name_swept(connected, "hubspot", [Change("1", NOW)]) == 0
    assert (await reading(connected, "1"))["state"] == "skipped"
    assert await name_swept(connected, "hubspot", [Change("1", NOW + MINUTE)]) == 1
    assert await reading(connected, "1") == {
        "state": "queued", "named_by": "sweep", "seen": NOW + MINUTE, "attempt": 1, "tries": 0, "reason": None,
        "erases": False,
    }  # fmt: skip


async def test_a_change_during_a_reading_fences_it(connected: Pool) -> None:
    """The contact that is being read may be older than the change: its attempt no longer matches."""
    await name_swept(connected, "hubspot", [Change("1", NOW)])
    await connected.execute(
        "UPDATE readings SET state = 'reading', attempt = 1, lease_expires_at = now() + interval '20 s'"
    )

    await name_swept(connected, "hubspot", [Change("1", NOW + MINUTE)])

    assert (await reading(connected, "1"))["attempt"] == 2


async def test_a_reading_that_waits_keeps_its_turn(connected: Pool) -> None:
    """A contact that fails to be read is not tried at once each time it changes."""
    await name_swept(connected, "hubspot", [Change("1", NOW)])
    await connected.execute("UPDATE readings SET tries = 3, due_at = now() + interval '5 min'")

    await name_swept(connected, "hubspot", [Change("1", NOW + MINUTE)])

    assert (await reading(connected, "1"))["tries"] == 3
    assert await connected.fetchval("SELECT due_at > now() + interval '4 min' FROM readings")


async def test_a_backfill_keeps_the_contacts_that_it_asked_for(connected: Pool) -> None:
    """Until it is read, a backfill's contact stays exempt from being too old, however often it changes."""
    await name_swept(connected, "hubspot", [Change("1", NOW)])
    await connected.execute("UPDATE readings SET named_by = 'backfill'")

    await name_swept(connected, "hubspot", [Change("1", NOW + MINUTE)])
    assert (await reading(connected, "1"))["named_by"] == "backfill"

    await end_readings(connected)
    await name_swept(connected, "hubspot", [Change("1", NOW + 2 * MINUTE)])
    assert (await reading(connected, "1"))["named_by"] == "sweep"


async def test_an_erasure_that_waits_is_not_forgotten(connected: Pool) -> None:
    """A privacy deletion named the contact; a sweep that names it too leaves it to be erased."""
    await name(connected, "hubspot", "walk", {"1": None})
    await connected.execute("UPDATE readings SET erases = true")

    await name_swept(connected, "hubspot", [Change("1", NOW)])

    assert (await reading(connected, "1"))["erases"]


async def test_the_losers_of_a_merge_are_named_while_they_are_open(connected: Pool) -> None:
    """The survivor lists the ids merged into it: those with an open lookup are read, and found to be merged."""
    await lookup(connected, source="hubspot", record_id="1")
    await lookup(connected, source="hubspot", record_id="2", final_status="not_found")
    await lookup(connected, source="generic", record_id="3")

    assert await name_swept(connected, "hubspot", [Change("9", NOW, absorbed=("1", "2", "3"))]) == 2

    assert {row["record_id"] for row in await connected.fetch("SELECT record_id FROM readings")} == {"1", "9"}


async def test_two_sweepers_name_the_same_contacts_in_the_same_order(connected: Pool, order: Order) -> None:
    """Their pages hold the same contacts, the other way round: one waits for the other, and none is a deadlock."""
    there = [Change(str(n), NOW) for n in range(20)]
    back = [Change(str(n), NOW + MINUTE) for n in reversed(range(20))]
    async with order.first() as first:
        await name_swept(first, "hubspot", there[:10])
        second = await order.waiting(name_swept(connected, "hubspot", back))
        await name_swept(first, "hubspot", there[10:])

    assert await second == 20
