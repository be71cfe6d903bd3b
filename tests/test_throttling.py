"""Rate limits that all processes share: each question and each poll keeps them, and the vendor's word corrects them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.providers.base import Limit, LimitNews
from store import providers
from tests.at_work import AtWork, due_now, waits, wish_for
from tests.claims import later, take
from tests.factories import job
from tests.fake_provider import FakeProvider, Reply, nothing, running
from tests.order import Order
from tests.waiting_jobs import overdue
from tests.wishes import job_of

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.wishes import Pool

# Permits


async def test_a_limit_spaces_the_questions(pool: Pool) -> None:
    """Permits are for moments shortly ahead; a claim without one learns how long to wait."""
    await providers.register_provider(pool, "nyne", (Limit(600, 60),), {})
    for _ in range(10):
        await job(pool)

    began = time.monotonic()
    first = await take(pool)
    took = time.monotonic() - began
    second = await take(pool)

    planned = [0.0, 0.10083, 0.20167]  # (60 s and half a second of slack) / 600
    assert len(first.jobs) == 3
    for ours, at in zip(first.jobs, planned, strict=True):
        assert max(0.0, at - took) <= ours.after <= at + 0.001
    assert (second.jobs, second.more) == ((), False)
    assert 0 < second.wait < 0.2


async def test_a_slow_claim_is_not_waited_for_again(pool: Pool, order: Order) -> None:
    """A permit is for its moment: the time that the claim took is not waited for again."""
    await providers.register_provider(pool, "nyne", (Limit(600, 60),), {})
    for _ in range(3):
        await job(pool)

    async with order.first() as first:
        await first.execute("LOCK TABLE usage")
        claiming = await order.waiting(take(pool))
        await first.execute("SELECT pg_sleep(0.25)")  # until the last permit's moment is over

    assert [ours.after for ours in (await claiming).jobs] == [0.0, 0.0, 0.0]


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
    """A claim that finds no due job spends no permit."""
    await providers.register_provider(pool, "nyne", (Limit(60, 60),), {})
    for _ in range(5):
        assert not (await take(pool)).jobs
    await job(pool)

    (ours,) = (await take(pool)).jobs

    assert ours.after == 0


@pytest.mark.parametrize(
    ("waiting", "polled"), [(None, 3), ({}, 2), ({"attempt": 1, "tries": 1}, 2), ({"held": "budget"}, 3)]
)
async def test_polls_take_half_at_most_while_questions_wait(
    start: Start, waiting: dict[str, Any] | None, polled: int
) -> None:
    """At ten a second, a quarter of a second has three permits; two of them at half the rate."""
    async with start(nyne_per_minute=600) as world:
        for _ in range(9):
            await overdue(world)
        if waiting is not None:
            await job(world.pool, **waiting)

        assert await world.poller.poll_once() == polled


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


async def test_starting_a_process_keeps_what_headers_corrected(pool: Pool) -> None:
    """Headers tell what the vendor allows; a process that starts knows only the vendor's page, and resets nothing."""
    documented = (Limit(100, 60), Limit(1000, 3600))
    await providers.register_provider(pool, "nyne", documented, {})
    await providers.correct_limits(pool, "nyne", LimitNews(allowance=60, window=60))

    await providers.register_provider(pool, "nyne", documented, {})
    kept = await allowances(pool)
    await providers.register_provider(pool, "nyne", documented, {60: 40})
    lowered = await allowances(pool)
    await providers.register_provider(pool, "nyne", documented, {60: 80})

    assert kept == {("any", 60): 60, ("poll", 60): 30, ("any", 3600): 1000, ("poll", 3600): 500}
    assert (lowered["any", 60], lowered["poll", 60]) == (40, 20)
    assert (await allowances(pool))["any", 60] == 80  # a setting that changed counts at once


async def allowances(pool: Pool) -> dict[tuple[str, int], int]:
    """The allowances in force, by purpose and window."""
    rows = await pool.fetch("""SELECT purpose, "window", allowance FROM limits WHERE provider = 'nyne'""")
    return {(row["purpose"], row["window"]): row["allowance"] for row in rows}


# The vendor's word


async def test_headers_correct_the_limits_below_a_persons_ceiling(pool: Pool) -> None:
    """The vendor's header corrects its window, but never above a person's limit."""
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


async def test_headers_correct_the_limits(world: AtWork, fake: FakeProvider) -> None:
    """The vendor's word about its minute holds for all processes; an empty window is waited for."""
    await world.pool.execute("UPDATE limits SET ceiling = NULL")
    await wish_for(world)
    headers = {"RateLimit-Limit": "1200", "RateLimit-Remaining": "0", "RateLimit-Reset": "9"}
    fake.questions.append(Reply(200, nothing().body, headers))

    await world.ask("leadmagic")

    allowance = """SELECT allowance FROM limits WHERE provider = 'leadmagic' AND "window" = 60 AND purpose = 'any'"""
    assert await world.pool.fetchval(allowance) == 1200
    assert 7 < (await world.ask("leadmagic")).wait <= 9


async def test_the_headers_of_a_poll_count_as_well(world: AtWork, fake: FakeProvider) -> None:
    """The limits in a vendor's header apply whichever request carried it."""
    await world.pool.execute("UPDATE limits SET ceiling = NULL")
    await overdue(world)
    headers = {"RateLimit-Limit": "120", "RateLimit-Remaining": "0", "RateLimit-Reset": "9"}
    fake.polls.append(Reply(200, running().body, headers))

    await world.poller.poll_once()
    await job(world.pool)

    allowance = """SELECT allowance FROM limits WHERE provider = 'nyne' AND "window" = 60 AND purpose = 'any'"""
    assert await world.pool.fetchval(allowance) == 120
    assert 7 < (await world.claim("nyne")).wait <= 9


async def test_a_resting_provider_is_left_alone_until_then(db: Pool) -> None:
    """After a 429 no submitter asks; after two, until the later rest ends."""
    await job(db)
    await providers.correct_limits(db, "nyne", LimitNews(rest=30))
    await providers.correct_limits(db, "nyne", LimitNews(rest=5))

    resting = await take(db)
    await later(db, "nyne", "rest_until")
    rested = await take(db)

    assert (resting.jobs, 25 < resting.wait <= 30, resting.paused) == ((), True, False)
    assert len(rested.jobs) == 1


async def test_a_429_rests_the_provider_and_costs_no_attempt(start: Start, fake: FakeProvider) -> None:
    """However often: the question is not at fault."""
    async with start(max_attempts=1) as world:
        lookup_id = await wish_for(world)
        fake.questions.append(Reply(429, {"error": "rate_limit_exceeded"}, {"Retry-After": "7"}))

        for _ in range(3):
            await world.ask("leadmagic")
            resting = await world.ask("leadmagic")
            assert (resting.items, 5 < resting.wait <= 7) == ((), True)
            assert 5 < await waits(world, lookup_id) <= 7
            await due_now(world)

        now = await job_of(world.pool, lookup_id)
        assert now is not None
        assert (now["state"], now["tries"], now["attempt"], len(fake.paid)) == ("queued", 0, 3, 3)


async def test_a_throttled_poll_rests_the_provider(world: AtWork, fake: FakeProvider) -> None:
    """Polls and questions count together."""
    await overdue(world)
    fake.polls.append(Reply(429, {"error": "rate_limit_exceeded"}, {"Retry-After": "9"}))

    await world.poller.poll_once()
    await job(world.pool)

    assert 7 < (await world.claim("nyne")).wait <= 9
    assert await world.poller.poll_once() == 0
