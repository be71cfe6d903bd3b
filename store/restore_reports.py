"""What is known after a restore: the lookups that are held for it, and what else may have been paid for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from store.database import Db
from store.partitions import first_id
from store.restores import Restore

LISTED_AT_MOST = 10_000  # lookups, callbacks
LOOKED_BACK = timedelta(days=30)


async def held_lookups(db: Db, limit: int = LISTED_AT_MOST) -> list[dict[str, Any]]:
    """Return up to *limit* open lookups that wait for a person after a restore, oldest first."""
    rows = await db.fetch(
        """
        SELECT lookups.id, lookups.source, lookups.record_id, jobs.provider, lookups.created_at
          FROM jobs
          JOIN lookups ON lookups.search_id = jobs.search_id
         WHERE jobs.held = 'restored'
           AND lookups.final_status IS NULL
         ORDER BY lookups.id
         LIMIT $1
        """,
        limit,
    )
    return [dict(row) for row in rows]


async def held_by_source(db: Db) -> list[asyncpg.Record]:
    """Return, by source, how many jobs wait for a person after a restore, and since when."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT source, count(*) AS jobs, min(due_at) AS since
          FROM jobs
         WHERE held = 'restored'
         GROUP BY source
         ORDER BY source
        """
    )
    return rows


async def unknown_callbacks(db: Db, since: datetime) -> list[asyncpg.Record]:
    """Return the callbacks for jobs that were made after *since* and that this database does not know, oldest first."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT job_id, provider, received_at, body
          FROM callbacks
         WHERE job_id >= $1
           AND lookup_id IS NULL
         ORDER BY job_id
         LIMIT $2
        """,
        first_id(since),
        LISTED_AT_MOST,
    )
    return rows


async def asked_since(db: Db, since: datetime) -> dict[str, int]:
    """Count by provider the questions that this database has asked after *since*."""
    rows = await db.fetch(
        """
        SELECT provider, count(*)::int AS questions
          FROM (SELECT provider, submitted_at FROM jobs WHERE submitted_at > $1
                UNION ALL
                SELECT provider, submitted_at
                  FROM finished_jobs
                 WHERE finished_at > $1 AND submitted_at > $1) AS asked
         GROUP BY provider
         ORDER BY provider
        """,
        since,
    )
    return {row["provider"]: row["questions"] for row in rows}


async def newest_before(db: Db, before: datetime) -> datetime | None:
    """Return when the last event, lookup or end of a job before *before* was stored: the data ends there or later."""
    newest: datetime | None = await db.fetchval(
        """
        SELECT GREATEST(
            (SELECT received_at FROM events WHERE id < $1 ORDER BY id DESC LIMIT 1),
            (SELECT created_at FROM lookups WHERE id < $1 ORDER BY id DESC LIMIT 1),
            (SELECT max(finished_at)
               FROM finished_jobs
              WHERE finished_at > $2::timestamptz - $3::interval AND finished_at < $2))
        """,
        first_id(before),
        before,
        LOOKED_BACK,
    )
    return newest


async def behind(db: Db, restore: Restore, crms: Sequence[str]) -> list[asyncpg.Record]:
    """Return those of these *crms* whose sweeps have yet to list changes from before the restore."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT crm, swept_to, error
          FROM connections
         WHERE crm = ANY($1::text[])
           AND swept_to < $2
         ORDER BY crm
        """,
        list(crms),
        restore.began_at,
    )
    return rows
