"""What the submitter and the reconciler count while they work; /metrics of any receiver shows the sums."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import asyncpg

from store.counters import Count, add_counts
from store.database import UNREACHABLE

EVERY = 5.0  # seconds between two additions

# Of this process, as a Prometheus registry is: whoever counts need not be handed anything.
_counted: Counter[Count] = Counter()


def count(name: str, provider: str, label: str = "", amount: float = 1) -> None:
    """The counter is *amount* higher, for all to see within seconds."""
    _counted[Count(name, provider, label)] += amount  # type: ignore[assignment]  # amounts may be seconds


async def keep_adding(pool: asyncpg.Pool[Any]) -> None:
    """Until this is cancelled, what was counted is added up in the database; what cannot be now, is next time."""
    while True:
        await asyncio.sleep(EVERY)
        await add_up(pool)


async def add_up(pool: asyncpg.Pool[Any]) -> None:
    """What was counted here is in the database."""
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
