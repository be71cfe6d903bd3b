"""Readings are claimed in turn, ended once by the attempt that read them, and never wait for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from uuid_utils.compat import uuid7

from enrichment.contact import Contact
from enrichment.reading import GONE
from enrichment.wish import Wish
from store.database import PLANNED_ONCE, Db, connect
from store.leases import READINGS
from store.reading_work import Became, ClaimedReading, Skipped, claim, due_in, end_gone, end_merged, end_read, end_stale
from store.sweeps import name
from tests.claims import LEASE
from tests.crm_contacts import NEWS_AT
from tests.explained import Node, capture, explain, rows, walk
from tests.factories import job, lookup
from tests.order import Order
from tests.wishes import POLICY

if TYPE_CHECKING:
    from tests.wishes import Pool

LONG = timedelta(days=35)


async def queue(pool: Pool, count: int = 1, *, by: str = "event", **values: Any) -> None:
    """Queue so many readings of HubSpot."""
    await pool.execute(
        """
        INSERT INTO readings (id, source, record_id, named_by, due_at, named_at)
        SELECT new_id(), 'hubspot', $1 || n::text, $1, now() - $3::interval, now() - $3::interval
          FROM generate_series(1, $2) AS n
        """,
        by,
        count,
        values.get("since", timedelta(0)),
    )


async def take(pool: Pool, most: int = 100, claim_id: UUID | None = None) -> list[ClaimedReading]:
    """Make one claim."""
    return await claim(pool, "hubspot", most=most, lease=LEASE, claim_id=claim_id or uuid7())


async def a_claim(db: Db) -> None:
    """Look, and claim."""
    await due_in(db, "hubspot")
    await claim(db, "hubspot", most=10, lease=LEASE, claim_id=uuid7())


def became(reading: ClaimedReading, **given: Any) -> Became:
    """Return that this contact becomes a lookup."""
    wish = Wish(Contact(work_email=f"{reading.record_id}@acme.co"), ("leadmagic",), reading.record_id)
    return Became(reading.id, reading.attempt, wish, reading.named_by, NEWS_AT, b"{}", **given)


async def state(pool: Pool, id: UUID) -> str:
    """Return the reading's state."""
    told: str = await pool.fetchval("SELECT state::text FROM readings WHERE id = $1", id)
    return told


async def test_events_come_before_a_backfill_and_do_not_starve_it(pool: Pool) -> None:
    """Of ten readings that are claimed while both kinds wait, two are a backfill's, however old it is."""
    await queue(pool, 100, by="backfill", since=timedelta(hours=1))
    await queue(pool, 100)

    claimed = await take(pool, most=10)

    assert sorted(one.named_by for one in claimed) == ["backfill"] * 2 + ["event"] * 8


async def test_a_backfill_alone_has_every_turn(pool: Pool) -> None:
    """Turns that no event needs are not left empty."""
    await queue(pool, 10, by="backfill")
    await queue(pool, 1)

    assert len(await take(pool, most=10)) == 10


async def test_two_processes_claim_different_readings(pool: Pool, order: Order) -> None:
    """A claim does not wait for another one, and takes what that left."""
    await queue(pool, 5)

    async with order.first() as first:
        mine = await claim(first, "hubspot", most=3, lease=LEASE, claim_id=uuid7())
        theirs = await take(pool)

    assert len({one.id for one in [*mine, *theirs]}) == 5


async def test_a_claim_reads_only_what_it_takes(pool: Pool, database_url: str) -> None:
    """Each kind is read from its own part of the index, however many of the other wait."""
    await queue(pool, 20_000, by="backfill")
    await queue(pool, 20_000)
    await pool.execute("ANALYZE readings")

    connection = await connect(database_url, name="tests")
    await connection.execute(PLANNED_ONCE)
    plans = await explain(connection, await capture(connection, a_claim))
    await connection.close()

    nodes = [Node(node) for plan in plans for node in walk(plan)]
    assert sum(rows(node) for node in nodes if node.table == "readings") < 100


async def test_named_again_a_reading_under_way_is_dropped(pool: Pool) -> None:
    """The end of an older attempt writes nothing, not even its lookup: the contact is read again."""
    await queue(pool)
    (reading,) = await take(pool)
    await name(pool, "hubspot", "sweep", {reading.record_id: None})

    ended = await end_read(pool, "hubspot", [became(reading)], [], POLICY)

    assert ended == {}
    assert await state(pool, reading.id) == "queued"
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 0


async def test_a_naming_waits_for_the_end_and_queues_the_contact_again(pool: Pool, order: Order) -> None:
    """The end holds the reading's row until its lookup is committed; a naming after that leads to a second look."""
    await queue(pool)
    (reading,) = await take(pool)

    async with order.first() as first:
        await first.execute("SELECT FROM readings WHERE id = $1 FOR UPDATE", reading.id)
        naming = await order.waiting(name(pool, "hubspot", "sweep", {reading.record_id: None}))
        await first.execute(
            """
            UPDATE readings
               SET state = 'skipped', reason = 'gone', ended_at = now(), lease_expires_at = NULL, claimed_by = NULL
             WHERE id = $1
            """,
            reading.id,
        )
    await naming

    assert await state(pool, reading.id) == "queued"


async def test_an_old_attempt_in_the_batch_of_a_newer_one_is_dropped(pool: Pool) -> None:
    """An end that waited for the database shares the commit with the newer end of the same reading, which counts."""
    await queue(pool)
    (old,) = await take(pool)
    await name(pool, "hubspot", "sweep", {old.record_id: None})
    (new,) = await take(pool)

    ended = await end_read(pool, "hubspot", [became(old)], [Skipped(new.id, new.attempt, "erased")], POLICY)

    assert ended == {new.id: None}
    assert await state(pool, new.id) == "skipped"
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 0


async def test_ends_of_one_batch_are_written_together(pool: Pool) -> None:
    """Lookups and reasons of a batch are one commit."""
    await queue(pool, 3)
    one, two, three = await take(pool)

    ended = await end_read(
        pool, "hubspot", [became(one), became(two)], [Skipped(three.id, three.attempt, "has a mobile")], POLICY
    )

    assert set(ended) == {one.id, two.id, three.id}
    assert ended[three.id] is None
    assert [await state(pool, each.id) for each in (one, two, three)] == ["done", "done", "skipped"]
    assert await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM readings") == 1


async def test_an_older_attempt_cancels_nothing(pool: Pool) -> None:
    """A contact that an older reading found gone may be back: its end changes neither lookups nor the record's name."""
    await queue(pool)
    (reading,) = await take(pool)
    row = await lookup(pool, source="hubspot", record_id=reading.record_id)
    await job(pool, lookup_id=row["id"])
    await name(pool, "hubspot", "sweep", {reading.record_id: None})
    skipped = Skipped(reading.id, reading.attempt, GONE)

    assert not await end_gone(pool, "hubspot", reading.record_id, skipped, POLICY)
    assert not await end_merged(pool, "hubspot", reading.record_id, "202", skipped)

    after = await pool.fetchrow("SELECT final_status, record_id FROM lookups")
    assert after is not None
    assert tuple(after) == (None, reading.record_id)


async def test_another_sources_record_is_left_alone(pool: Pool) -> None:
    """Two CRMs may have the same id for different people."""
    await queue(pool)
    (reading,) = await take(pool)
    row = await lookup(pool, source="generic", record_id=reading.record_id)
    await job(pool, lookup_id=row["id"])

    await end_gone(pool, "hubspot", reading.record_id, Skipped(reading.id, reading.attempt, GONE), POLICY)

    assert await pool.fetchval("SELECT final_status FROM lookups") is None


async def test_a_failed_claim_is_undone(pool: Pool) -> None:
    """The readings of a claim whose commit seemed to fail are queued again, without a try."""
    await queue(pool, 2)
    failed = uuid7()
    taken = await take(pool, claim_id=failed)

    undone = await READINGS.undo(pool, failed)

    assert set(undone) == {one.id for one in taken}
    assert {one.tries for one in await take(pool)} == {0}


async def test_a_silent_process_loses_its_readings(pool: Pool) -> None:
    """After its lease a reading is queued again, and the late end of the silent process counts for nothing."""
    await queue(pool)
    (reading,) = await take(pool)
    await pool.execute("UPDATE readings SET lease_expires_at = now() - interval '1 s'")

    assert await READINGS.rescue(pool, 10) == [reading.id]
    (again,) = await take(pool)
    assert await end_read(pool, "hubspot", [became(reading)], [], POLICY) == {}

    assert again.tries == 1
    assert await state(pool, reading.id) == "reading"


async def test_no_reading_waits_for_ever(pool: Pool) -> None:
    """A reading that was queued for 35 days is skipped, unless it was named again since."""
    await queue(pool, 2, since=LONG * 2)
    await pool.execute(
        "UPDATE readings SET id = overlay(id::text PLACING '018a0000' FROM 1 FOR 8)::uuid"  # of September 2023
    )
    await pool.execute("UPDATE readings SET named_at = now() WHERE record_id = 'event2'")

    assert await end_stale(pool, "hubspot", LONG, "could not be read: not for 35 days", 10) == 1

    rows = await pool.fetch("SELECT record_id, reason FROM readings WHERE state = 'skipped'")
    assert [tuple(row) for row in rows] == [("event1", "could not be read: not for 35 days")]
