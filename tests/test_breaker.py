"""The breaker: a storm of failures stops every process, and one question finds out whether it is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

from store import breaker
from tests.at_work import AtWork, due_now, wish_for
from tests.claims import later, take
from tests.factories import job
from tests.fake_provider import FakeProvider, Reply, held, nothing
from tests.wishes import jobs

if TYPE_CHECKING:
    from tests.wishes import Pool


async def test_a_storm_opens_the_breaker_and_one_question_closes_it(db: Pool) -> None:
    """Ten failures in a row open the breaker for all; then one question goes through alone; its answer closes it."""
    for _ in range(5):
        await job(db)
    assert not await breaker.note_failures(db, "nyne", 9, probed=False)
    assert await breaker.note_failures(db, "nyne", 1, probed=False)

    shut = await take(db)
    await later(db, "nyne", "open_until")
    half_open = await take(db)
    beside = await take(db)
    await breaker.note_success(db, "nyne")
    closed = await take(db)

    assert (shut.jobs, 0 < shut.wait <= 1) == ((), True)
    assert [ours.is_probe for ours in half_open.jobs] == [True]
    assert half_open.failing
    assert (beside.jobs, 10 < beside.wait <= 20) == ((), True)
    assert (len(closed.jobs), closed.failing) == (4, False)


async def test_a_storm_of_failures_stops_everybody(world: AtWork, fake: FakeProvider) -> None:
    """Twelve failures at once open the breaker for a second; then one question goes through; its answer closes it."""
    for number in range(12):
        await wish_for(world, work_email=f"{number}@acme.co")
    storm = held(Reply(503))
    fake.questions.append(storm)
    asking = asyncio.create_task(world.ask("leadmagic"))
    await fake.arrive(12)
    assert storm.release
    storm.release.set()
    await asking
    assert (await world.ask("leadmagic")).wait > 0
    row = await world.pool.fetchrow("SELECT trips, open_until <= now() + interval '1 s' FROM providers WHERE trips > 0")
    assert row is not None
    assert tuple(row) == (1, True)

    fake.questions.clear()
    await due_now(world)
    (probe,) = (await world.ask("leadmagic")).items
    rest = await world.ask("leadmagic")

    assert (probe.is_probe, len(rest.items)) == (True, 11)
    assert await jobs(world.pool) == 0


async def test_a_failed_probe_opens_the_breaker_for_longer(db: Pool) -> None:
    """A second, then two, then four, up to a minute."""
    waits = []
    await breaker.note_failures(db, "nyne", 10, probed=False)
    for _ in range(8):
        waits.append((await take(db)).wait)
        assert await breaker.note_failures(db, "nyne", 1, probed=True)

    assert [round(wait) for wait in waits] == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_failures_of_what_was_asked_before_do_not_open_it_for_longer(db: Pool) -> None:
    """A hundred questions in flight when the breaker opens fail one after the other: that is one storm."""
    await breaker.note_failures(db, "nyne", 10, probed=False)
    for _ in range(90):
        assert not await breaker.note_failures(db, "nyne", 1, probed=False)

    assert (await take(db)).wait <= 1


async def test_a_refusal_closes_the_breaker_as_well(world: AtWork, fake: FakeProvider) -> None:
    """A provider that refuses one question is there for the others."""
    await world.pool.execute("UPDATE providers SET failures = 10, trips = 1 WHERE name = 'leadmagic'")
    for number in range(3):
        await wish_for(world, work_email=f"{number}@acme.co")
    fake.questions.extend([Reply(400, {"error": "validation_error"}), nothing()])

    await world.ask("leadmagic")

    assert len((await world.ask("leadmagic")).items) == 2


FIREWALL = Reply(403, b"<html><h1>403 Forbidden</h1></html>")


async def test_one_contact_that_a_firewall_refuses_stops_nobody_else(world: AtWork, fake: FakeProvider) -> None:
    """A 403 in HTML for one body, again and again, pauses nothing and opens no breaker; the others are asked."""
    lookup_id = await wish_for(world, work_email="odd@acme.co")
    fake.questions.append(FIREWALL)
    for _ in range(7):
        await world.ask("leadmagic")
        await due_now(world)
    fake.questions.clear()
    await wish_for(world, work_email="jane@acme.co")

    claimed = await world.ask("leadmagic")

    row = await world.pool.fetchrow("SELECT paused_at, trips, blocked_jobs FROM providers WHERE name = 'leadmagic'")
    assert row is not None
    assert (len(claimed.items), row["paused_at"], row["trips"], row["blocked_jobs"]) == (2, None, 0, [])
    assert await world.pool.fetchval("SELECT final_status FROM lookups WHERE id = $1", lookup_id) == "not_found"


async def test_a_firewall_that_refuses_five_jobs_in_a_row_opens_the_breaker(world: AtWork, fake: FakeProvider) -> None:
    """Five such refusals in a row mean that the firewall blocks us: no pause, and one question probes for the end."""
    fake.questions.append(FIREWALL)
    for number in range(4):
        await wish_for(world, work_email=f"{number}@acme.co")
    await world.ask("leadmagic")
    open_at_four = await world.pool.fetchval("SELECT trips FROM providers WHERE name = 'leadmagic'")

    await wish_for(world, work_email="4@acme.co")
    await world.ask("leadmagic")
    row = await world.pool.fetchrow("SELECT trips, paused_at FROM providers WHERE name = 'leadmagic'")

    assert row is not None
    assert (open_at_four, row["trips"], row["paused_at"]) == (0, 1, None)
    assert (await world.ask("leadmagic")).wait > 0


async def test_a_success_between_two_refusals_of_a_firewall_starts_the_row_anew(db: Pool) -> None:
    """Five in a row, not five in a month; the same job counts once."""
    jobs = [uuid4() for _ in range(6)]
    assert not await breaker.note_blocked(db, "nyne", jobs[:4], probed=False)
    await breaker.note_success(db, "nyne")
    for again in (jobs[:2], jobs[:2], jobs[2:4]):
        assert not await breaker.note_blocked(db, "nyne", again, probed=False)

    assert await breaker.note_blocked(db, "nyne", jobs[4:], probed=False)
    assert not await breaker.note_blocked(db, "nyne", jobs, probed=False)  # asked before it opened
    assert await breaker.note_blocked(db, "nyne", jobs[:1], probed=True)
