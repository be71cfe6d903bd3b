"""Every credit: reserved, then charged, released or possibly charged; and the sums always add up."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from enrichment.ending import Ending
from enrichment.outcome import Accepted, Answered, Outcome, Refused, Retry, Unclear
from enrichment.providers.base import Limit
from enrichment.states import JobEnd
from store import providers
from store.asked import Requeueing, requeue
from store.claim import ClaimedJob, claim
from store.late import settle_late
from store.lookups import possibly_charged
from store.reports import read_lookups
from submitter.outcomes import JobOutcome
from tests.at_work import NO_LIMITS, AtWork, at_work
from tests.claims import LEASE, take
from tests.factories import finished_job, job, lookup
from tests.wishes import POLICY, apply, end, finish_jobs, read, status, take_one

if TYPE_CHECKING:
    from tests.conftest import MakeSettings

    Pool: TypeAlias = asyncpg.Pool[Any]

MOBILE = "+15551234567"


@pytest.fixture
async def world(make_settings: MakeSettings, database_url: str) -> AsyncIterator[AtWork]:
    """A process whose providers are never called."""
    async with at_work(make_settings(database_url=database_url, **NO_LIMITS), database_url) as working:
        yield working


async def entries(db: Pool, job_id: UUID) -> dict[str, int]:
    """Return the ledger's entries for one job."""
    rows = await db.fetch("SELECT kind, credits FROM ledger WHERE job_id = $1", job_id)
    return {row["kind"]: int(row["credits"]) for row in rows}


async def add_up(db: Pool) -> None:
    """Check the sums by day against the ledger and the open reservations, and what each job and lookup shows."""
    sums = await db.fetch(
        """
        SELECT provider, day, sum(reserved), sum(charged), sum(possible)
          FROM usage
         GROUP BY provider, day
        HAVING sum(reserved) <> 0 OR sum(charged) <> 0 OR sum(possible) <> 0
        """
    )
    told = await db.fetch(
        """
        SELECT provider, day, sum(reserved), sum(charged), sum(possible)
          FROM (SELECT provider, reserved_on AS day, reserved, 0 AS charged, 0 AS possible
                  FROM jobs
                 WHERE reserved_on IS NOT NULL
                UNION ALL
                SELECT provider, day, 0,
                       CASE kind WHEN 'charged' THEN credits ELSE 0 END,
                       CASE kind WHEN 'possible' THEN credits WHEN 'settled' THEN -credits ELSE 0 END
                  FROM ledger) AS rows
         GROUP BY provider, day
        HAVING sum(reserved) <> 0 OR sum(charged) <> 0 OR sum(possible) <> 0
        """
    )
    assert {tuple(row) for row in sums} == {tuple(row) for row in told}
    crooked = await db.fetch(
        """
        SELECT finished_jobs.id
          FROM finished_jobs
          LEFT JOIN ledger ON ledger.job_id = finished_jobs.id
         GROUP BY finished_jobs.id
        HAVING finished_jobs.credits <> COALESCE(sum(ledger.credits) FILTER (WHERE kind = 'charged'), 0)
            OR finished_jobs.possible <> COALESCE(sum(CASE kind WHEN 'possible' THEN ledger.credits
                                                                WHEN 'settled' THEN -ledger.credits END), 0)
        """
    )
    assert crooked == []
    shown = {row["id"]: row["credits"] for row in await read_lookups(db, await _lookups(db)) if row["credits"]}
    charged = await db.fetch("SELECT lookup_id, sum(credits) FROM ledger WHERE kind = 'charged' GROUP BY lookup_id")
    assert shown == {row["lookup_id"]: row["sum"] for row in charged}


async def _lookups(db: Pool) -> list[UUID]:
    return [row["id"] for row in await db.fetch("SELECT id FROM lookups")]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ({"state": "answered", "mobile": MOBILE, "charged": Decimal(3)}, {"charged": 3}),
        ({"state": "answered", "mobile": MOBILE, "charged": Decimal(2)}, {"charged": 2, "released": 1}),
        ({"state": "answered", "mobile": MOBILE, "charged": Decimal(9)}, {"charged": 9}),
        ({"state": "answered", "charged": Decimal(0)}, {"released": 3}),
        ({"state": "failed"}, {"released": 3}),
        ({"state": "failed", "possible": True}, {"possible": 3}),
        ({"state": "unknown", "possible": True}, {"possible": 3}),
        ({"state": "lost", "possible": True}, {"possible": 3}),
    ],
)
async def test_a_reservation_becomes_what_came_of_it(
    pool: Pool, ending: dict[str, Any], expected: dict[str, int]
) -> None:
    """At its end a reservation is charged, released or possibly charged, and nothing of it stays reserved."""
    row = await job(pool, "awaiting")
    if ending["state"] == "answered":
        ending = ending | {"answered_by": "callback"}

    await finish_jobs(pool, [Ending(job_id=row["id"], **ending)])

    assert await entries(pool, row["id"]) == expected
    await add_up(pool)


async def test_an_answer_to_a_question_that_was_taken_back_is_paid_for_all_the_same(pool: Pool) -> None:
    """The provider said try again, and answered after all: nothing was reserved, and the charge is in the ledger."""
    row = await job(pool, "queued", attempt=1, tries=1)

    await finish_jobs(
        pool,
        [Ending(job_id=row["id"], state="answered", answered_by="callback", mobile=MOBILE, charged=Decimal(3))],
    )

    assert await entries(pool, row["id"]) == {"charged": 3}
    await add_up(pool)


async def test_a_reservation_counts_on_the_day_it_was_made(pool: Pool) -> None:
    """A question asked before midnight and answered after it is charged to the day whose budget it used."""
    yesterday = await pool.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date - 1")
    row = await job(pool, "awaiting", reserved_on=yesterday)

    await finish_jobs(pool, [Ending(job_id=row["id"], state="unknown", possible=True)])

    assert await pool.fetchval("SELECT day FROM ledger WHERE job_id = $1", row["id"]) == yesterday
    await add_up(pool)


@pytest.mark.parametrize("state", ["unknown", "lost"])
@pytest.mark.parametrize(("mobile", "charged"), [(MOBILE, 3), (MOBILE, 2), (None, 0)])
async def test_a_late_answer_settles_a_possible_charge(
    pool: Pool, state: JobEnd, mobile: str | None, charged: int
) -> None:
    """A possible charge is settled: charged for a number, released for none."""
    row = await job(pool, "awaiting")
    await finish_jobs(pool, [Ending(job_id=row["id"], state=state, possible=True)])
    await add_up(pool)

    async with pool.acquire() as connection, connection.transaction():
        answer = Ending(
            job_id=row["id"], state="answered", answered_by="callback", mobile=mobile, charged=Decimal(charged)
        )
        await settle_late(connection, answer, POLICY.hash)

    told = {"possible": 3, "settled": 3, "charged": charged, "released": 3 - charged}
    assert await entries(pool, row["id"]) == {kind: credits for kind, credits in told.items() if credits}
    await add_up(pool)


async def test_a_late_answer_counts_once(pool: Pool) -> None:
    """The same late answer again charges nothing more."""
    row = await finished_job(pool, "unknown")
    answer = Ending(job_id=row["id"], state="answered", answered_by="callback", mobile=MOBILE, charged=Decimal(3))

    async with pool.acquire() as connection, connection.transaction():
        first = await settle_late(connection, answer, POLICY.hash)
    async with pool.acquire() as connection, connection.transaction():
        again = await settle_late(connection, answer, POLICY.hash)

    assert (first and first.lookup_id, again) == (row["lookup_id"], None)
    assert await entries(pool, row["id"]) == {"possible": 3, "settled": 3, "charged": 3}
    await add_up(pool)


async def test_a_doubted_callback_and_its_verification_are_both_charged(pool: Pool) -> None:
    """A callback without a usable number was charged, and so was the other request that had one: both are counted."""
    row = await job(pool, "awaiting", request_id=None)
    await finish_jobs(pool, [Ending(job_id=row["id"], state="answered", answered_by="callback", charged=Decimal(3))])

    answer = Ending(job_id=row["id"], state="answered", answered_by="poll", mobile=MOBILE, charged=Decimal(3))
    async with pool.acquire() as connection, connection.transaction():
        await settle_late(connection, answer, POLICY.hash, verified=True)

    assert await entries(pool, row["id"]) == {"charged": 6}
    await add_up(pool)


async def test_a_chain_costs_what_each_of_its_jobs_cost(pool: Pool) -> None:
    """A lookup's credits are the sum of its chain's."""
    row = await lookup(pool, providers=["leadmagic", "nyne"])
    first = await job(pool, "submitting", provider="leadmagic", todo=["nyne"], lookup_id=row["id"])
    await finish_jobs(pool, [Ending(job_id=first["id"], state="answered", answered_by="inline", charged=Decimal(5))])
    await pool.execute("DELETE FROM jobs")  # as if claimed: the factory reserves
    second = await job(pool, "awaiting", lookup_id=row["id"], place=1)

    await finish_jobs(
        pool,
        [Ending(job_id=second["id"], state="answered", answered_by="poll", mobile=MOBILE, charged=Decimal(3))],
    )

    assert (await read(pool, row["id"]))["credits"] == 8
    await add_up(pool)


async def test_a_late_number_while_the_next_provider_is_asked(pool: Pool) -> None:
    """The lookup is found at once; the question in flight is still paid for, and no other provider is asked."""
    row = await lookup(pool, providers=["nyne", "leadmagic", "third"])
    first = await finished_job(pool, "unknown", lookup_id=row["id"])
    second = await job(pool, "submitting", provider="leadmagic", todo=["third"], lookup_id=row["id"], place=1)

    answer = Ending(job_id=first["id"], state="answered", answered_by="callback", mobile=MOBILE, charged=Decimal(3))
    await apply(pool, answer)
    assert await status(pool, row["id"]) == "found"
    await apply(pool, Ending(job_id=second["id"], state="answered", answered_by="inline", charged=Decimal(0)))

    told = await read(pool, row["id"])
    assert (told["status"], told["mobile"], told["credits"]) == ("found", MOBILE, 3)
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 0
    await add_up(pool)


async def test_a_late_number_before_the_next_provider_is_asked(pool: Pool) -> None:
    """The next question was not sent yet: it is dropped, and costs nothing."""
    row = await lookup(pool, providers=["nyne", "leadmagic"])
    first = await finished_job(pool, "unknown", lookup_id=row["id"])
    await job(pool, "queued", provider="leadmagic", lookup_id=row["id"], place=1)

    answer = Ending(job_id=first["id"], state="answered", answered_by="callback", mobile=MOBILE, charged=Decimal(3))
    async with pool.acquire() as connection, connection.transaction():
        await settle_late(connection, answer, POLICY.hash)

    assert await pool.fetchval("SELECT count(*) FROM jobs") == 0
    assert (await read(pool, row["id"]))["credits"] == 3
    await add_up(pool)


async def test_who_may_have_been_paid_is_named_before_a_retry(pool: Pool) -> None:
    """The answer to a retry names the providers whose outcome is unknown, since they may charge again."""
    taken = await take_one(pool, work_email="jane@acme.co", providers=("nyne",))
    await providers.register_provider(pool, "nyne", (Limit(1_000_000, 60),), {})
    await take(pool, most=1)
    await end(pool, taken.id, state="unknown")

    assert await possibly_charged(pool, taken.id) == ["nyne"]
    assert await possibly_charged(pool, (await lookup(pool))["id"]) == []


ANSWERS: list[Outcome] = [
    Answered(MOBILE),
    Answered(MOBILE, credits=Decimal(1)),
    Answered(None),
    Answered("call me"),
    Refused("no"),
    Retry("HTTP 503", after=0.0),
    Unclear("no answer in time"),
    Accepted("req"),
]


@settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 10**9))
async def test_whatever_happens_the_sums_add_up(world: AtWork, seed: int) -> None:
    """After random events, claims, answers, callbacks, losses and late answers, the sums add up."""
    chance = random.Random(seed)
    await world.pool.execute(
        "TRUNCATE events, lookups, searches, keys, fingerprints, jobs, finished_jobs, callbacks, ledger, usage"
    )
    asked: list[tuple[str, ClaimedJob]] = []

    for _ in range(30):
        match chance.randrange(8):
            case 0 | 1:
                email = f"{chance.randrange(6)}@acme.co"
                await take_one(world.pool, work_email=email, providers=("leadmagic", "nyne")[chance.randrange(2) :])
            case 2 | 3:
                name = chance.choice(["leadmagic", "nyne"])
                await world.pool.execute("UPDATE jobs SET due_at = now() WHERE state = 'queued'")
                claimed = await claim(
                    world.pool, name, most=2, price=world.process.providers[name].price,
                    lease=LEASE, callback_expected=name == "nyne", claim_id=uuid7(),
                )  # fmt: skip
                asked += [(name, ours) for ours in claimed.jobs]
            case 4 | 5 if asked:
                name, ours = asked.pop(chance.randrange(len(asked)))
                outcome = chance.choice(ANSWERS if name == "nyne" else ANSWERS[:-1])
                told = JobOutcome(world.process.providers[name], ours, outcome, b"", callback_expected=name == "nyne")
                await world.writer.write([told])
            case 6:
                rows = await world.pool.fetch("SELECT id FROM jobs UNION ALL SELECT id FROM finished_jobs ORDER BY id")
                if rows:
                    await world.call_back(chance.choice(rows)["id"], chance.choice(ANSWERS[:5]))
            case 7:
                column = chance.choice(["lease_expires_at", "due_at", "submitted_at"])
                await world.pool.execute(
                    f"UPDATE jobs SET {column} = now() - interval '2 days' WHERE {column} IS NOT NULL"  # noqa: S608
                )
                await world.reconciler.rescue()
                await world.reconciler.give_up()
                asked = []
        await add_up(world.pool)


async def test_a_retry_costs_a_reservation_of_its_own(pool: Pool) -> None:
    """A question that is taken back gives its credits back, and the next try reserves them again."""
    await providers.register_provider(pool, "nyne", (Limit(1_000_000, 60),), {})
    await job(pool)
    for attempt in (1, 2):
        (ours,) = (await take(pool, most=1)).jobs
        assert ours.attempt == attempt
        await add_up(pool)
        await requeue(pool, [Requeueing(ours.id, ours.attempt, timedelta(0), counts=True, error="HTTP 503")])
        await add_up(pool)

    assert await pool.fetchval("SELECT sum(reserved) FROM usage") == 0
