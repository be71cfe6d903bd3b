"""Count events in the submitter and the reconciler; /metrics of any receiver shows the sums."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import asyncpg

from store.counters import Count, add_counts
from store.database import UNREACHABLE

EVERY = 5.0  # seconds between two additions

# Global to this process, like a Prometheus registry, so that no caller has to pass it on.
_counted: Counter[Count] = Counter()


def count(name: str, provider: str, label: str = "", amount: float = 1) -> None:
    """Add *amount* to a counter; /metrics shows it within seconds."""
    _counted[Count(name, provider, label)] += amount  # type: ignore[assignment]  # amounts may be seconds


async def keep_adding(pool: asyncpg.Pool[Any]) -> None:
    """Add the counts to the database every EVERY seconds until cancelled; keep those that fail for the next time."""
    while True:
        await asyncio.sleep(EVERY)
        await add_up(pool)


async def add_up(pool: asyncpg.Pool[Any]) -> None:
    """Add this process's counts to the database."""
    counts = dict(_counted)
    if not counts:
        return
    try:
        await add_counts(pool, counts)
    except UNREACHABLE:
        return
    _counted.subtract(counts)
    for done in [name for name, amount in _counted.items() if amount == 0]:
        del _counted[done]
