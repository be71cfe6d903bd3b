"""Permits for calls to a CRM, from the limits and the state that all processes share.

One statement takes permits: it stores the meters that the process has worked out from those it read last, if they are
still the ones in the table and nothing else speaks against a call. If another process was faster, the same statement
returns the meters as they are now, and the next try begins with them. A permit is on disk before it is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg

from enrichment.crms.base import Purpose
from enrichment.pacing import CLOCK_SLACK, ROLLING, Meter, permits, spend, wait
from store.columns import Columns
from store.database import Db, transaction
from store.gate import read_gate, save_meters, shut_behind

TRIES = 3  # while other processes are faster; then the meters are locked first
LATE = Meter("any", ROLLING, 1).slack  # seconds by which a call may come after its permit's time
OF_SLACK = 0.5  # of a window's slack: so late, by the database's clock, a plan may come; the rest is the network's


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call, *after* so many seconds.

    *is_probe*: the breaker is open, and this call tests whether it can close. *failing*: the last calls failed.
    *best_before*: by the event loop's clock. Later the call may fall into a window in which it was not counted.
    """

    after: float
    is_probe: bool = False
    failing: bool = False
    best_before: float = field(default=math.inf, compare=False)


@dataclass(frozen=True, slots=True)
class Shut:
    """No permit now: the CRM is *paused*, or there may be one after *wait* seconds."""

    wait: float = 0.0
    paused: bool = False


class Permits:
    """One process's permits of one CRM. While the breaker is open, the one call that probes keeps it open for others.

    *probe_for*: how long it does so at most.
    """

    def __init__(self, pool: asyncpg.Pool[Any], crm: str, *, probe_for: timedelta) -> None:
        self._pool = pool
        self._crm = crm
        self._probe_for = probe_for
        self._meters: dict[tuple[str, int], Meter] = {}  # as read or written last, by purpose and window
        self._ahead = 0.0  # seconds by which the database's clock is ahead of the event loop's

    async def take(self, purpose: Purpose, wanted: int, *, sweeps: bool = False) -> list[Permit] | Shut:
        """Take up to *wanted* permits, at least one, each for one call of *purpose*, in the order of their times.

        While deliveries wait, sweeps take no more than half of the allowance.
        """
        halved = sweeps and await _deliveries_wait(self._pool, self._crm)
        purposes = sorted({"any", purpose, *(["sweep"] if halved else [])})
        for _ in range(TRIES):
            plan, asked = self._plan(purposes, wanted), time.monotonic()
            state = await _spend(self._pool, self._crm, purposes, plan)
            self._ahead = state.now - state.read_at
            self._keep(purposes, plan.after if state.is_taken else state.meters)
            if state.is_taken:
                return [
                    Permit(max(0.0, at - self._now()), failing=state.failing,
                           best_before=asked + max(0.0, at - state.now) + LATE)
                    for at in plan.times
                ]  # fmt: skip
            if any(meter.ahead(state.now) > CLOCK_SLACK for meter in state.meters):
                break  # the clock went back: `read_gate` mends it
            if state.paused or state.shut_for > 0:
                return Shut(state.shut_for, state.paused)
            if state.tripped:
                break
            if not permits(state.meters, state.now, 1):
                return Shut(max(0.001, wait(state.meters, state.now)))
        return await self._take_locked(purposes, wanted)

    def _now(self) -> float:
        return time.monotonic() + self._ahead

    def _keep(self, purposes: Sequence[str], meters: Sequence[Meter]) -> None:
        others = {key: meter for key, meter in self._meters.items() if key[0] not in purposes}
        self._meters = others | {(meter.purpose, meter.window): meter for meter in meters}

    def _plan(self, purposes: Sequence[str], wanted: int) -> _Plan:
        """Work out permits from the meters that were read last."""
        meters = [meter for (purpose, _), meter in sorted(self._meters.items()) if purpose in purposes]
        now = self._now()
        times = permits(meters, now, wanted) if meters else []
        return _Plan(now, times, meters, spend(meters, now, times)) if times else _Plan(now)

    async def _take_locked(self, purposes: Sequence[str], wanted: int) -> list[Permit] | Shut:
        """Take permits under the lock of the meters, or the one permit of a probe."""
        async with transaction(self._pool) as connection:
            gate = await read_gate(connection, self._crm, *purposes)
            if gate.paused or gate.shut_for > 0:
                return Shut(gate.shut_for, gate.paused)
            times = permits(gate.meters, gate.now, 1 if gate.tripped else wanted)
            if not times:
                return Shut(max(0.001, wait(gate.meters, gate.now)))
            await save_meters(connection, self._crm, spend(gate.meters, gate.now, times))
            if gate.tripped:
                await shut_behind(connection, self._crm, self._probe_for)
        return [Permit(gate.until(at), gate.tripped, gate.failing, gate.read_at + at - gate.now + LATE) for at in times]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The permits at *times*, worked out *now*, by the database's clock; they turn *meters* into *after*."""

    now: float
    times: Sequence[float] = ()
    meters: Sequence[Meter] = ()
    after: Sequence[Meter] = ()


@dataclass(frozen=True, slots=True)
class _State:
    """The CRM's state when a plan was tried, and the meters before it. *is_taken*: the plan was carried out."""

    is_taken: bool
    now: float
    paused: bool
    shut_for: float
    tripped: bool
    failing: bool
    meters: Sequence[Meter]
    read_at: float = field(default_factory=time.monotonic)


async def _spend(db: Db, crm: str, purposes: Sequence[str], plan: _Plan) -> _State:
    """Carry out *plan* if the meters are still the plan's, and the CRM is not shut. Raise LookupError if unregistered.

    All of the meters are spent, or none.
    """
    known = list(zip(plan.meters, plan.after, strict=True))
    rows = await db.fetch(
        f"WITH {_PLANNED.cte('planned')}, {_SPEND}",
        crm,
        list(purposes),
        plan.now,
        min((OF_SLACK * meter.slack for meter in plan.meters), default=0.0),
        [meter.purpose for meter, _ in known],
        [meter.window for meter, _ in known],
        [meter.allowance for meter, _ in known],
        [meter.next_at for meter, _ in known],
        [_array(meter.spent) for meter, _ in known],
        [meter.spent_at for meter, _ in known],
        [after.next_at for _, after in known],
        [_array(after.spent) for _, after in known],
        [after.spent_at for _, after in known],
    )
    if not rows:
        raise LookupError(f"CRM {crm!r} is not registered: register_crm comes first")
    first = rows[0]
    meters = [
        Meter(r["purpose"], r["window"], r["allowance"], r["next_at"], tuple(r["spent"]), r["spent_at"]) for r in rows
    ]
    return _State(
        first["is_taken"], first["now"], first["paused"], max(0.0, first["shut_until"] - first["now"]),
        first["tripped"], first["failing"], meters,
    )  # fmt: skip


def _array(numbers: Sequence[int]) -> str:
    return f"{{{','.join(map(str, numbers))}}}"


# `spent` is the text of an array: arrays of arrays would have to be equally long.
_PLANNED = Columns(
    5, purpose="text", wide="int", allowance="int", next_at="float8", spent="text", spent_at="bigint",
    then_next_at="float8", then_spent="text", then_spent_at="bigint",
)  # fmt: skip
_SPEND = """
    gate AS MATERIALIZED (
        SELECT limits.purpose, limits."window", limits.allowance, limits.next_at, limits.spent, limits.spent_at,
               providers.paused_at IS NOT NULL AS paused, providers.trips > 0 AS tripped,
               providers.failures > 0 AS failing,
               COALESCE(EXTRACT(epoch FROM GREATEST(providers.rest_until, providers.open_until)), 0)::float8
                   AS shut_until
          FROM limits
          JOIN providers ON providers.name = limits.provider
         WHERE limits.provider = $1
           AND limits.purpose = ANY($2::text[])
         ORDER BY limits.purpose, limits."window"
           FOR UPDATE OF limits
    ), compared AS MATERIALIZED (
        SELECT gate.*, then_next_at, then_spent, then_spent_at,
               bool_and(COALESCE(gate.allowance = planned.allowance
                                 AND gate.next_at = to_timestamp(planned.next_at)
                                 AND gate.spent = planned.spent::int[]
                                 AND gate.spent_at = planned.spent_at, false)) OVER () AS is_known,
               -- The last of them is read when all meters are locked.
               max(EXTRACT(epoch FROM clock_timestamp())::float8) OVER () AS now
          FROM gate
          LEFT JOIN planned ON planned.purpose = gate.purpose AND planned.wide = gate."window"
    ), judged AS MATERIALIZED (
        SELECT *,
               is_known AND NOT paused AND NOT tripped AND shut_until <= now AND abs(now - $3::float8) <= $4::float8
                   AS is_taken
          FROM compared
    ), taken AS (
        UPDATE limits
           SET next_at = to_timestamp(then_next_at), spent = then_spent::int[], spent_at = then_spent_at
          FROM judged
         WHERE judged.is_taken
           AND limits.provider = $1
           AND limits.purpose = judged.purpose
           AND limits."window" = judged."window"
    )
    SELECT purpose, "window", allowance, EXTRACT(epoch FROM next_at)::float8 AS next_at, spent, spent_at,
           paused, tripped, failing, shut_until, now, is_taken
      FROM judged
     ORDER BY purpose, "window"
"""


# For claims of what is done by calling the CRM $1: it is not shut. What is no CRM never is.
CAN_BE_CALLED = """
    NOT EXISTS (SELECT
                  FROM providers
                 WHERE name = $1
                   AND (paused_at IS NOT NULL OR GREATEST(rest_until, open_until) > clock_timestamp()))
"""


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
