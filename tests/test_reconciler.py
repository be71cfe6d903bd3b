"""The reconciler as a process: each of its duties is done again and again, and none is stopped by another's failure."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from submitter.reconciler import BATCH, repeat, work
from tests.at_work import PATIENCE, AtWork
from tests.factories import finished_job
from tests.fake_provider import FakeProvider, completed
from tests.waiting_jobs import overdue, silent
from tests.wishes import MOBILE, end_job, jobs, status, take, wish

EMAIL = "jane@acme.co"


async def test_a_duty_is_done_again_at_once_after_a_full_batch() -> None:
    """Only when there was less than a batch does the loop rest."""
    found_so_far = [BATCH, BATCH, 3]
    stop = asyncio.Event()

    async def duty() -> int:
        count = found_so_far.pop(0)
        if not found_so_far:
            stop.set()
        return count

    async with asyncio.timeout(PATIENCE):
        await repeat(duty, 3600, stop)

    assert found_so_far == []


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError("away"), asyncpg.DeadlockDetectedError("deadlock"), ValueError("a mistake")]
)
async def test_a_duty_that_fails_is_done_again(error: Exception) -> None:
    """An outage, a deadlock, or a mistake of ours in one duty: the loop goes on, and so do the others."""
    stop = asyncio.Event()
    errors = [error]

    async def duty() -> int:
        if errors:
            raise errors.pop()
        stop.set()
        return 0

    async with asyncio.timeout(PATIENCE):
        await repeat(duty, 3600, stop)

    assert stop.is_set()


async def test_all_duties_are_done_until_the_end(world: AtWork, fake: FakeProvider) -> None:
    """As a process: the overdue is polled, the expired taken over, the forgotten lookup follows; then it stops."""
    polled = await overdue(world)
    taken_over = await silent(world, callback_expected=False)
    fake.polls.append(completed("req-1", MOBILE))
    first, second = await take(world.pool, wish(work_email=EMAIL), wish(work_email=EMAIL))
    await end_job(world.pool, first.id)
    stop = asyncio.Event()

    process = asyncio.create_task(work(world.process, stop))
    async with asyncio.timeout(PATIENCE):
        while [
            await status(world.pool, polled["lookup_id"]),
            await status(world.pool, taken_over["lookup_id"]),
            await status(world.pool, second.id),
        ] != ["found", "unresolved", "not_found"]:
            await asyncio.sleep(0.005)
        stop.set()
        await process


async def test_lookups_follow_the_end_that_a_dead_process_left(world: AtWork) -> None:
    """The process that ended the search died before its lookups followed."""
    first, same, more = await take(
        world.pool, wish(work_email=EMAIL), wish(work_email=EMAIL), wish(work_email=EMAIL, personal_email="j@mail.co")
    )
    await end_job(world.pool, first.id)

    await world.reconciler.sweep_searches()

    assert await status(world.pool, first.id) == "not_found"

    assert await status(world.pool, same.id) == "not_found"
    assert await status(world.pool, more.id) == "queued"
    assert (await jobs(world.pool), world.wakes) == (1, 1)


async def test_what_is_over_is_not_swept(world: AtWork, fake: FakeProvider) -> None:
    """Finished rows are not looked at."""
    for state in ("answered", "failed", "unknown", "lost"):
        await finished_job(world.pool, state, request_id="req-1")

    done = [
        await world.reconciler.rescue(),
        await world.reconciler.give_up(),
        await world.reconciler.end_stale(),
        await world.reconciler.look_after_providers(),
        await world.poller.poll_once(),
    ]

    assert done == [0] * 5
    assert fake.asked == []
