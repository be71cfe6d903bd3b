"""Read lookups for `ringback export`: page by page, so that no statement runs for long, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import asyncpg

from enrichment.selection import Filter
from store.database import Db
from store.partitions import NEWEST, first_id
from store.reports import list_lookups

PAGE = 2000  # lookups
OLDEST = UUID(int=0)


async def pages(db: Db, wanted: Filter, size: int = PAGE) -> AsyncIterator[list[asyncpg.Record]]:
    """Yield the lookups that the filter finds, newest first, page by page. What begins meanwhile is left out."""
    before = first_id(wanted.until) if wanted.until else NEWEST
    oldest = first_id(wanted.since) if wanted.since else OLDEST
    while True:
        ids = await _candidates(db, wanted, before, size)
        yield await _read(db, [id for id in ids if oldest <= id < before], wanted)
        if len(ids) < size or ids[-1] < oldest:
            return
        before = ids[-1]


async def _candidates(db: Db, wanted: Filter, before: UUID, limit: int) -> list[UUID]:
    """Return up to *limit* lookups before *before* that may be wanted, newest first: the API's list of them."""
    if wanted.id is not None:
        return [wanted.id]
    return await list_lookups(
        db, status=wanted.status, record_id=wanted.record_id, source=wanted.source, before=before, limit=limit
    )


async def _read(db: Db, ids: Sequence[UUID], wanted: Filter) -> list[asyncpg.Record]:
    """Return those of these lookups that the filter finds, newest first, with the credits of their own jobs."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        WITH lookup AS MATERIALIZED (
            SELECT lookup.*,
                   (SELECT status FROM lookup_status WHERE lookup_status.id = lookup.id) AS status
              FROM unnest($1::uuid[]) AS candidate (id)
             CROSS JOIN LATERAL (
                   SELECT id, created_at, finished_at, mobile, region, line_type, provider, reason, source, record_id,
                          profile_url, work_email, personal_email, name, company, region_hint, search_id, final_status
                     FROM lookups
                    WHERE lookups.id = candidate.id   -- one after the other, each in its month
                   OFFSET 0) AS lookup
        ), cost AS MATERIALIZED (
            SELECT lookup_id, sum(credits) AS credits, sum(possible) AS possible
              FROM finished_jobs
             WHERE lookup_id = ANY($1::uuid[])
             GROUP BY lookup_id
        )
        SELECT lookup.id, lookup.created_at, lookup.finished_at, lookup.status, lookup.mobile, lookup.region,
               lookup.line_type, lookup.provider, COALESCE(lookup.reason, job.held, job.error) AS reason,
               lookup.source, lookup.record_id, lookup.profile_url, lookup.work_email, lookup.personal_email,
               lookup.name, lookup.company, lookup.region_hint,
               COALESCE(cost.credits, 0) AS credits, COALESCE(cost.possible, 0) AS possibly_charged
          FROM lookup
          LEFT JOIN cost ON cost.lookup_id = lookup.id
          LEFT JOIN LATERAL (
                SELECT held, error, provider
                  FROM jobs
                 WHERE jobs.search_id = lookup.search_id
                   AND lookup.final_status IS NULL
                OFFSET 0) AS job ON true
         WHERE ($2::text IS NULL OR lookup.status = $2)
           AND ($3::text IS NULL OR lookup.source = $3)
           AND ($4::text IS NULL OR lookup.record_id = $4)
           AND ($5::text IS NULL OR $5 IN (lookup.provider, job.provider)
                OR EXISTS (SELECT FROM searches WHERE searches.id = lookup.search_id AND searches.said ? $5))
           AND ($6::text IS NULL
                OR strpos(lower(concat_ws(' ', lookup.reason, job.held, job.error)), lower($6)) > 0)
         ORDER BY lookup.id DESC
        """,
        ids,
        wanted.status,
        wanted.source,
        wanted.record_id,
        wanted.provider,
        wanted.reason,
    )
    return rows
