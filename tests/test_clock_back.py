"""The database's clock went back: nothing waits for it to catch up, and every limit is kept across the jump."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.crms.base import CrmLimit
from enrichment.pacing import RING, SLICES, Meter, permits, spend, wait
from enrichment.providers.base import Limit
from store import providers
from store.claim import Claim
from store.clock import FURTHEST, bring_back
from store.crm_permits import Permits, Shut
from submitter.crm_calls import PROBE_FOR
from tests.claims import take
from tests.factories import job

if TYPE_CHECKING:
    from tests.wishes import Pool

NOW = 1_800_000_000.0
PER_MINUTE, PER_HOUR, ROLLING = Meter("any", 60, 600), Meter("any", 3600, 20), Meter("any", 10, 7)


async def clock_back(pool: Pool) -> None:
    """Move all that a provider's limits and rests remember two hours ahead, as a clock that goes back does."""
    await pool.execute(
        """
        UPDATE limits
           SET next_at = next_at + interval '2 hours', spent_at = spent_at + 7200 * $1::int / "window"
        """,
        SLICES,
    )
    await pool.execute(
        """
        UPDATE providers
           SET rest_until = rest_until + interval '2 hours', open_until = open_until + interval '2 hours'
        """
    )


@pytest.mark.parametrize("now", [NOW, NOW + 17.3, NOW + 29.9])
@pytest.mark.parametrize("meter", [PER_MINUTE, PER_HOUR, ROLLING], ids=["paced", "hour", "ten seconds"])
@pytest.mark.parametrize("jump", [7200.0, 7213.7])
def test_the_limit_is_kept_across_the_jump(meter: Meter, now: float, jump: float) -> None:
    """In no window, by a clock that does not jump, are there more requests than the allowance; and they go on."""
    asked: list[float] = []  # by the vendor's clock
    clock, back, chance = now, 0.0, random.Random(1)
    end = now + 4 * meter.window
    while clock + back < end:
        if not back and clock > now + meter.window / 2:
            clock, back = clock - jump, jump
        meter = meter.brought_back(clock)
        times = permits([meter], clock, chance.randint(1, 5))
        (meter,) = spend([meter], clock, times)
        asked += [time + back for time in times]
        clock += max(wait([meter], clock), 0.001, chance.random() * meter.window / 100)

    assert max(b - a for a, b in pairwise(asked)) < 2.1 * meter.window
    most = max(sum(at <= other < at + meter.window for other in asked) for at in asked)
    assert most <= meter.allowance
    assert asked[-1] > end - 1.1 * meter.window
    assert meter.brought_back(clock) is meter


async def test_a_provider_is_asked_within_one_interval(pool: Pool, capfd: Any) -> None:
    """A permit two hours ahead is brought back when it is read; the next claim gets one, and the log says why, once."""
    await providers.register_provider(pool, "nyne", (Limit(600, 60), Limit(1000, 3600)), {})
    for _ in range(30):
        await job(pool)
    assert (await take(pool)).jobs
    await clock_back(pool)

    first = await take(pool)
    assert 0 < first.wait < 0.2
    asked = await asked_within(pool, 5)

    assert asked.jobs
    assert capfd.readouterr().out.count("clock_went_back") == 1


async def asked_within(pool: Pool, tries: int) -> Claim:
    """Claim until there are jobs, at most so often, waiting as the claims say."""
    for _ in range(tries):
        claim = await take(pool)
        if claim.jobs:
            return claim
        await pool.execute("SELECT pg_sleep($1)", claim.wait)
    return claim


async def test_a_full_hour_stays_full_and_is_emptied_within_the_hour(pool: Pool) -> None:
    """What was counted is as old after the jump as before it: not forgotten, and not remembered for two hours more."""
    await providers.register_provider(pool, "nyne", (Limit(20, 3600),), {})
    for _ in range(30):
        await job(pool)
    assert len((await take(pool)).jobs) == 20
    await clock_back(pool)

    after = await take(pool)

    assert after.jobs == ()
    assert 3500 < after.wait <= 3600 + 2 * 3600 / SLICES
    (spent,) = await pool.fetch("""SELECT spent FROM limits WHERE purpose = 'any' AND "window" = 3600""")
    assert (len(spent["spent"]), sum(spent["spent"])) == (RING, 20)


async def test_a_rest_ends_when_it_would_have(pool: Pool) -> None:
    """Half a minute after a 429 remains half a minute."""
    await providers.register_provider(pool, "nyne", (Limit(600, 60),), {})
    await job(pool)
    await pool.execute("UPDATE providers SET rest_until = now() + interval '30 s', open_until = now() - interval '1 s'")
    await pool.execute("UPDATE limits SET next_at = now()")
    await clock_back(pool)

    await take(pool)

    rest = await pool.fetchval("SELECT rest_until - now() FROM providers WHERE name = 'nyne'")
    assert timedelta(seconds=25) < rest < timedelta(seconds=95)


async def test_a_crm_is_called_within_one_interval(pool: Pool) -> None:
    """The permits of CRMs are brought back, by the process that knows them and by others."""
    await providers.register_crm(pool, "acme", [CrmLimit("any", Limit(7, 10)), CrmLimit("search", Limit(4, 1))])
    one, other = (Permits(pool, "acme", probe_for=PROBE_FOR) for _ in range(2))
    assert isinstance(await one.take("search", 1), list)
    await clock_back(pool)

    for permits_of in (one, other):
        taken = await permits_of.take("search", 1)
        if isinstance(taken, Shut):
            assert taken.wait < 0.3
            await pool.execute("SELECT pg_sleep($1)", taken.wait)
            taken = await permits_of.take("search", 1)
        assert isinstance(taken, list)
        await clock_back(pool)


async def test_what_is_due_too_far_ahead_is_due_now(pool: Pool) -> None:
    """A queued job, a poll and a lease further ahead than any honest one go on; an honest wait is not shortened."""
    await providers.register_provider(pool, "nyne", (Limit(600, 60),), {})
    far, near, leased = [(await job(pool))["id"] for _ in range(3)]
    await pool.execute("UPDATE jobs SET due_at = now() + interval '119 minutes' WHERE id = $1", far)
    await pool.execute("UPDATE jobs SET due_at = now() + interval '10 minutes' WHERE id = $1", near)
    await pool.execute(
        """
        UPDATE jobs
           SET state = 'submitting', attempt = 1, submitted_at = now(), reserved_on = current_date,
               lease_expires_at = now() + interval '2 hours'
         WHERE id = $1
        """,
        leased,
    )

    async def bring() -> dict[str, int]:
        return await bring_back(pool, lease=timedelta(seconds=20), grace=timedelta(minutes=1), limit=500)

    brought, again = await bring(), await bring()

    assert (brought, again) == ({"questions": 1, "leases": 1}, {})
    rows = await pool.fetch("SELECT id, due_at - now() AS wait, lease_expires_at - now() AS lease FROM jobs")
    waits = {row["id"]: row for row in rows}
    assert waits[far]["wait"] <= timedelta(0)
    assert waits[near]["wait"] > timedelta(minutes=9)
    assert timedelta(seconds=15) < waits[leased]["lease"] <= timedelta(seconds=20) < FURTHEST
