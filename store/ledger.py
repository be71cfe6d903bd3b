"""Read which questions were perhaps charged: those whose outcome is not known, or never came."""

from __future__ import annotations

import time
from decimal import Decimal
from uuid import UUID

import asyncpg

from store.database import Db
from store.partitions import NEWEST

PAGE = 20_000  # ended jobs that one statement of a walk reads
WALKED_FOR = 1.0  # seconds of one request


async def credits_in_doubt(db: Db) -> Decimal:
    """Return the credits of all questions that were perhaps charged."""
    credits: Decimal = await db.fetchval("SELECT COALESCE(sum(possible), 0) FROM usage")
    return credits


async def perhaps_charged(
    db: Db, before: UUID | None, limit: int, *, in_doubt: Decimal
) -> tuple[list[asyncpg.Record], UUID | None]:
    """Return up to *limit* jobs older than *before* that were perhaps charged, newest first, and where to go on.

    There are few of them and no index of them, so the ended jobs are walked: until the credits *in_doubt* are found,
    which are mostly of late, or for WALKED_FOR seconds.
    """
    found: list[asyncpg.Record] = []
    until = time.monotonic() + WALKED_FOR
    while True:
        rows = await db.fetch(_WALK, before or NEWEST, limit - len(found), PAGE)
        found += [row for row in rows if row["id"] is not None]
        if len(found) == limit:
            return found, found[-1]["id"]
        if rows[0]["walked"] < PAGE or sum(row["possible"] for row in found) >= in_doubt:
            return found, None
        before = rows[0]["last"]
        if time.monotonic() > until:
            return found, before


_WALK = """
        WITH page AS MATERIALIZED (
            SELECT id, possible
              FROM finished_jobs
             WHERE id < $1
             ORDER BY id DESC
             LIMIT $3
        ), doubtful AS (
            SELECT id
              FROM page
             WHERE possible > 0
             ORDER BY id DESC
             LIMIT $2
        )
        SELECT (SELECT count(*) FROM page)::int AS walked, (SELECT id FROM page ORDER BY id LIMIT 1) AS last, job.*
          FROM (SELECT) AS always
          LEFT JOIN (SELECT finished.*
                       FROM doubtful
                      CROSS JOIN LATERAL (
                            SELECT id, lookup_id, provider, source, state::text AS state, possible, submitted_at,
                                   finished_at, error
                              FROM finished_jobs
                             WHERE finished_jobs.id = doubtful.id   -- each in its month
                            OFFSET 0) AS finished) AS job ON true
         ORDER BY job.id DESC
"""
