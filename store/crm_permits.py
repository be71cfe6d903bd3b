"""Permits for calls to a CRM, from the limits and the state that all processes share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from enrichment.crms.base import Purpose
from enrichment.pacing import permits, spend, wait
from store.database import Db, transaction
from store.gate import read_gate, save_meters, shut_behind


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call, *after* so many seconds.

    *is_probe*: the breaker is open, and this call tests whether it can close. *failing*: the last calls failed.
    """

    after: float
    is_probe: bool = False
    failing: bool = False


@dataclass(frozen=True, slots=True)
class Shut:
    """No permit now: the CRM is *paused*, or there may be one after *wait* seconds."""

    wait: float = 0.0
    paused: bool = False


async def take_permits(
    pool: asyncpg.Pool[Any], crm: str, purpose: Purpose, wanted: int, *, sweeps: bool, probe_for: timedelta
) -> list[Permit] | Shut:
    """Take up to *wanted* permits, at least one, each for one call of *purpose*, in the order of their times.

    While deliveries wait, sweeps take no more than half of the allowance. While the breaker is open, the one call that
    probes keeps it open for the others for *probe_for* at most.
    """
    async with transaction(pool) as connection:
        halved = sweeps and await _deliveries_wait(connection, crm)
        gate = await read_gate(connection, crm, *sorted({"any", purpose, *(["sweep"] if halved else [])}))
        if gate.paused or gate.shut_for > 0:
            return Shut(gate.shut_for, gate.paused)
        times = permits(gate.meters, gate.now, 1 if gate.tripped else wanted)
        if not times:
            return Shut(max(0.001, wait(gate.meters, gate.now)))
        await save_meters(connection, crm, spend(gate.meters, gate.now, times))
        if gate.tripped:
            await shut_behind(connection, crm, probe_for)
    return [Permit(gate.until(at), gate.tripped, gate.failing) for at in times]


async def read_shut(db: Db, crm: str) -> Shut | None:
    """Return how the CRM is shut: paused, resting after a 429, or its breaker is open. Return None if it is not."""
    row = await db.fetchrow(
        """
        SELECT paused_at IS NOT NULL AS paused,
               GREATEST(0, EXTRACT(epoch FROM GREATEST(rest_until, open_until) - clock_timestamp()))::float8 AS wait
          FROM providers
         WHERE name = $1
        """,
        crm,
    )
    if row is None or not (row["paused"] or row["wait"]):
        return None
    return Shut(row["wait"] or 0.0, row["paused"])


async def _deliveries_wait(db: Db, crm: str) -> bool:
    waiting: bool = await db.fetchval(
        """
        SELECT COALESCE((SELECT min(due_at) FROM deliveries WHERE channel = $1 AND state = 'queued') <= now(), false)
        """,
        crm,
    )
    return waiting
