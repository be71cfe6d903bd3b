"""Searches and lookups keep their promises against an oracle; and the simulation notices when they do not.

`make model` goes on for longer, in several operating system processes.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import asyncpg
import pytest

from store.endings import apply_endings, follow_ends
from tests.model.breaks import BREAKS, CHUNK
from tests.model.people import Town
from tests.model.run import Order, run
from tests.order import Order as Turn
from tests.wishes import MOBILE, POLICY, answer, end, read, take, wish

SEEDS_AT_MOST = 20  # until a break must have shown; the rarest shows in every second


@pytest.mark.parametrize("seed", [2, 7])
async def test_promises_hold_whatever_happens(database_url: str, seed: int) -> None:
    """No contact gets a stranger's number, nothing is paid twice, nothing waits for ever, nothing is lost."""
    report = await run(Order(seed, people=40, events=160), database_url)

    print(report, dict(report.seen))
    assert report.violations == []
    assert report.searches < report.lookups  # answers were shared
    assert report.shared > 0


async def test_what_the_simulation_meets(database_url: str) -> None:
    """A run without a crash or a late answer would prove nothing."""
    report = await run(Order(1, people=20, events=200, timeouts=0.3), database_url)

    assert report.violations == []
    assert report.seen["callback late"] > 0
    assert sum(count for what, count in report.seen.items() if what.startswith("died")) > 0


@pytest.mark.parametrize("broken", ["hearsay", "no sharing", "no lock"])
async def test_the_simulation_notices_a_break(database_url: str, broken: str) -> None:
    """A check that cannot fail is worth nothing: within a few seeds each deliberate break is seen."""
    for seed in range(SEEDS_AT_MOST):
        report = await run(Order(seed, people=12, events=100, broken=broken, slow=0.02), database_url)
        if report.violations:
            break

    print(report)
    assert report.violations


@pytest.mark.parametrize(("broken", "reached"), [(None, True), ("no fence", False)])
async def test_a_number_that_comes_while_its_search_is_swept(
    pool: asyncpg.Pool[Any], order: Turn, monkeypatch: pytest.MonkeyPatch, broken: str | None, reached: bool
) -> None:
    """Sweeping is fenced by the end that it saw; without that, lookups never hear of a late number."""
    monkeypatch.setattr("store.endings.CHUNK", CHUNK)
    taken = await take(pool, *(wish(work_email="jane@acme.co") for _ in range(3 * CHUNK)))
    job_id = await end(pool, taken[0].id, state="unknown")
    await pool.execute("UPDATE searches SET unswept = true")
    search_id = (await read(pool, taken[0].id))["search_id"]
    with BREAKS[broken]() if broken else nullcontext():
        async with order.first() as first:
            late = await apply_endings(first, [answer(job_id, "callback")], POLICY)
            sweeping = await order.waiting(follow_ends(pool, [search_id], POLICY))
        await sweeping
        await follow_ends(pool, late.unswept, POLICY)

    mobiles = [(await read(pool, one.id))["mobile"] for one in taken]
    assert (mobiles == [MOBILE] * len(taken)) is reached


async def test_a_seed_is_a_town() -> None:
    """The same seed draws the same people and contacts, in every process."""
    one, same, other = (Town(seed, 30) for seed in (7, 7, 8))

    wishes = [[town.wish(number).contact for number in range(50)] for town in (one, same, other)]

    assert wishes[0] == wishes[1] != wishes[2]
    assert one.humans == same.humans != other.humans
