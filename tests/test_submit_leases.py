"""A submitter's questions in flight: no more than its concurrency, each under a lease that it renews."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rig.proxy import proxied
from tests.at_work import PATIENCE, AtWork, until, wish_for
from tests.fake_provider import FakeProvider, found, held, nothing
from tests.wishes import job_of, status

if TYPE_CHECKING:
    from tests.conftest import Start


async def test_no_more_than_the_concurrency_is_in_flight(start: Start, fake: FakeProvider) -> None:
    """A slow provider has as many questions as it may have, and not one more."""
    async with start(provider_concurrency=3) as world:
        for number in range(5):
            await wish_for(world, work_email=f"{number}@acme.co")
        slow = held(nothing())
        fake.questions.append(slow)

        first = await world.claim("leadmagic")
        await fake.arrive(3)
        second = await world.claim("leadmagic")

        assert (len(first.items), len(second.items)) == (3, 0)
        assert slow.release
        slow.release.set()
        await world.settle()
        assert len((await world.ask("leadmagic")).items) == 2


async def test_a_process_that_was_frozen_does_not_send(world: AtWork, fake: FakeProvider) -> None:
    """When its lease ran out before the question was sent, nothing leaves, and nothing is owed."""
    lookup_id = await wish_for(world)
    await world.claim("leadmagic")
    for _, lease in world.submitters["leadmagic"].loop._leases.values():
        lease.until = 0.0

    await world.settle()

    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["state"], now["tries"], now["reserved"], fake.paid) == ("queued", 0, 0, [])


async def test_leases_run_on_while_calls_do(start: Start, fake: FakeProvider) -> None:
    """A provider that takes longer than a lease costs no submitter its job."""
    async with start(lease_seconds=1) as world:
        lookup_id = await wish_for(world)
        slow = held(found())
        fake.questions.append(slow)
        stop = asyncio.Event()
        running = asyncio.create_task(world.submitters["leadmagic"].loop.run(stop))
        await fake.arrive(1)
        (row,) = await world.pool.fetch("SELECT submitted_at, lease_expires_at FROM jobs")

        async def renewed() -> bool:
            later: bool = await world.pool.fetchval(
                "SELECT lease_expires_at > $1::timestamptz + interval '0.5 s' FROM jobs", row["lease_expires_at"]
            )
            return later

        await until(renewed)
        assert await world.reconciler.rescue() == 0
        assert slow.release
        slow.release.set()
        stop.set()
        await running
        assert await status(world.pool, lookup_id) == "found"


async def test_a_renewal_that_fails_is_made_up_for(start: Start, fake: FakeProvider, database_url: str) -> None:
    """While the database is away leases cannot be renewed; when it is back they are, by the same process."""
    async with proxied(database_url) as proxy, start(proxy.url, lease_seconds=1) as world:
        lookup_id = await wish_for(world)
        slow = held(found())
        fake.questions.append(slow)
        stop = asyncio.Event()
        running = asyncio.create_task(world.submitters["leadmagic"].loop.run(stop))
        await fake.arrive(1)
        proxy.cut()
        await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
        proxy.mend()
        before = await world.pool.fetchval("SELECT now()")

        async def renewed() -> bool:
            later: bool = await world.pool.fetchval(
                "SELECT lease_expires_at > $1::timestamptz + interval '1 s' FROM jobs", before
            )
            return later

        await until(renewed)
        assert slow.release
        slow.release.set()
        stop.set()
        await running
        assert await status(world.pool, lookup_id) == "found"


async def test_the_next_attempt_may_start_before_the_last_one_has_left(world: AtWork, fake: FakeProvider) -> None:
    """Two attempts of one job in one process do not mix up their leases, and both leave (a KeyError under chaos)."""
    await wish_for(world)
    first, second = held(nothing()), held(nothing())
    fake.questions.extend([first, second])
    await world.claim("leadmagic")
    await fake.arrive(1)
    await world.pool.execute(
        "UPDATE jobs SET state = 'queued', lease_expires_at = NULL, reserved = 0, reserved_on = NULL"
    )
    await world.claim("leadmagic")
    await fake.arrive(2)
    tasks = set(world.submitters["leadmagic"].loop._tasks)

    for reply in (first, second):
        assert reply.release is not None
        reply.release.set()
    await world.settle()

    assert [task.exception() for task in tasks] == [None, None]
    assert world.submitters["leadmagic"].loop._leases == {}


async def test_a_renewal_of_the_next_attempt_does_not_revive_the_last_one(start: Start, fake: FakeProvider) -> None:
    """A process that holds two attempts of one job has a lease for the later one only."""
    async with start(lease_seconds=1) as world:
        await wish_for(world)
        replies = [held(nothing()), held(nothing())]
        fake.questions.extend(replies)
        await world.claim("leadmagic")
        await world.pool.execute(
            "UPDATE jobs SET state = 'queued', lease_expires_at = NULL, reserved = 0, reserved_on = NULL"
        )
        await world.claim("leadmagic")
        await fake.arrive(2)
        loop = world.submitters["leadmagic"].loop
        leases = {attempt: lease for (_, attempt), (_, lease) in loop._leases.items()}
        for lease in leases.values():
            lease.until = 0.0
        renewing = asyncio.create_task(loop._renew_leases())

        async def renewed() -> bool:
            return not leases[2].is_over

        await until(renewed)
        assert leases[1].is_over
        renewing.cancel()
        for reply in replies:
            assert reply.release
            reply.release.set()
        await world.settle()
