"""Searches under real concurrency: one person at one instant, ends in chunks, late numbers, and whom they reach."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from enrichment.states import JobEnd
from store.database import UNREACHABLE, close_pool, open_pool, transaction
from store.endings import apply_endings, follow_ends
from store.ends import CHUNK, end_lookups, unswept_searches
from store.intake import ingest
from tests.order import Order
from tests.wishes import (
    MOBILE,
    OTHER_MOBILE,
    POLICY,
    answer,
    apply,
    end,
    end_job,
    event,
    job_of,
    jobs,
    read,
    searches,
    status,
    statuses,
    take,
    take_one,
    wish,
)

if TYPE_CHECKING:
    from tests.wishes import Pool

JANE = "linkedin.com/in/jane"
BOB = "linkedin.com/in/bob"
EMAIL, OTHER = "jane@acme.co", "jane@mail.co"
BOTH = ("leadmagic", "nyne")


# One person at one instant


def send_from_a_process(url: str, number: int) -> list[UUID]:
    """Send twenty events for Jane at once, each in a transaction of its own, from a process of its own."""

    async def send() -> list[UUID]:
        pool = await open_pool(url, name=f"process {number}", size=10)
        taken = await asyncio.gather(
            *(take(pool, wish(f"event-{number}-{n}", profile_url=JANE, work_email=EMAIL)) for n in range(20))
        )
        await close_pool(pool)
        return [one.id for (one,) in taken]

    return asyncio.run(send())


async def test_forty_events_for_one_person_at_one_instant(pool: Pool, database_url: str) -> None:
    """Forty events from two processes are one search, one question, one charge."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        loop = asyncio.get_running_loop()
        sent = await asyncio.gather(
            *(loop.run_in_executor(processes, send_from_a_process, database_url, number) for number in (1, 2))
        )

    lookups = [id for ids in sent for id in ids]
    assert (len(set(lookups)), await searches(pool), await jobs(pool)) == (40, 1, 1)
    await end(pool, lookups[0], mobile=MOBILE)
    assert await pool.fetchval("SELECT count(*) FROM lookups WHERE mobile = $1", MOBILE) == len(lookups)
    assert await pool.fetchval("SELECT sum(credits) FROM ledger WHERE kind = 'charged'") == Decimal(5)


async def test_one_person_named_differently_at_the_same_instant(pool: Pool, order: Order) -> None:
    """Two events that share one identifier, in two transactions: one begins a search, the other joins it."""
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        one = await order.waiting(take_one(pool, profile_url=JANE, work_email=EMAIL))
        two = await order.waiting(take_one(pool, work_email=EMAIL, personal_email=OTHER), at_least=2)

    begun, joined = await one, await two

    assert (await read(pool, joined.id))["reused_from"] == begun.id
    assert (await searches(pool), await jobs(pool)) == (1, 1)


async def test_the_same_event_in_two_processes_at_the_same_instant(pool: Pool, order: Order) -> None:
    """The second waits for the first, and is its duplicate."""
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        one = await order.waiting(take_one(pool, "evt-1", work_email=EMAIL))
        two = await order.waiting(take_one(pool, "evt-1", work_email=EMAIL), at_least=2)

    first_one, again = await one, await two

    assert (again.id, again.duplicate, first_one.duplicate) == (first_one.id, True, False)


async def test_when_the_first_process_fails_the_second_asks(pool: Pool, order: Order) -> None:
    """A rolled-back event has claimed nothing: the event that waited for it begins the search."""
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


async def test_an_event_that_comes_again_while_it_ends(pool: Pool) -> None:
    """A duplicate never changes the state of its lookup."""
    first = await take_one(pool, "evt-1", work_email=EMAIL)

    _, again = await asyncio.gather(end(pool, first.id, mobile=MOBILE), take_one(pool, "evt-1", work_email=EMAIL))

    assert (again.id, again.duplicate) == (first.id, True)
    assert await status(pool, first.id) == "found"


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


async def test_an_event_that_comes_while_its_search_ends(pool: Pool, order: Order) -> None:
    """The end commits first: the event waits for it, and takes the number."""
    first_one = await take_one(pool, work_email=EMAIL)
    job = await job_of(pool, first_one.id)
    assert job is not None
    async with order.first() as first:
        await apply_endings(first, [answer(job["id"], "inline")], POLICY)
        coming = await order.waiting(take_one(pool, work_email=EMAIL))

    assert (await coming).status == "found"
    assert await jobs(pool) == 0


async def test_a_search_that_ends_while_an_event_joins_it(pool: Pool, order: Order) -> None:
    """The event commits first: the end waits for it, and its lookup follows."""
    first_one = await take_one(pool, work_email=EMAIL)
    job = await job_of(pool, first_one.id)
    assert job is not None
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        coming = await order.waiting(take_one(pool, work_email=EMAIL))
        ended = await order.waiting(apply(pool, answer(job["id"], "inline")), at_least=2)

    joined = await coming
    await ended

    assert joined.status == "queued"
    assert await statuses(pool, [first_one, joined]) == ["found", "found"]


# Ends, in chunks


async def crowd(pool: Pool, size: int, **contact: Any) -> list[UUID]:
    """Send so many events for one contact."""
    taken = await ingest(pool, [event(*(wish(**contact) for _ in range(size)))], POLICY)
    return [one.id for one in taken[0]]


async def test_ten_thousand_lookups_end_in_chunks(pool: Pool) -> None:
    """A commit ends at most a thousand, shared evenly: a neighbour in the same batch is final after the first."""
    lookups = await crowd(pool, 10_000, work_email=EMAIL)
    neighbour = await take_one(pool, work_email="bob@acme.co")
    crowded, beside = await job_of(pool, lookups[0]), await job_of(pool, neighbour.id)
    assert crowded is not None
    assert beside is not None
    begun = time.perf_counter()

    async with transaction(pool) as connection:
        applied = await apply_endings(
            connection, [answer(beside["id"], "inline", OTHER_MOBILE), answer(crowded["id"], "inline")], POLICY
        )
    after_one = await pool.fetchval("SELECT count(*) FROM lookups WHERE final_status = 'found'")

    assert (await read(pool, neighbour.id))["mobile"] == OTHER_MOBILE
    assert after_one == CHUNK // 2 + 1
    await follow_ends(pool, applied.unswept, POLICY)
    assert await pool.fetchval("SELECT count(*) FROM lookups WHERE mobile = $1", MOBILE) == len(lookups)
    assert await unswept_searches(pool, 10) == []
    print(f"10,000 lookups of one search: {(time.perf_counter() - begun) * 100:.1f} us each")


@pytest.mark.parametrize("mobile", [MOBILE, None])
async def test_the_cost_of_a_lookup_is_constant(pool: Pool, mobile: str | None) -> None:
    """Measure the cost per lookup for 1,000 and for 10,000 of one search; both end whole."""
    for size in (1_000, 10_000):
        lookups = await crowd(pool, size, work_email=f"{size}@acme.co")
        await pool.execute("ANALYZE lookups")
        begun = time.perf_counter()

        await end(pool, lookups[0], mobile=mobile)

        print(f"{size:6} lookups, {mobile}: {(time.perf_counter() - begun) / size * 1e6:.1f} us each")
        assert await pool.fetchval("SELECT count(*) FROM lookups WHERE final_status IS NULL") == 0


async def test_lookups_that_stay_behind_do_not_crowd_out_those_that_follow(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many have to be decided anew, the lookup that the search began for ends as it did, and is asked once."""
    monkeypatch.setattr("store.endings.CHUNK", 2)
    first = await take_one(pool, profile_url=JANE)
    await take(pool, *(wish(profile_url=JANE, work_email=f"jane.{number}@acme.co") for number in range(4)))
    last = await take_one(pool, profile_url=JANE, work_email=EMAIL, personal_email=OTHER)
    await end(pool, first.id, state="failed")  # the next search begins for the one with most identifiers

    await end(pool, last.id, state="failed")

    assert (await read(pool, last.id))["status"] == "failed"


@pytest.mark.parametrize("mobile", [MOBILE, None])
async def test_another_process_resumes_after_a_crash_between_chunks(pool: Pool, mobile: str | None) -> None:
    """Another process finds unswept searches, and goes on where the first one stopped."""
    taken = await take(pool, *(wish(work_email=EMAIL) for _ in range(5)))
    await end_job(pool, taken[0].id, mobile=mobile)
    search_id = (await read(pool, taken[0].id))["search_id"]

    first = await end_lookups(pool, [search_id], POLICY.not_found, (), 2)

    assert (len(first.lookups), first.unswept) == (2, [search_id])
    assert await unswept_searches(pool, 10) == [search_id]
    await follow_ends(pool, await unswept_searches(pool, 10), POLICY)
    assert set(await statuses(pool, taken)) == {"found" if mobile else "not_found"}
    assert await unswept_searches(pool, 10) == []


async def test_two_processes_follow_the_same_end(pool: Pool) -> None:
    """Lookups follow once, and those with more identifiers begin one search between them."""
    taken = await take(pool, *(wish(work_email=EMAIL) for _ in range(6)))
    more = await take(pool, *(wish(work_email=EMAIL, profile_url=JANE) for _ in range(3)))
    await end_job(pool, taken[0].id)
    search_id = (await read(pool, taken[0].id))["search_id"]

    await asyncio.gather(*(follow_ends(pool, [search_id], POLICY) for _ in range(4)))

    assert await statuses(pool, taken + more) == ["not_found"] * 6 + ["queued"] * 3
    assert (await searches(pool), await jobs(pool)) == (2, 1)


async def test_a_process_dies_while_lookups_are_decided_anew(pool: Pool, order: Order) -> None:
    """The next process decides the lookups that were not committed."""
    first_one = await take_one(pool, work_email=EMAIL)
    more = await take_one(pool, work_email=EMAIL, profile_url=JANE)
    await end_job(pool, first_one.id)
    async with order.first() as first:
        await first.execute("LOCK TABLE jobs IN SHARE MODE")
        search_id = (await read(pool, first_one.id))["search_id"]
        dying = await order.waiting(follow_ends(pool, [search_id], POLICY))
        dying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dying

    await follow_ends(pool, await unswept_searches(pool, 10), POLICY)

    assert await statuses(pool, [first_one, more]) == ["not_found", "queued"]
    assert await jobs(pool) == 1


async def test_the_largest_set_of_keys_is_decided_first(pool: Pool) -> None:
    """A lookup with two more identifiers begins the next search, and one with only one of them joins it."""
    first_one = await take_one(pool, work_email=EMAIL)
    few = await take_one(pool, work_email=EMAIL, personal_email=OTHER)
    many = await take_one(pool, work_email=EMAIL, personal_email=OTHER, profile_url=JANE)

    await end(pool, first_one.id)

    assert (await read(pool, few.id))["reused_from"] == many.id
    assert (await read(pool, many.id))["reused_from"] is None
    assert await jobs(pool) == 1


@pytest.mark.parametrize(
    ("state", "ended"), [("answered", "not_found"), ("failed", "failed"), ("unknown", "unresolved")]
)
async def test_lookups_end_as_their_search_ends(pool: Pool, state: JobEnd, ended: str) -> None:
    """All that bring nothing more end alike; only the first shows the credits, the others whose answer it is."""
    first_one, *others = await take(pool, *(wish(work_email=EMAIL) for _ in range(3)))

    await end(pool, first_one.id, state=state)

    assert await statuses(pool, [first_one, *others]) == [ended] * 3
    assert [(await read(pool, one.id))["reused_from"] for one in (first_one, *others)] == [
        None,
        first_one.id,
        first_one.id,
    ]
    assert await jobs(pool) == 0
