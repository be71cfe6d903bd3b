"""Budgets: kept to the credit by all processes together; what they do not allow is held, and goes on by itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from enrichment.guards import Budget
from store.asked import Requeueing, requeue
from store.budgets import Room, release_affordable
from store.claim import Claim
from tests.claims import ids, reserved, take
from tests.factories import job

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.wishes import Pool


async def test_the_budget_holds_what_it_does_not_allow(db: Pool) -> None:
    """Seven credits are two questions at three; the rest is held, not dropped."""
    rows = {(await job(db))["id"] for _ in range(4)}
    budget = [Budget("nyne", "day", Decimal(7))]

    first = await take(db, budgets=budget)
    second = await take(db, budgets=budget)

    assert len(first.jobs) == 2
    assert second == Claim((), held=2)
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
    """A budget counts reserved, charged and possibly charged credits of its provider, or of all, in its UTC period."""
    for provider, days_ago, credits in spent:
        await db.execute(
            "INSERT INTO usage (provider, source, day, slot, charged) "
            "VALUES ($1, 'generic', (now() AT TIME ZONE 'UTC')::date - $2::int, 0, $3)",
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
        "INSERT INTO usage (provider, source, day, slot, possible) "
        "VALUES ('nyne', 'generic', date_trunc('month', now() AT TIME ZONE 'UTC')::date, 0, 7)"
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
    """The credits reserved for a question that was not asked can be spent on the next one."""
    await job(db)
    await job(db)
    budget = [Budget("nyne", "day", Decimal(3))]
    (ours,) = (await take(db, budgets=budget)).jobs
    assert (await take(db, budgets=budget)).jobs == ()

    await requeue(db, [Requeueing(ours.id, ours.attempt, timedelta(hours=1), counts=True, error="HTTP 503")])
    assert await reserved(db) == 0
    assert await release_affordable(db, "nyne", Room(), 10) == 1

    assert len((await take(db, budgets=budget)).jobs) == 1


async def test_a_raised_budget_releases_what_it_held(start: Start) -> None:
    """As many as can be paid go on; the rest is held for as long as it must be."""
    async with start(nyne_budget_credits_per_day=Decimal(0)) as world:
        for _ in range(3):
            await job(world.pool)
        await world.claim("nyne")
        assert await world.reconciler.look_after_providers() == 0
    async with start(nyne_budget_credits_per_day=Decimal(7)) as world:
        assert await world.reconciler.look_after_providers() == 2

        assert len((await world.ask("nyne")).items) == 2
        assert await world.reconciler.look_after_providers() == 0
        assert await world.pool.fetchval("SELECT count(*) FROM jobs WHERE held = 'budget'") == 1


async def test_the_next_day_has_a_budget_of_its_own(start: Start) -> None:
    """Yesterday's charges hold no question today."""
    async with start(budget_credits_per_day=Decimal(3)) as world:
        await job(world.pool)
        await job(world.pool)
        await world.ask("nyne")
        await world.ask("nyne")
        assert await world.reconciler.look_after_providers() == 0

        await world.pool.execute("UPDATE usage SET day = day - 1")
        assert await world.reconciler.look_after_providers() == 1

        assert len((await world.ask("nyne")).items) == 1
