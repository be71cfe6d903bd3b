"""Read what happens now, for the dashboard: each statement reads outstanding work, or the last minutes of history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from enrichment.pacing import Meter
from store.database import Db
from store.partitions import first_id

CALLBACKS_OF = timedelta(days=2)  # a callback is for a job as old as this at most; later ones are too few to count here


async def answers_by_minute(db: Db, now: datetime, minutes: int) -> list[asyncpg.Record]:
    """Count the jobs that ended in each of the last *minutes*, oldest first: by callback, and all."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT minute.at, count(ended.at) FILTER (WHERE ended.answered_by = 'callback') AS callbacks,
               count(ended.at) AS ended
          FROM generate_series(date_trunc('minute', $1::timestamptz) - ($2::int - 1) * interval '1 minute',
                               date_trunc('minute', $1::timestamptz), interval '1 minute') AS minute (at)
          LEFT JOIN (SELECT date_trunc('minute', finished_at) AS at, answered_by
                       FROM finished_jobs
                      WHERE finished_at >= date_trunc('minute', $1::timestamptz) - ($2::int - 1) * interval '1 minute'
                        AND id >= $3) AS ended ON ended.at = minute.at
         GROUP BY minute.at
         ORDER BY minute.at
        """,
        now,
        minutes,
        first_id(now - CALLBACKS_OF),
    )
    return rows


async def balances(db: Db) -> dict[str, asyncpg.Record]:
    """Return by provider the last balance that it told, and when."""
    rows = await db.fetch(
        """
        SELECT DISTINCT ON (provider) provider, at, balance, used
          FROM vendor_figures
         ORDER BY provider, at DESC
        """
    )
    return {row["provider"]: row for row in rows}


def provider_state(row: asyncpg.Record, now: datetime) -> str:
    """Name the state of a row of `reports.provider_states`: paused, breaker open, resting or well."""
    if row["paused_at"]:
        return "paused"
    if row["open_until"] and row["open_until"] > now:
        return "breaker open"
    return "resting" if row["rest_until"] and row["rest_until"] > now else "well"


async def processes(db: Db) -> dict[str, asyncpg.Record]:
    """Count by name the submitters and reconcilers that are connected, with the moment since when one has been.

    Each has one connection of a name of its own, past any pooler: to listen for hints, or to send them.
    """
    rows = await db.fetch(
        """
        SELECT split_part(application_name, ' ', 2) AS name, count(*) AS processes, min(backend_start) AS since
          FROM pg_stat_activity
         WHERE datname = current_database()
           AND application_name IN ('ringback submitter listener', 'ringback reconciler notifier')
         GROUP BY 1
        """
    )
    return {row["name"]: row for row in rows}


@dataclass(frozen=True, slots=True)
class LimitUsed:
    """How much of one limit is used now: *used* of *allowance* requests in the last *window* seconds.

    Of a short window the requests are not counted but paced: then *used* is None, and *at_pace* tells whether they
    follow one another as closely as the limit allows.
    """

    provider: str
    window: int
    allowance: int
    used: int | None
    at_pace: bool


async def limits_used(db: Db) -> list[LimitUsed]:
    """Return the limits of all requests to each provider and CRM, and how much of each is used."""
    rows = await db.fetch(
        """
        SELECT provider, purpose, "window", allowance, spent, spent_at, EXTRACT(epoch FROM next_at)::float8 AS next_at,
               EXTRACT(epoch FROM clock_timestamp())::float8 AS now
          FROM limits
         WHERE purpose = 'any'
         ORDER BY provider, "window"
        """
    )
    return [_used(row) for row in rows]


def _used(row: asyncpg.Record) -> LimitUsed:
    meter = Meter(row["purpose"], row["window"], row["allowance"], row["next_at"], tuple(row["spent"]), row["spent_at"])
    used = None if meter.paced else max(0, meter.allowance - meter.room(row["now"]))
    at_pace = meter.paced and meter.next_at > row["now"]
    return LimitUsed(row["provider"], meter.window, meter.allowance, used, at_pace)
