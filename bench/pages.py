"""The dashboard's dearest page among millions of lookups, and the page that people open most."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import asyncpg

from bench.measure import Row
from enrichment.settings import SOURCE_NAMES
from store import reports
from store.history import Span, read_history
from store.timeline import read_trail

DAYS = 90
REACH = 4.0  # seconds that a visitor waits


async def read_timeline(pool: asyncpg.Pool[Any]) -> None:
    """Read the newest lookup that found a number, with everything that its page tells."""
    (id,) = await reports.list_lookups(pool, status="found", record_id=None, before=None, limit=1)
    trail = await read_trail(pool, id)
    assert trail is not None
    assert trail.questions


async def over_time(pool: asyncpg.Pool[Any], among: int) -> Row:
    """Read the page "Over time" of DAYS days twice; the second one finds in memory what the first one left there."""
    took = []
    for _ in range(2):
        began = time.perf_counter()
        await read_history(
            pool, Span.of_days(DAYS, datetime.now(UTC)), sources=SOURCE_NAMES, provider=None, source=None
        )
        took.append(time.perf_counter() - began)
    return Row(
        name=f"the page Over time, {DAYS} days, among {among:,} finished",
        unit="s",
        ours=took[1],
        reach=f"≤ {REACH:.0f} s, which a visitor waits",
        reached=took[1] <= REACH,
        note=f"the first time {took[0]:.1f} s",
    )
