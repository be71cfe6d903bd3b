"""One event, or one person, in several processes at the same instant: one question, and nobody is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from store.by_hand import cancel
from store.keys import lock_leaders

from store import followers
from store.database import UNREACHABLE
from store.finish import finish
from tests.order import Order
from tests.wishes import MOBILE, POLICY, answer, end, job_of, jobs, read, status, take, take_one, wish

if TYPE_CHECKING:
    from tests.wishes import Pool

EMAIL = "jane@acme.co"


# Coming


async def test_one_person_in_two_processes_at_the_same_instant(pool: Pool, order: Order) -> None:
    """Two events that name the same person differently, in two transactions: one leads, the other follows."""
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        one = await order.waiting(take_one(pool, profile_url="linkedin.com/in/jane", work_email=EMAIL))
        two = await order.waiting(take_one(pool, work_email=EMAIL, personal_email="jane@mail.co"), at_least=2)

    leader, follower = await one, await two

    told = await read(pool, follower.id)
    assert (told["reused_from"], told["brings_more"]) == (leader.id, True)
    assert await jobs(pool) == 1


async def test_the_same_event_in_two_processes_at_the_same_instant(pool: Pool, order: Order) -> None:
    """The second waits for the first, and is its duplicate."""
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        one = await order.waiting(take_one(pool, "evt-1", work_email=EMAIL))
        two = await order.waiting(take_one(pool, "evt-1", work_email=EMAIL), at_least=2)

    leader, again = await one, await two

    assert (again.id, again.duplicate, leader.duplicate) == (leader.id, True, False)
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 1


async def test_when_the_first_process_fails_the_second_leads(pool: Pool, order: Order) -> None:
    """An event whose transaction is undone has claimed nothing: whoever waited for it asks."""
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        one = await order.waiting(take_one(pool, work_email=EMAIL))
        two = await order.waiting(take_one(pool, work_email=EMAIL), at_least=2)
        await first.execute(
            """
            SELECT pg_terminate_backend(pid)
              FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO events%'
            """
        )
        with pytest.raises(UNREACHABLE):
            await one

    survivor = await two

    assert (await read(pool, survivor.id))["reused_from"] is None
    assert await jobs(pool) == 1


async def test_batches_in_opposite_order_do_not_deadlock(pool: Pool) -> None:
    """Keys are locked in one order, whatever the order of the events."""
    people = [f"{number}@acme.co" for number in range(30)]

    for turn in range(4):
        await asyncio.gather(
            *(
                take(pool, *(wish(work_email=email) for email in (people if side else reversed(people))))
                for side in (turn % 2, (turn + 1) % 2, 1, 0)
            )
        )

    assert await jobs(pool) == len(people)


async def test_an_event_that_comes_again_while_it_ends(pool: Pool) -> None:
    """A duplicate never changes what its lookup has become."""
    first = await take_one(pool, "evt-1", work_email=EMAIL)

    _, again = await asyncio.gather(end(pool, first.id, mobile=MOBILE), take_one(pool, "evt-1", work_email=EMAIL))

    assert again.id == first.id
    assert await status(pool, first.id) == "found"


# Following


async def test_a_follower_that_comes_while_its_leader_ends(pool: Pool, order: Order) -> None:
    """The leader's end commits first: the next event waits for it, and takes the answer."""
    leader = await take_one(pool, work_email=EMAIL)
    row = await job_of(pool, leader.id)
    assert row is not None
    async with order.first() as first:
        (ended,) = (await finish(first, [answer(row["id"], "inline")])).values()
        task = await order.waiting(take_one(pool, work_email=EMAIL))

    follower = await task

    assert not ended.has_followers
    assert follower.status == "found"
    assert (await read(pool, follower.id))["mobile"] == MOBILE
    assert await jobs(pool) == 0


async def test_a_leader_that_ends_while_its_follower_comes(pool: Pool, order: Order) -> None:
    """The follower commits first: whoever ends the leader waits for it, and knows that there is one."""
    leader = await take_one(pool, work_email=EMAIL)
    row = await job_of(pool, leader.id)
    assert row is not None
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        coming = await order.waiting(take_one(pool, work_email=EMAIL))
        ending = await order.waiting(finish(pool, [answer(row["id"], "inline")]), at_least=2)

    follower, (ended,) = await coming, (await ending).values()

    assert ended.has_followers
    assert follower.status == "queued"
    await followers.release_followers(pool, [leader.id], POLICY)
    assert await status(pool, follower.id) == "found"


async def test_two_processes_release_the_same_followers(pool: Pool) -> None:
    """Whoever looks after the followers of an ended lookup may do so twice, or at the same instant."""
    leader, *rest = await take(pool, *(wish(work_email=EMAIL) for _ in range(6)))
    more = await take_one(pool, work_email=EMAIL, personal_email="jane@mail.co")
    row = await job_of(pool, leader.id)
    assert row is not None
    await finish(pool, [answer(row["id"], "inline", None)])

    await asyncio.gather(*(followers.release_followers(pool, [leader.id], POLICY) for _ in range(4)))

    assert {await status(pool, one.id) for one in rest} == {"not_found"}
    assert await status(pool, more.id) == "queued"
    assert await jobs(pool) == 1


@pytest.mark.parametrize("promoted_first", [True, False])
async def test_cancelling_a_follower_that_takes_its_turn(pool: Pool, order: Order, promoted_first: bool) -> None:
    """Whichever comes first, a cancelled lookup asks nobody."""
    leader, follower = await take(pool, wish(work_email=EMAIL), wish(work_email=EMAIL))
    await cancel(pool, leader.id)
    async with order.first() as first:
        if promoted_first:
            await lock_leaders(first, [follower.id])
            await followers._lead(first, follower.id)
            late: Callable[[], Awaitable[object]] = lambda: cancel(pool, follower.id)  # noqa: E731
        else:
            await cancel(first, follower.id)
            late = lambda: followers.promote(pool, follower.id, POLICY)  # noqa: E731
        task = await order.waiting(late())

    await task

    assert await status(pool, follower.id) == "cancelled"
    assert await jobs(pool) == 0
