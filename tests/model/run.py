"""One run: a town, some processes at work on one database, and a check of the promises."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import structlog

from enrichment.providers.base import Limit
from store.database import close_pool, open_pool
from store.providers import register_provider
from tests.model.actor import Actor
from tests.model.along import look
from tests.model.breaks import BREAKS, slowly
from tests.model.journal import Journal, merged
from tests.model.people import Town
from tests.model.process import Plan
from tests.model.promises import read_ended, violations
from tests.wishes import POLICY

LIMITLESS = (Limit(10_000_000, 60),)
TABLES = ("events", "lookups", "searches", "keys", "fingerprints", "jobs", "finished_jobs", "callbacks", "ledger",
          "usage", "providers", "limits")  # fmt: skip
DRAINS_AT_MOST = 100
LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Order:
    """A run to make. Its choices come from *seed*; which process is first is up to the machine."""

    seed: int
    people: int = 60
    events: int = 300
    actors: int = 4
    timeouts: float = 0.1
    broken: str | None = None
    slow: float = 0.01  # seconds


@dataclass(frozen=True)
class Report:
    """The counts of one run, and every violation."""

    seed: int
    seen: Counter[str]
    violations: Sequence[str]
    lookups: int
    searches: int
    shared: int

    def __str__(self) -> str:
        """Show it in a few lines."""
        kinds = Counter(text.partition(":")[0] for text in self.violations)
        shown = "\n".join(f"    {text}" for text in self.violations[:10])
        return (
            f"seed {self.seed}: {self.lookups} lookups, {self.searches} searches, {self.shared} shared addresses, "
            f"{sum(kinds.values())} violations {dict(kinds) or ''}\n{shown}".rstrip()
        )


def plan_of(order: Order, actor: int = 0) -> Plan:
    """Return the plan of one of the run's actors. One run in four stops in doubt (UNKNOWN_POLICY=hold)."""
    events = order.events // order.actors
    policy = replace(POLICY, stops_in_doubt=order.seed % 4 == 3)
    return Plan(Town(order.seed, order.people), policy, events, actor * events, order.timeouts)


async def prepare(url: str) -> None:
    """Empty the database, and register the providers."""
    pool = await open_pool(url, name="model", size=1)
    await pool.execute("; ".join(f"DELETE FROM {table}" for table in TABLES))  # noqa: S608
    for name in ("leadmagic", "nyne"):
        await register_provider(pool, name, LIMITLESS, {})
    await close_pool(pool)


async def act(order: Order, url: str, actors: Sequence[int]) -> Journal:
    """Let these actors of the run work at the same time, each with connections of its own; then drain them."""
    journals: list[Journal] = []
    pools = []
    with ExitStack() as changes:
        if order.broken:
            changes.enter_context(BREAKS[order.broken]())
        changes.enter_context(slowly(order.seed, order.slow))
        made = []
        for number in actors:
            journals.append(Journal())
            pools.append(await open_pool(url, name=f"actor {number}", size=4))
            made.append(Actor(plan_of(order, number), number, pools[-1], journals[-1]))
        broken = asyncio.Event()
        watching = asyncio.create_task(_watch(pools[0], journals[0], broken))
        await asyncio.gather(*(actor.work(broken) for actor in made))
        await _drain(made, pools[0], broken)
        watching.cancel()
    for pool in pools:
        await close_pool(pool)
    return merged(journals)


def act_alone(order: Order, url: str, actors: range) -> Journal:
    """Let these actors work in an operating system process of their own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return asyncio.run(act(order, url, actors))


async def _watch(pool: asyncpg.Pool[Any], journal: Journal, broken: asyncio.Event) -> None:
    while not broken.is_set():
        if found := await look(pool):
            journal.violations += found
            broken.set()
        journal.seen["looks"] += 1
        await asyncio.sleep(LOOK_EVERY)


async def _drain(actors: Sequence[Actor], pool: asyncpg.Pool[Any], broken: asyncio.Event) -> None:
    for _ in range(DRAINS_AT_MOST):
        if broken.is_set():
            break
        await asyncio.gather(*(actor.drain() for actor in actors))
        if not await pool.fetchval(
            """
            SELECT EXISTS (SELECT FROM jobs)
                OR EXISTS (SELECT FROM searches WHERE unswept)
                OR EXISTS (SELECT FROM lookups WHERE final_status IS NULL)
            """
        ):
            break


async def judge(order: Order, url: str, journal: Journal) -> Report:
    """Check every promise."""
    pool = await open_pool(url, name="model", size=2)
    journal.violations += await look(pool)
    end = await read_ended(pool, Town(order.seed, order.people), plan_of(order).policy, journal)
    await close_pool(pool)
    # A breach during the run ends it as it is, so the other promises say nothing then.
    found = list(dict.fromkeys(journal.violations or violations(end)))
    return Report(
        order.seed, journal.seen, found, len(end.lookups), len(end.searches), len(end.shared)
    )  # fmt: skip


async def run(order: Order, url: str) -> Report:
    """Make one run in this process."""
    await prepare(url)
    return await judge(order, url, await act(order, url, range(order.actors)))
