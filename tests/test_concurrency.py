"""Races for one job, on real connections in an explicit order: the first to end it wins, and the other one knows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.states import AnsweredBy
from store.endings import apply_endings
from store.lookups import cancel, retry
from tests.at_work import AtWork
from tests.factories import finished_job, job, lookup
from tests.order import Order, one_connection
from tests.wishes import MOBILE, OTHER_MOBILE, POLICY, answer, finish_jobs, jobs, read, status, take, wish

if TYPE_CHECKING:
    from tests.wishes import Pool


async def test_cancelling_what_is_just_being_claimed(world: AtWork, order: Order) -> None:
    """The claim commits first: the question is on its way, and its lookup is not cancelled."""
    row = await job(world.pool)
    async with order.first() as first:
        await first.execute(
            """
            UPDATE jobs
               SET state = 'submitting', attempt = 1, submitted_at = now(), lease_expires_at = now(),
                   reserved_on = now()
             WHERE id = $1
            """,
            row["id"],
        )
        task = await order.waiting(cancel(world.pool, row["lookup_id"], POLICY))

    assert await task is False
    assert await status(world.pool, row["lookup_id"]) == "running"


async def test_an_event_and_a_retry_make_one_search_where_their_keys_were_pruned(pool: Pool, order: Order) -> None:
    """The event commits first: the retry waits for its search, although neither found a key."""
    old = await lookup(pool, work_email="jane@acme.co", final_status="failed")
    await pool.execute("DELETE FROM keys")
    async with order.first() as first:
        (new,) = await take(one_connection(first), wish(work_email="jane@acme.co"))
        retried = await order.waiting(retry(pool, old["id"], POLICY))

    assert await retried
    assert await jobs(pool) == 1
    rows = [await read(pool, id) for id in (old["id"], new.id)]
    assert rows[0]["search_id"] == rows[1]["search_id"]


@pytest.mark.parametrize("winner", ["callback", "poll"])
async def test_callback_and_poll_race_and_one_result_stays(world: AtWork, order: Order, winner: AnsweredBy) -> None:
    """The first of callback and poll ends the job; the other finds nothing and changes nothing."""
    row = await job(world.pool, "awaiting", request_id="req-1")
    loser: AnsweredBy = "poll" if winner == "callback" else "callback"
    async with order.first() as first:
        assert await finish_jobs(first, [answer(row["id"], winner, request_id="req-1")])
        late = await order.waiting(world.finisher.end([answer(row["id"], loser, OTHER_MOBILE)]))

    await late
    await world.reconciler.sweep_searches()

    told = await read(world.pool, row["lookup_id"])
    assert (told["status"], told["mobile"], told["credits"]) == ("found", MOBILE, 3)
    finished = await world.pool.fetch("SELECT answered_by, credits FROM finished_jobs")
    assert [tuple(one) for one in finished] == [(winner, 3)]
    assert await world.pool.fetchval("SELECT count(*) FROM ledger") == 1


async def test_two_ends_of_two_chains_meet(pool: Pool) -> None:
    """Batches that finish the same jobs in opposite order end each of them once."""
    rows = [await job(pool, "awaiting") for _ in range(20)]
    endings = [answer(row["id"], "poll") for row in rows]

    ended = await asyncio.gather(
        finish_jobs(pool, endings), finish_jobs(pool, list(reversed(endings))), finish_jobs(pool, endings)
    )

    assert sum(len(batch) for batch in ended) == 20
    assert await pool.fetchval("SELECT sum(credits) FROM ledger WHERE kind = 'charged'") == 60


@pytest.mark.parametrize("late_first", [True, False])
async def test_a_late_number_beside_the_next_providers(pool: Pool, order: Order, late_first: bool) -> None:
    """Two numbers at the same instant: the first one stays, both are paid for, and neither waits for the other."""
    row = await lookup(pool, providers=["nyne", "leadmagic"])
    before = await finished_job(pool, "unknown", lookup_id=row["id"])
    now = await job(pool, "submitting", provider="leadmagic", lookup_id=row["id"], place=1)

    async def late(db: Any) -> None:
        await apply_endings(db, [answer(before["id"], "callback", MOBILE)], POLICY)

    async def next_one(db: Any) -> None:
        await apply_endings(db, [answer(now["id"], "inline", OTHER_MOBILE)], POLICY)

    async def alone(act: Callable[[Any], Awaitable[None]]) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await act(connection)

    async with order.first() as first:
        await (late if late_first else next_one)(first)
        task = await order.waiting(alone(next_one if late_first else late))

    await task

    told = await read(pool, row["id"])
    assert (told["status"], told["mobile"]) == ("found", MOBILE if late_first else OTHER_MOBILE)
    assert told["credits"] == 6
    assert await jobs(pool) == 0
