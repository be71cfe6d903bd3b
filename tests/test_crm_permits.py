"""Permits that a process works out from the meters it read last: never more than all processes may take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.crms.base import CrmLimit
from enrichment.providers.base import Limit, LimitNews
from store.crm_permits import Permit, Permits, Shut
from store.providers import correct_limits, pause, register_crm
from submitter.crm_calls import PROBE_FOR
from submitter.outcomes import CHECK_PAUSED_AFTER
from tests.explained import capture
from tests.order import Order, one_connection

if TYPE_CHECKING:
    from tests.explained import Db
    from tests.wishes import Pool

TEN_SECONDS = CrmLimit("any", Limit(7, 10))


async def process(pool: Pool, *limits: CrmLimit) -> Permits:
    """Return the permits of a process that has read the meters; it took one."""
    await register_crm(pool, "acme", limits or [TEN_SECONDS])
    permits = Permits(pool, "acme", probe_for=PROBE_FOR)
    assert len(await taken(permits)) == 1
    return permits


async def taken(permits: Permits, wanted: int = 1) -> list[Permit]:
    """Take permits once; none when it is shut."""
    answer = await permits.take("any", wanted)
    return answer if isinstance(answer, list) else []


async def spent(pool: Pool, window: int = 10) -> int:
    """Return how many calls the meter has counted."""
    count: int = await pool.fetchval(
        """
        SELECT sum(one) FROM limits, unnest(spent) AS one
         WHERE provider = 'acme' AND purpose = 'any' AND "window" = $1
        """,
        window,
    )
    return count


async def test_processes_that_take_turns_keep_to_the_limit(pool: Pool) -> None:
    """What each read last is old by then: the statement does not believe it."""
    one, two = await process(pool), await process(pool)

    counts = [len(await taken(permits)) for _ in range(4) for permits in (one, two)]

    assert counts == [1, 1, 1, 1, 1, 0, 0, 0]
    assert await spent(pool) == 7


async def test_a_process_that_waited_for_another_sees_what_that_took(pool: Pool, order: Order) -> None:
    """The plan is compared with the meters as they are once they are locked."""
    waiting = await process(pool)
    async with order.first() as first:
        faster = Permits(one_connection(first), "acme", probe_for=PROBE_FOR)
        assert await faster._take_locked(["any"], 6) == [Permit(0.0)] * 6
        task = await order.waiting(waiting.take("any", 1))

    shut = await task
    assert isinstance(shut, Shut)
    assert shut.wait > 9
    assert await spent(pool) == 7


async def test_all_meters_are_spent_or_none(pool: Pool) -> None:
    """Where the day has no call left, the ten seconds keep theirs."""
    permits = await process(pool, TEN_SECONDS, CrmLimit("any", Limit(2, 86_400)))
    assert len(await taken(Permits(pool, "acme", probe_for=PROBE_FOR))) == 1

    assert await taken(permits) == []
    assert await spent(pool) == await spent(pool, 86_400) == 2


async def test_a_pause_of_another_process_shuts_at_once(pool: Pool) -> None:
    """The statement that takes the permit reads the pause, too."""
    permits = await process(pool)
    await pause(pool, "acme", "the token was refused", CHECK_PAUSED_AFTER)

    assert await permits.take("any", 1) == Shut(paused=True)
    assert await spent(pool) == 1


async def test_a_rest_of_another_process_shuts_for_as_long(pool: Pool) -> None:
    """A 429 that another process was answered is heeded by the next permit."""
    permits = await process(pool)
    await correct_limits(pool, "acme", LimitNews(None, 10, rest=60.0))

    shut = await permits.take("any", 1)

    assert isinstance(shut, Shut)
    assert 55 < shut.wait <= 60
    assert await spent(pool) == 1


async def test_an_open_breaker_gives_one_permit(pool: Pool) -> None:
    """A process that knows the meters probes like any other, and keeps the rest out."""
    permits = await process(pool)
    await pool.execute("UPDATE providers SET trips = 1, failures = 10, open_until = now() WHERE name = 'acme'")

    probing = await taken(permits, 5)

    assert [permit.is_probe for permit in probing] == [True]
    assert isinstance(await permits.take("any", 1), Shut)


async def test_an_allowance_that_headers_lowered_is_kept(pool: Pool) -> None:
    """The allowance that a process remembers is compared, too."""
    permits = await process(pool)
    await correct_limits(pool, "acme", LimitNews(3, 10))

    assert len(await taken(permits, 7)) == 2


@pytest.mark.parametrize("seconds", [-3600.0, -0.2, 0.2, 3600.0])
async def test_calls_are_counted_by_the_clock_of_the_database(pool: Pool, seconds: float) -> None:
    """A process whose idea of that clock is wrong reads it again, and counts the call when it is made."""
    permits = await process(pool)
    permits._ahead += seconds

    assert len(await taken(permits)) == 1

    slices = await pool.fetchval("SELECT spent_at FROM limits WHERE provider = 'acme' AND purpose = 'any'")
    assert abs(slices / 12 - time.time()) < 5
    assert abs(permits._ahead + time.monotonic() - time.time()) < 0.1


async def test_a_known_permit_costs_one_statement(pool: Pool) -> None:
    """So a call waits for one round trip, and holds the meters no longer than that."""
    permits = await process(pool)

    async def take(one: Db) -> None:
        permits._pool = one
        assert len(await taken(permits, 2)) == 2

    lent: Any
    async with pool.acquire() as lent:
        assert len(await capture(lent, take)) == 1


async def test_a_crm_that_is_not_registered_is_a_bug(pool: Pool) -> None:
    """Without limits nobody knows how often it may be called."""
    with pytest.raises(LookupError, match="not registered"):
        await Permits(pool, "acme", probe_for=PROBE_FOR).take("any", 1)
