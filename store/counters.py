"""Counters of the processes that serve no HTTP, and gauges read from tables, for /metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from store.database import Db


@dataclass(frozen=True, slots=True)
class Count:
    """A counter with its Prometheus *name*, for one provider and one *label*."""

    name: str
    provider: str
    label: str = ""


async def add_counts(db: Db, counts: Mapping[Count, float]) -> None:
    """Add *counts* to the shared counters."""
    ordered = sorted(counts, key=lambda count: (count.name, count.provider, count.label))
    await db.execute(
        """
        INSERT INTO counters (name, provider, label, slot, total)
        SELECT name, provider, label, pg_backend_pid() % 16, amount
          FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[]) AS new (name, provider, label, amount)
            ON CONFLICT (name, provider, label, slot) DO UPDATE SET total = counters.total + excluded.total
        """,
        [count.name for count in ordered],
        [count.provider for count in ordered],
        [count.label for count in ordered],
        [counts[count] for count in ordered],
    )


async def read_counts(db: Db) -> dict[Count, float]:
    """Return the counters, summed over all processes."""
    rows = await db.fetch("SELECT name, provider, label, sum(total) AS total FROM counters GROUP BY 1, 2, 3")
    return {Count(row["name"], row["provider"], row["label"]): row["total"] for row in rows}


async def read_fates(db: Db) -> list[asyncpg.Record]:
    """Return credits and ended jobs by provider, since the oldest day that is kept."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT provider, sum(reserved)::float8 AS reserved, sum(charged)::float8 AS charged,
               sum(possible)::float8 AS possible, sum(found)::float8 AS found, sum(answered)::float8 AS answered,
               sum(failed)::float8 AS failed, sum(unknown)::float8 AS unknown, sum(lost)::float8 AS lost
          FROM usage
         GROUP BY provider
        """
    )
    return rows


async def read_limits(db: Db) -> list[asyncpg.Record]:
    """Return the rate limits in force: of providers and CRMs, by purpose and window."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT provider, purpose, "window", allowance
          FROM limits
         ORDER BY provider, purpose, "window"
        """
    )
    return rows


async def read_ages(db: Db) -> list[asyncpg.Record]:
    """Return, by provider, the age in seconds of the oldest askable job and of the oldest awaiting job."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT providers.name AS provider,
               providers.paused_at IS NOT NULL AS paused,
               COALESCE(providers.open_until > now(), false) AS breaker_open,
               EXTRACT(epoch FROM now() - (SELECT min(due_at) FROM jobs
                                            WHERE provider = providers.name AND state = 'queued' AND held IS NULL
                                              AND due_at <= now()))::float8 AS oldest_queued,
               EXTRACT(epoch FROM now() - (SELECT min(submitted_at) FROM jobs
                                            WHERE provider = providers.name AND state = 'awaiting'))::float8
                   AS oldest_awaiting
          FROM providers
        """
    )
    return rows
