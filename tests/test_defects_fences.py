"""Defects of fences and leases: what happens between a look at a row and the statement that acts on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from enrichment.guards import Budget
from rig.proxy import proxied
from store.asked import Acceptance, Requeueing, accept, requeue
from store.budgets import BUDGET_LOCK
from store.claim import claim
from store.database import UNREACHABLE, transaction
from store.leases import JOBS
from submitter.reconciler import QUEUED_AT_MOST
from tests.at_work import BOTH, AtWork, until, wish_for
from tests.claims import take as take_claim
from tests.factories import job
from tests.fake_provider import FakeProvider, found
from tests.order import Order, one_connection
from tests.waiting_jobs import ago, overdue, silent
from tests.wishes import answer, apply, end, job_of, status, take_one

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.order import Connection
    from tests.wishes import Pool

    Write: TypeAlias = Callable[[Connection, asyncpg.Record], Awaitable[Any]]

LATER = timedelta(minutes=5)


async def accepted(db: Connection, row: asyncpg.Record) -> None:
    """Write the 202 of this job."""
    assert await accept(db, [Acceptance(row["id"], row["attempt"], "req-new", LATER)]) == {row["id"]}


async def renewed(db: Connection, row: asyncpg.Record) -> None:
    """Renew the lease of this job."""
    assert await JOBS.renew(db, [(row["id"], row["attempt"])], LATER) == {(row["id"], row["attempt"])}


async def requeued(db: Connection, row: asyncpg.Record) -> None:
    """Queue this job again, for it was not sent."""
    again = Requeueing(row["id"], row["attempt"], LATER, counts=False, error="not sent", was_sent=False)
    assert await requeue(db, [again]) == {row["id"]}


async def polled(db: Connection, row: asyncpg.Record) -> None:
    """Schedule the next poll of this job."""
    await db.execute("UPDATE jobs SET polls = polls + 1, due_at = now() + $2 WHERE id = $1", row["id"], LATER)


async def claimed(db: Connection, row: asyncpg.Record) -> None:
    """Claim this job."""
    await db.execute(
        """
        UPDATE jobs
           SET state = 'submitting', held = NULL, attempt = attempt + 1, submitted_at = now(), reserved_on = now(),
               lease_expires_at = now() + $2
         WHERE id = $1
        """,
        row["id"],
        LATER,
    )


async def silent_without_callback(world: AtWork) -> asyncpg.Record:
    """Make a job that a rescue ends as unknown."""
    return await silent(world)


async def silent_with_callback(world: AtWork) -> asyncpg.Record:
    """Make a job that a rescue lets wait for its callback."""
    return await silent(world, callback_expected=True)


async def without_request_id(world: AtWork) -> asyncpg.Record:
    """Make a job that is given up, because its 202 was lost."""
    return await overdue(world, request_id=None)


async def past_its_deadline(world: AtWork) -> asyncpg.Record:
    """Make a job that is given up, because its deadline passed."""
    return await overdue(world, submitted_at=await ago(world, hours=25))


async def stale(world: AtWork) -> asyncpg.Record:
    """Make a job that has been held for too long."""
    moment = await ago(world, days=QUEUED_AT_MOST.days + 1)
    id = uuid7().__class__(int=int(moment.timestamp() * 1000) << 80)
    return await job(world.pool, held="budget", id=id)


@pytest.mark.parametrize(
    ("duty", "make", "write"),
    [
        ("rescue", silent_without_callback, accepted),
        ("rescue", silent_without_callback, renewed),
        ("rescue", silent_without_callback, requeued),
        ("rescue", silent_with_callback, accepted),
        ("rescue", silent_with_callback, renewed),
        ("rescue", silent_with_callback, requeued),
        ("give_up", without_request_id, accepted),
        ("give_up", without_request_id, requeued),
        ("give_up", past_its_deadline, polled),
        ("end_stale", stale, claimed),
    ],
)
async def test_a_job_that_went_on_between_the_look_and_the_act_died(
    world: AtWork, order: Order, duty: str, make: Callable[[AtWork], Awaitable[asyncpg.Record]], write: Write
) -> None:
    """Each statement of the reconciler repeats the conditions under which it acts."""
    row = await make(world)
    async with order.first() as first:
        await write(first, row)
        written = await first.fetchrow("SELECT * FROM jobs")
        acting = await order.waiting(getattr(world.reconciler, duty)())

    assert await acting == 1

    assert await world.pool.fetchrow("SELECT * FROM jobs") == written
    assert await world.pool.fetchval("SELECT count(*) FROM finished_jobs") == 0


async def test_a_claim_that_waited_for_the_budgets_was_born_expired(world: AtWork, order: Order) -> None:
    """A lease is counted from when its row is written, not from when its transaction began."""
    row = await job(world.pool)
    lease = timedelta(seconds=2)
    async with order.first() as first:
        await first.execute("SELECT pg_advisory_xact_lock($1)", BUDGET_LOCK)
        waiting = await order.waiting(
            claim(
                world.pool, "nyne", most=1, price=Decimal(3), lease=lease, callback_expected=True, claim_id=uuid7(),
                budgets=[Budget(None, "day", Decimal(100))],
            )
        )  # fmt: skip
        released_at = await first.fetchval("SELECT clock_timestamp()")

    assert [one.id for one in (await waiting).jobs] == [row["id"]]
    assert await world.pool.fetchval("SELECT lease_expires_at FROM jobs") >= released_at + lease


async def test_a_process_whose_claim_took_longer_than_its_lease_sent_all_the_same(
    start: Start, order: Order, fake: FakeProvider
) -> None:
    """A process counts its lease from before the claim is sent: what came back too late is not asked."""
    async with start(lease_seconds=1, budget_credits_per_day=100) as world:
        lookup_id = await wish_for(world)
        begun = asyncio.get_running_loop().time()
        async with order.first() as first:
            await first.execute("SELECT pg_advisory_xact_lock($1)", BUDGET_LOCK)
            waiting = await order.waiting(world.claim("leadmagic"))
            await first.execute("SELECT pg_sleep($1)", begun + 1.1 - asyncio.get_running_loop().time())
        assert len((await waiting).items) == 1
        await world.settle()

        now = await job_of(world.pool, lookup_id)
        assert now is not None
        assert (now["state"], now["tries"], now["reserved"], fake.paid) == ("queued", 0, 0, [])


async def test_a_claim_that_was_kept_though_its_commit_failed_stranded_its_jobs(
    start: Start, fake: FakeProvider, database_url: str
) -> None:
    """Nothing of it was sent: its jobs are queued again, their attempt is spent, and nothing stays reserved."""
    async with proxied(database_url) as proxy, start(proxy.url) as world:
        lookup_id = await wish_for(world)
        proxy.lose_answers_to(b"COMMIT")
        with pytest.raises(UNREACHABLE):
            await world.claim("leadmagic")
        proxy.mend()
        kept = await job_of(world.pool, lookup_id)
        assert kept is not None
        assert (kept["state"], kept["reserved"]) == ("submitting", 5)

        await world.submitters["leadmagic"].loop._undo_failed_claims()

        now = await job_of(world.pool, lookup_id)
        assert now is not None
        assert (now["state"], now["attempt"], now["tries"], now["reserved"]) == ("queued", 1, 0, 0)
        assert await world.pool.fetchval("SELECT sum(reserved) FROM usage") == 0
        assert fake.paid == []

        fake.questions.append(found())
        await world.ask("leadmagic")
        assert (await status(world.pool, lookup_id), len(fake.paid)) == ("found", 1)


async def test_a_claim_whose_commit_went_on_without_its_caller_stranded_its_jobs(
    start: Start, fake: FakeProvider, order: Order
) -> None:
    """Its commit waits for a standby: what undoes the claim waits for that, and finds the jobs."""
    async with start() as world:
        lookup_id = await wish_for(world)
        claim_id = uuid7()
        async with order.first() as first:
            committing = await claim(
                one_connection(first), "leadmagic", most=1, price=Decimal(5), lease=timedelta(seconds=20),
                callback_expected=False, claim_id=claim_id,
            )  # fmt: skip
            undoing = await order.waiting(world.submitters["leadmagic"].undo(claim_id))

        assert list(await undoing) == [job.id for job in committing.jobs]
        now = await job_of(world.pool, lookup_id)
        assert now is not None
        assert (now["state"], now["reserved"], fake.paid) == ("queued", 0, [])


async def test_a_question_that_was_sent_back_after_a_late_number_stayed_in_flight_for_ever(db: Pool) -> None:
    """It is dropped, and so is the word that it was asked: a lookup of that provider alone is not kept from it."""
    first = await take_one(db, work_email="jane@acme.co", providers=BOTH)
    doubted = await end(db, first.id, state="unknown")
    (claimed,) = (await take_claim(db, "nyne")).jobs
    await apply(db, answer(doubted, "callback"))
    async with transaction(db) as connection:
        await requeue(connection, [Requeueing(claimed.id, claimed.attempt, LATER, counts=True, error="HTTP 503")])

    by_nyne = await take_one(db, work_email="jane@acme.co", providers=("nyne",))

    assert (await status(db, first.id), by_nyne.status) == ("found", "queued")
    now = await job_of(db, by_nyne.id)
    assert now is not None
    assert now["provider"] == "nyne"


async def test_a_submitter_that_stopped_after_a_failed_claim_left_its_jobs_in_doubt(
    start: Start, pool: Pool, fake: FakeProvider, database_url: str
) -> None:
    """A submitter that stops puts back the jobs that it claimed and did not send; none ends as "perhaps charged"."""
    async with proxied(database_url) as proxy, start(proxy.url) as world:
        lookup_id = await wish_for(world)
        proxy.lose_answers_to(b"COMMIT")
        stop = asyncio.Event()
        running = asyncio.create_task(world.submitters["leadmagic"].loop.run(stop))

        async def claimed_once() -> bool:
            return bool(await pool.fetchval("SELECT attempt > 0 FROM jobs"))

        await until(claimed_once)
        stop.set()
        proxy.mend()
        await running

        now = await job_of(pool, lookup_id)
        assert now is not None
        assert (now["state"], now["reserved"], fake.paid) == ("queued", 0, [])
