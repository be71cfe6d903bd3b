"""A stopping submitter finishes and stores its questions in flight, or leaves them to be rescued, and begins none."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from rig.proxy import proxied
from submitter.__main__ import work
from tests.at_work import PATIENCE, AtWork, ended, until, wish_for
from tests.fake_provider import FakeProvider, found, held
from tests.wishes import jobs, status

if TYPE_CHECKING:
    from tests.conftest import Start


async def test_sigterm_drains(world: AtWork, fake: FakeProvider) -> None:
    """Questions in flight are finished and stored; no more jobs are claimed."""
    first = await wish_for(world, work_email="1@acme.co")
    slow = held(found())
    fake.questions.append(slow)
    stop = asyncio.Event()
    running = asyncio.create_task(work(world.process, stop))
    await fake.arrive(1)

    stop.set()
    second = await wish_for(world, work_email="2@acme.co")
    assert slow.release
    slow.release.set()
    async with asyncio.timeout(PATIENCE):
        await running

    assert await status(world.pool, first) == "found"
    assert await status(world.pool, second) == "queued"
    assert len(fake.paid) == 1


async def test_a_full_submitter_that_is_stopped_claims_nothing_more(start: Start, fake: FakeProvider) -> None:
    """A stopping submitter fills no slot, not even one that was free already."""
    async with start(provider_concurrency=8) as world:
        for number in range(9):
            await wish_for(world, work_email=f"{number}@acme.co")
        first, others = held(found()), held(found())
        fake.questions.extend([first, others])
        stop = asyncio.Event()
        running = asyncio.create_task(world.submitters["leadmagic"].loop.run(stop))
        await fake.arrive(8)
        assert first.release
        assert others.release
        first.release.set()
        await until(lambda: eight_are_left(world))

        stop.set()
        others.release.set()
        async with asyncio.timeout(PATIENCE):
            await running

        assert len(fake.paid) == 8
        assert await jobs(world.pool) == 1


async def eight_are_left(world: AtWork) -> bool:
    """End one of nine questions."""
    return await jobs(world.pool) == 8


async def test_what_cannot_be_written_before_the_end_of_a_drain_is_rescued(
    start: Start, fake: FakeProvider, database_url: str
) -> None:
    """A process that has to go while the database is away leaves its lease: the outcome is unknown, not forgotten."""
    async with start() as other:
        async with proxied(database_url) as proxy, start(proxy.url) as world:
            lookup_id = await wish_for(world)
            slow = held(found())
            fake.questions.append(slow)
            await world.claim("leadmagic")
            await fake.arrive(1)
            proxy.cut()
            assert slow.release
            slow.release.set()
            await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
            world.writer.giving_up.set()
            async with asyncio.timeout(PATIENCE):
                await world.settle()
        assert await status(other.pool, lookup_id) == "running"
        await other.pool.execute("UPDATE jobs SET lease_expires_at = now() - $1::interval", timedelta(seconds=1))

        assert await other.reconciler.rescue() == 1

        assert await ended(other, lookup_id) == [("leadmagic", "unknown", 0, 5)]
