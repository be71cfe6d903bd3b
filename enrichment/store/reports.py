"""What the API and the console read; nothing here changes a row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.database import Db


async def read_lookups(db: Db, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """These lookups with their jobs, newest first; unknown ids are left out."""
    rows = await db.fetch(
        """
        SELECT lookups.id, lookup_status.status, lookups.mobile, lookups.mobile_raw, lookups.region,
               lookups.line_type, lookups.provider, lookups.credits, lookups.source, lookups.record_id,
               lookups.reused_from, lookups.reason, lookups.profile_url, lookups.work_email,
               lookups.personal_email, lookups.name, lookups.company, lookups.created_at, lookups.finished_at
          FROM lookups
          JOIN lookup_status ON lookup_status.id = lookups.id
         WHERE lookups.id = ANY($1::uuid[])
         ORDER BY lookups.id DESC
        """,
        list(ids),
    )
    jobs = await _jobs(db, ids)
    return [dict(row) | {"jobs": jobs.get(row["id"], [])} for row in rows]


async def _jobs(db: Db, lookup_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    rows = await db.fetch(
        """
        SELECT lookup_id, id, provider, state::text, answered_by, request_id, credits, possible AS possibly_charged,
               polls, attempt, submitted_at, finished_at, error, raw
          FROM finished_jobs
         WHERE lookup_id = ANY($1::uuid[])
        UNION ALL
        SELECT lookup_id, id, provider, state::text, NULL, request_id, 0, 0,
               polls, attempt, submitted_at, NULL, error, raw
          FROM jobs
         WHERE lookup_id = ANY($1::uuid[])
         ORDER BY id
        """,
        list(lookup_ids),
    )
    found: dict[UUID, list[dict[str, Any]]] = {}
    for row in rows:
        job = dict(row)
        found.setdefault(job.pop("lookup_id"), []).append(job)
    return found


async def list_lookups(
    db: Db, *, status: str | None, record_id: str | None, before: UUID | None, limit: int
) -> list[UUID]:
    """The ids of up to *limit* lookups older than *before*, newest first, of this status and record."""
    if status in ("queued", "running", "held"):
        return await _list_open(db, status, record_id, before, limit)
    rows = await db.fetch(
        """
        SELECT id
          FROM lookups
         WHERE ($1::text IS NULL OR final_status = $1::final_status)
           AND ($2::text IS NULL OR record_id = $2)
           AND ($3::uuid IS NULL OR id < $3)
         ORDER BY id DESC
         LIMIT $4
        """,
        status,
        record_id,
        before,
        limit,
    )
    return [row["id"] for row in rows]


async def _list_open(db: Db, status: str, record_id: str | None, before: UUID | None, limit: int) -> list[UUID]:
    rows = await db.fetch(
        """
        SELECT lookups.id
          FROM lookups
          JOIN lookup_status ON lookup_status.id = lookups.id
         WHERE lookups.final_status IS NULL
           AND lookup_status.status = $1
           AND ($2::text IS NULL OR lookups.record_id = $2)
           AND ($3::uuid IS NULL OR lookups.id < $3)
         ORDER BY lookups.id DESC
         LIMIT $4
        """,
        status,
        record_id,
        before,
        limit,
    )
    return [row["id"] for row in rows]


async def usage_by_day(db: Db, since: date) -> list[asyncpg.Record]:
    """Credits by provider and UTC day, newest day first."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT provider, day, sum(reserved) AS reserved, sum(charged) AS charged, sum(possible) AS possibly_charged
          FROM usage
         WHERE day >= $1
         GROUP BY provider, day
         ORDER BY day DESC, provider
        """,
        since,
    )
    return rows


async def outstanding(db: Db) -> list[asyncpg.Record]:
    """The open jobs by provider and state, with the age of the oldest: what `ringback status` shows."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT provider, COALESCE('held: ' || held, state::text) AS state, count(*) AS jobs,
               now() - min(COALESCE(submitted_at, due_at)) AS oldest
          FROM jobs
         GROUP BY 1, 2
         ORDER BY 1, 2
        """
    )
    return rows


async def provider_states(db: Db) -> list[asyncpg.Record]:
    """How each provider is."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT name, paused_reason, paused_at, check_at, rest_until, open_until, failures
          FROM providers
         ORDER BY name
        """
    )
    return rows


async def lookups_by_status(db: Db, since: datetime) -> list[asyncpg.Record]:
    """How many lookups ended how, since then."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT COALESCE(final_status::text, 'open') AS status, count(*) AS lookups
          FROM lookups
         WHERE created_at >= $1
         GROUP BY 1
         ORDER BY 1
        """,
        since,
    )
    return rows


async def ping(db: Db) -> None:
    """The database answers."""
    await db.fetchval("SELECT 1")
