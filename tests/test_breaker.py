"""The breaker: a storm of failures stops every process, and one question finds out whether it is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from store import providers
from tests.at_work import AtWork, due_now, wish_for
from tests.claims import later, take
from tests.factories import job
from tests.fake_provider import FakeProvider, Reply, held, nothing
from tests.wishes import jobs

if TYPE_CHECKING:
    from tests.wishes import Pool


async def test_a_storm_opens_the_breaker_and_one_question_closes_it(db: Pool) -> None:
    """Ten failures in a row stop everybody; then one question goes through, alone; its answer opens the way."""
    for _ in range(5):
        await job(db)
    assert not await providers.note_failures(db, "nyne", 9, probed=False)
    assert await providers.note_failures(db, "nyne", 1, probed=False)

    shut = await take(db)
    await later(db, "nyne", "open_until")
    half_open = await take(db)
    beside = await take(db)
    await providers.note_success(db, "nyne")
    closed = await take(db)

    assert (shut.jobs, 0 < shut.wait <= 1) == ((), True)
    assert [ours.is_probe for ours in half_open.jobs] == [True]
    assert half_open.failing
    assert (beside.jobs, 10 < beside.wait <= 20) == ((), True)
    assert (len(closed.jobs), closed.failing) == (4, False)


async def test_a_storm_of_failures_stops_everybody(world: AtWork, fake: FakeProvider) -> None:
    """Twelve failures at once open the breaker for a second; then one question is let through; its answer closes it."""
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
    (probe,) = (await world.ask("leadmagic")).jobs
    rest = await world.ask("leadmagic")

    assert (probe.is_probe, len(rest.jobs)) == (True, 11)
    assert await jobs(world.pool) == 0


async def test_a_failed_probe_opens_the_breaker_for_longer(db: Pool) -> None:
    """A second, then two, then four, up to a minute."""
    waits = []
    await providers.note_failures(db, "nyne", 10, probed=False)
    for _ in range(8):
        waits.append((await take(db)).wait)
        assert await providers.note_failures(db, "nyne", 1, probed=True)

    assert [round(wait) for wait in waits] == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_failures_of_what_was_asked_before_do_not_open_it_for_longer(db: Pool) -> None:
    """A hundred questions in flight when the breaker opens fail one after the other: that is one storm."""
    await providers.note_failures(db, "nyne", 10, probed=False)
    for _ in range(90):
        assert not await providers.note_failures(db, "nyne", 1, probed=False)

    assert (await take(db)).wait <= 1


async def test_a_refusal_closes_the_breaker_as_well(world: AtWork, fake: FakeProvider) -> None:
    """A provider that refuses one question is there for the others."""
    await world.pool.execute("UPDATE providers SET failures = 10, trips = 1 WHERE name = 'leadmagic'")
    for number in range(3):
        await wish_for(world, work_email=f"{number}@acme.co")
    fake.questions.extend([Reply(400, {"error": "validation_error"}), nothing()])

    await world.ask("leadmagic")

    assert len((await world.ask("leadmagic")).jobs) == 2
