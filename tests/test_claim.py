"""Claims: what is due, within the limits, the budgets and the provider's health; and who is asked meanwhile."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from enrichment.providers.base import Limit, LimitNews
from enrichment.store import providers
from enrichment.store.asked import Requeueing, renew, requeue
from enrichment.store.claim import Budget, Claim, claim
from enrichment.store.finish import Ending, finish
from tests.factories import job, lookup

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

QUICK = (Limit(10_000_000, 60),)
LEASE = timedelta(seconds=20)
SOON = timedelta(seconds=5)


@pytest.fixture
async def db(pool: Pool) -> Pool:
    """Both providers are there, and quick."""
    for name in ("leadmagic", "nyne"):
        await providers.register_provider(pool, name, QUICK, {})
    return pool


async def take(db: Pool, provider: str = "nyne", most: int = 100, budgets: list[Budget] | None = None) -> Claim:
    """One claim at 3 credits a question."""
    return await claim(
        db, provider, most=most, price=Decimal(3), lease=LEASE, callback_expected=True, budgets=budgets or []
    )


async def ids(db: Pool, *, held: str | None = None, provider: str = "nyne") -> set[UUID]:
    """The queued jobs of *provider* that are *held* so."""
    rows = await db.fetch(
        "SELECT id FROM jobs WHERE state = 'queued' AND provider = $1 AND held IS NOT DISTINCT FROM $2", provider, held
    )
    return {row["id"] for row in rows}


async def reserved(db: Pool) -> Decimal:
    """What is reserved today, by the sums."""
    total: Decimal = await db.fetchval("SELECT COALESCE(sum(reserved), 0) FROM usage")
    return total


async def later(db: Pool, name: str, column: str) -> None:
    """The provider's moment in *column* is over."""
    await db.execute(f"UPDATE providers SET {column} = now() - interval '1 second' WHERE name = $1", name)  # noqa: S608


async def test_a_claim_is_the_committed_intent_to_pay(db: Pool) -> None:
    """The job is ours: attempt counted, lease running, credits reserved, all in one commit."""
    row = await job(db, lookup_id=(await lookup(db, work_email="jane@acme.co", region_hint="US"))["id"])

    claimed = await take(db)

    (ours,) = claimed.jobs
    now = await db.fetchrow("SELECT *, lease_expires_at - now() AS lease FROM jobs WHERE id = $1", row["id"])
    assert now is not None
    assert (ours.id, ours.lookup_id, ours.attempt, ours.tries) == (row["id"], row["lookup_id"], 1, 0)
    assert (ours.contact.work_email, ours.contact.region) == ("jane@acme.co", "US")
    assert (now["state"], now["attempt"], now["reserved"], now["callback_expected"]) == ("submitting", 1, 3, True)
    assert timedelta(seconds=19) < now["lease"] <= LEASE
    assert await reserved(db) == 3


async def test_only_what_is_due_is_claimed(db: Pool) -> None:
    """Not what is for later, held, asked already, or another provider's."""
    tomorrow = await db.fetchval("SELECT now() + interval '1 day'")
    await job(db, due_at=tomorrow)
    await job(db, held="budget")
    await job(db, "submitting")
    await job(db, "awaiting")
    await job(db, provider="leadmagic")
    due = await job(db)

    assert [claimed.id for claimed in (await take(db)).jobs] == [due["id"]]
    assert not (await take(db)).jobs


async def test_the_oldest_are_claimed_first_and_never_more_than_asked_for(db: Pool) -> None:
    """A full claim says that there may be more."""
    rows = [await job(db, due_at=await db.fetchval("SELECT now() - $1 * interval '1 s'", 10 - n)) for n in range(5)]

    first = await take(db, most=3)
    rest = await take(db, most=3)

    assert {claimed.id for claimed in first.jobs} == {row["id"] for row in rows[:3]}
    assert {claimed.id for claimed in rest.jobs} == {row["id"] for row in rows[3:]}
    assert (first.more, rest.more) == (True, False)


@pytest.mark.parametrize(("fresh", "again", "expected"), [(20, 20, (6, 2)), (0, 20, (0, 8)), (20, 0, (8, 0))])
async def test_fresh_ones_and_retries_share(db: Pool, fresh: int, again: int, expected: tuple[int, int]) -> None:
    """Three fresh ones, then one that failed before: a storm of retries starves nothing, nor is it starved."""
    for _ in range(fresh):
        await job(db)
    for _ in range(again):
        await job(db, attempt=1, tries=1, due_at=await db.fetchval("SELECT now() - interval '1 hour'"))

    claimed = await take(db, most=8)

    tries = [ours.tries for ours in claimed.jobs]
    assert (tries.count(0), tries.count(1)) == expected


async def test_a_limit_spaces_the_questions(pool: Pool) -> None:
    """Permits are for moments shortly ahead; who finds none is told how long to wait."""
    await providers.register_provider(pool, "nyne", (Limit(600, 60),), {})
    for _ in range(10):
        await job(pool)

    first = await take(pool)
    second = await take(pool)

    assert [round(ours.after, 1) for ours in first.jobs] == [0.0, 0.1, 0.2]
    assert (second.jobs, second.more) == ((), False)
    assert 0 < second.wait < 0.2


async def test_all_processes_share_one_limit(pool: Pool) -> None:
    """Four that claim at the same instant have as many permits as one would have, each for a moment of its own."""
    await providers.register_provider(pool, "nyne", (Limit(600, 60), Limit(1000, 3600)), {})
    for _ in range(40):
        await job(pool)

    claims = await asyncio.gather(*(take(pool) for _ in range(4)))

    taken = [ours for claimed in claims for ours in claimed.jobs]
    (meter,) = await pool.fetch("""SELECT next_at, spent FROM limits WHERE "window" = 3600 AND purpose = 'any'""")
    assert 3 <= len(taken) <= 5  # a little later there may be one more
    assert sum(meter["spent"]) == len(taken)


async def test_an_unused_permit_is_not_spent(pool: Pool) -> None:
    """Who claims when nothing is due takes no permit from those who come after."""
    await providers.register_provider(pool, "nyne", (Limit(60, 60),), {})
    for _ in range(5):
        assert not (await take(pool)).jobs
    await job(pool)

    (ours,) = (await take(pool)).jobs

    assert ours.after == 0


async def test_a_provider_that_nobody_registered_is_a_mistake(pool: Pool) -> None:
    """Without its limits it cannot be asked."""
    with pytest.raises(LookupError, match="register_provider"):
        await take(pool)


async def test_registering_again_keeps_what_was_spent_and_takes_what_is_set(pool: Pool) -> None:
    """A process that starts does not give the allowance anew; a person's setting counts at once."""
    await providers.register_provider(pool, "nyne", (Limit(100, 60), Limit(1000, 3600)), {})
    await pool.execute("UPDATE limits SET next_at = now() + interval '10 s'")

    await providers.register_provider(pool, "nyne", (Limit(100, 60), Limit(1000, 3600)), {60: 50, 86_400: 9000})

    rows = await pool.fetch("""SELECT purpose, "window", allowance, ceiling, next_at > now() AS spent FROM limits""")
    assert {(r["purpose"], r["window"], r["allowance"], r["ceiling"], r["spent"]) for r in rows} == {
        ("any", 60, 50, 50, True),
        ("poll", 60, 25, 25, True),
        ("any", 3600, 1000, None, True),
        ("poll", 3600, 500, None, True),
        ("any", 86_400, 9000, 9000, False),
        ("poll", 86_400, 4500, 4500, False),
    }


async def test_headers_correct_the_limits_below_a_persons_ceiling(pool: Pool) -> None:
    """The vendor's word counts for its window, never above what a person allows."""
    await providers.register_provider(pool, "nyne", (Limit(100, 60), Limit(1000, 3600)), {3600: 800})

    await providers.correct_limits(pool, "nyne", LimitNews(allowance=300, window=60))
    await providers.correct_limits(pool, "nyne", LimitNews(allowance=5000, window=3600))

    rows = await pool.fetch("""SELECT purpose, "window", allowance FROM limits ORDER BY 2, 1""")
    assert [tuple(row) for row in rows] == [
        ("any", 60, 300),
        ("poll", 60, 150),
        ("any", 3600, 800),
        ("poll", 3600, 400),
    ]


async def test_a_resting_provider_is_left_alone_until_then(db: Pool) -> None:
    """After a 429 nobody asks; two of them rest until the later one ends."""
    await job(db)
    await providers.correct_limits(db, "nyne", LimitNews(rest=30))
    await providers.correct_limits(db, "nyne", LimitNews(rest=5))

    resting = await take(db)
    await later(db, "nyne", "rest_until")
    rested = await take(db)

    assert (resting.jobs, 25 < resting.wait <= 30, resting.paused) == ((), True, False)
    assert len(rested.jobs) == 1


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


async def test_a_paused_provider_passes_its_turns(db: Pool) -> None:
    """Whoever could be asked by another goes there, the paused one last; whoever could not is held."""
    passed = await job(db, provider="leadmagic", todo=["nyne"])
    stuck = await job(db, provider="leadmagic", todo=[])
    assert await providers.pause(db, "leadmagic", "no credits", SOON)
    assert not await providers.pause(db, "leadmagic", "no credits", SOON)

    claimed = await take(db, "leadmagic")
    moved = await providers.pass_turns(db, "leadmagic")

    assert (claimed.jobs, claimed.paused, moved) == ((), True, 2)
    assert await ids(db, held="paused", provider="leadmagic") == {stuck["id"]}
    (row,) = await db.fetch("SELECT * FROM jobs WHERE provider = 'nyne'")
    assert (row["lookup_id"], row["todo"], row["held"]) == (passed["lookup_id"], ["leadmagic"], None)
    assert row["id"] != passed["id"]  # another question, with a callback URL of its own
    assert await providers.pass_turns(db, "leadmagic") == 0


async def test_when_all_are_paused_the_first_holds_and_either_frees(db: Pool) -> None:
    """A held lookup goes on with whichever of its providers is well again first."""
    row = await job(db, provider="leadmagic", todo=["nyne"])
    for name in ("leadmagic", "nyne"):
        await providers.pause(db, name, "no credits", SOON)
    assert await providers.pass_turns(db, "leadmagic") == 1
    assert await ids(db, held="paused", provider="leadmagic") == {row["id"]}
    assert await providers.release_held(db, "nyne", "paused", 10) == 0

    assert await providers.resume(db, "nyne")
    assert await providers.release_held(db, "nyne", "paused", 10) == 1
    assert await providers.pass_turns(db, "leadmagic") == 1

    assert [ours.lookup_id for ours in (await take(db)).jobs] == [row["lookup_id"]]


@pytest.mark.parametrize(
    ("paused", "next_one", "todo", "held"),
    [
        ((), "nyne", ["third", "fourth"], None),
        (("nyne",), "third", ["nyne", "fourth"], None),
        (("nyne", "third"), "fourth", ["nyne", "third"], None),
        (("nyne", "third", "fourth"), "nyne", ["third", "fourth"], "paused"),
    ],
)
async def test_a_chain_goes_on_with_whoever_is_not_paused(
    db: Pool, paused: tuple[str, ...], next_one: str, todo: list[str], held: str | None
) -> None:
    """The next provider that can be asked is; those that were skipped keep their turn; with none, the first holds."""
    for name in ("third", "fourth"):
        await providers.register_provider(db, name, QUICK, {})
    for name in paused:
        await providers.pause(db, name, "no credits", SOON)
    row = await job(db, "submitting", provider="leadmagic", todo=["nyne", "third", "fourth"])

    await finish(db, [Ending(job_id=row["id"], state="failed", error="no")])

    (after,) = await db.fetch("SELECT provider, todo, held, place FROM jobs")
    assert tuple(after) == (next_one, todo, held, 1)


async def test_a_provider_that_is_well_again_gets_its_lookups_back(db: Pool) -> None:
    """What was held for it is asked of it."""
    row = await job(db)
    await providers.pause(db, "nyne", "no credits", SOON)
    await providers.pass_turns(db, "nyne")

    assert await providers.resume(db, "nyne")
    assert not await providers.resume(db, "nyne")
    assert await providers.release_held(db, "nyne", "paused", 10) == 1

    assert [ours.id for ours in (await take(db)).jobs] == [row["id"]]


async def test_one_process_asks_a_paused_provider_how_it_is(db: Pool) -> None:
    """The free endpoint is asked when its time comes, by one of all processes."""
    await providers.pause(db, "nyne", "no credits", SOON)
    assert not await providers.claim_check(db, "nyne", SOON)
    await later(db, "nyne", "check_at")

    asked = await asyncio.gather(*(providers.claim_check(db, "nyne", SOON) for _ in range(4)))

    assert sorted(asked) == [False, False, False, True]


async def test_paused_again_soon_it_is_asked_less_often(db: Pool) -> None:
    """When the free endpoint says well and the paid one does not, they do not take turns every few seconds."""
    await providers.pause(db, "nyne", "no credits", SOON)
    await providers.resume(db, "nyne")
    await providers.pause(db, "nyne", "no credits", SOON)

    wait = await db.fetchval("SELECT check_at - now() FROM providers WHERE name = 'nyne'")

    assert wait > 15 * SOON


async def test_the_budget_holds_what_it_does_not_allow(db: Pool) -> None:
    """Seven credits are two questions at three; the rest is held, not dropped."""
    rows = {(await job(db))["id"] for _ in range(4)}
    budget = [Budget("nyne", "day", Decimal(7))]

    first = await take(db, budgets=budget)
    second = await take(db, budgets=budget)

    assert len(first.jobs) == 2
    assert second == Claim(())
    assert await ids(db, held="budget") == rows - {ours.id for ours in first.jobs}
    assert await reserved(db) == 6


@pytest.mark.parametrize(
    ("budget", "spent", "questions"),
    [
        (Budget(None, "day", Decimal(9)), [("leadmagic", 0, 3)], 2),
        (Budget("nyne", "day", Decimal(9)), [("leadmagic", 0, 3)], 3),
        (Budget("leadmagic", "day", Decimal(0)), [], 3),
        (Budget("nyne", "day", Decimal(9)), [("nyne", 1, 9)], 3),
        (Budget("nyne", "day", Decimal(9)), [("nyne", 0, 8)], 0),
        (Budget("nyne", "day", Decimal(0)), [], 0),
        (Budget("nyne", "month", Decimal(9)), [("nyne", 31, 9)], 3),
    ],
)
async def test_a_budget_counts_its_own_provider_and_period(
    db: Pool, budget: Budget, spent: list[tuple[str, int, int]], questions: int
) -> None:
    """All providers or one; this UTC day or month; whatever is reserved, charged or possibly charged."""
    for provider, days_ago, credits in spent:
        await db.execute(
            "INSERT INTO usage (provider, day, slot, charged) "
            "VALUES ($1, (now() AT TIME ZONE 'UTC')::date - $2::int, 0, $3)",
            provider,
            days_ago,
            credits,
        )
    for _ in range(3):
        await job(db)

    assert len((await take(db, budgets=[budget])).jobs) == questions


async def test_this_month_counts_from_its_first_day(db: Pool) -> None:
    """What was charged on the first of this month counts against the month."""
    await db.execute(
        "INSERT INTO usage (provider, day, slot, possible) "
        "VALUES ('nyne', date_trunc('month', now() AT TIME ZONE 'UTC')::date, 0, 7)"
    )
    for _ in range(3):
        await job(db)

    assert len((await take(db, budgets=[Budget("nyne", "month", Decimal(9))])).jobs) == 0


async def test_two_claimers_at_once_never_overspend(db: Pool) -> None:
    """However many ask at the same instant, of whichever provider, the budget is kept to the credit."""
    for _ in range(40):
        await job(db)
        await job(db, provider="leadmagic")
    budget = [Budget(None, "day", Decimal(30))]

    claims = await asyncio.gather(
        *(take(db, provider, 7, budget) for provider in ("nyne", "leadmagic") for _ in range(4))
    )

    assert sum(len(claimed.jobs) for claimed in claims) == 10
    assert await reserved(db) == 30


async def test_a_released_question_gives_its_credits_back(db: Pool) -> None:
    """What was reserved for a question that was not asked after all may be spent on the next one."""
    await job(db)
    await job(db)
    budget = [Budget("nyne", "day", Decimal(3))]
    (ours,) = (await take(db, budgets=budget)).jobs
    assert (await take(db, budgets=budget)).jobs == ()

    await requeue(db, [Requeueing(ours.id, ours.attempt, timedelta(hours=1), counts=True, error="HTTP 503")])
    assert await reserved(db) == 0
    assert await providers.release_held(db, "nyne", "budget", 10) == 1

    assert len((await take(db, budgets=budget)).jobs) == 1


async def test_leases_are_renewed_by_their_own_attempt_only(db: Pool) -> None:
    """Who was taken over is told by the silence about its job."""
    await job(db)
    await job(db)
    mine, other = (await take(db)).jobs
    await db.execute("UPDATE jobs SET lease_expires_at = now() + interval '1 s'")
    await db.execute("UPDATE jobs SET attempt = 2 WHERE id = $1", other.id)

    ours = await renew(db, [(mine.id, mine.attempt), (other.id, other.attempt)], LEASE)

    assert ours == {mine.id}
    rows = await db.fetch("SELECT id FROM jobs WHERE lease_expires_at > now() + interval '10 s'")
    assert [row["id"] for row in rows] == [mine.id]
