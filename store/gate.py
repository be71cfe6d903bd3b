"""The gate in front of a provider or a CRM: its pauses, its breaker, and the meters of its limits, under lock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from enrichment.pacing import CLOCK_SLACK, Meter
from store.database import Db
from store.pauses import Brake

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gate:
    """The state that decides whether a provider may be asked now, read under the lock of its meters."""

    now: float  # by the database's clock
    paused: bool
    shut_for: float  # seconds: resting after a 429, or the breaker is open
    tripped: bool  # the breaker was open: allow one probe
    failing: bool  # its last answers were failures
    queued: bool  # a job waits to be asked, now or later
    meters: Sequence[Meter]
    brake: Brake
    read_at: float = field(default_factory=time.monotonic)

    def until(self, at: float) -> float:
        """Return the seconds until *at*, less the time that the claim has taken since it read *now*."""
        return max(0.0, at - self.now - (time.monotonic() - self.read_at))


async def read_gate(db: Db, provider: str, *purposes: str) -> Gate:
    """Return the provider's gate; lock its meters until the transaction ends. Raise LookupError if unregistered."""
    rows = await db.fetch(
        """
        SELECT limits.purpose, limits."window", limits.allowance, limits.spent, limits.spent_at,
               EXTRACT(epoch FROM limits.next_at)::float8 AS next_at,
               EXTRACT(epoch FROM clock_timestamp())::float8 AS now,
               providers.paused_at IS NOT NULL AS paused,
               providers.trips > 0 AS tripped,
               providers.failures > 0 AS failing,
               -- The first in each index; for EXISTS, all jobs of another provider might be read.
               COALESCE((SELECT min(due_at) FROM jobs
                          WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries = 0),
                        (SELECT min(due_at) FROM jobs
                          WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries > 0)) IS NOT NULL
                   AS queued,
               EXTRACT(epoch FROM GREATEST(providers.rest_until, providers.open_until) - clock_timestamp())::float8
                   AS shut_for,
               ARRAY(SELECT provider FROM pauses WHERE source IS NULL) AS braked,   -- NULL: all of them
               ARRAY(SELECT source FROM pauses WHERE source IS NOT NULL) AS braked_sources
          FROM limits
          JOIN providers ON providers.name = limits.provider
         WHERE limits.provider = $1
           AND limits.purpose = ANY($2::text[])
         ORDER BY limits.purpose, limits."window"
           FOR UPDATE OF limits
        """,
        provider,
        list(purposes),
    )
    if not rows:
        raise LookupError(f"provider {provider!r} is not registered: register_provider comes first")
    meters = [
        Meter(r["purpose"], r["window"], r["allowance"], r["next_at"], tuple(r["spent"]), r["spent_at"]) for r in rows
    ]
    now = rows[0]["now"]
    if any(meter.ahead(now) > CLOCK_SLACK for meter in meters):
        brought_back = await _bring_back(db, provider, now)
        meters = [brought_back[meter.purpose, meter.window] for meter in meters]
    return Gate(
        now,
        rows[0]["paused"],
        rows[0]["shut_for"] or 0.0,
        rows[0]["tripped"],
        rows[0]["failing"],
        rows[0]["queued"],
        meters,
        Brake.of(rows[0]["braked"], rows[0]["braked_sources"]),
    )


async def _bring_back(db: Db, provider: str, now: float) -> dict[tuple[str, int], Meter]:
    """Mend what the provider would wait for because the database's clock went back: its meters and its rests.

    Return all of its meters. The rests end when they would have ended, or by the error of our measure later.
    """
    rows = await db.fetch(
        """
        SELECT purpose, "window", allowance, spent, spent_at, EXTRACT(epoch FROM next_at)::float8 AS next_at
          FROM limits
         WHERE provider = $1
         ORDER BY purpose, "window"
           FOR UPDATE
        """,
        provider,
    )
    meters = [
        Meter(r["purpose"], r["window"], r["allowance"], r["next_at"], tuple(r["spent"]), r["spent_at"]) for r in rows
    ]
    seconds = max(meter.ahead(now) for meter in meters)
    after = [meter.brought_back(now) for meter in meters]
    await save_meters(db, provider, after)
    await db.execute(
        """
        UPDATE providers
           SET rest_until = rest_until - $2::interval, open_until = open_until - $2::interval,
               check_at = check_at - $2::interval
         WHERE name = $1
        """,
        provider,
        timedelta(seconds=seconds),
    )
    log.warning("clock_went_back", provider=provider, seconds=round(seconds))
    return {(meter.purpose, meter.window): meter for meter in after}


async def save_meters(db: Db, provider: str, meters: Sequence[Meter]) -> None:
    """Store what the meters have spent, for all processes."""
    await db.executemany(
        """
        UPDATE limits
           SET next_at = to_timestamp($4), spent = $5::int[], spent_at = $6
         WHERE provider = $1 AND purpose = $2 AND "window" = $3
        """,
        [(provider, m.purpose, m.window, m.next_at, list(m.spent), m.spent_at) for m in meters],
    )


async def shut_behind(db: Db, provider: str, lease: timedelta) -> None:
    """Keep the breaker open for all other questions while the probe runs, for *lease* at most."""
    await db.execute("UPDATE providers SET open_until = now() + $2 WHERE name = $1", provider, lease)
