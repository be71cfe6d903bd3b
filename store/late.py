"""Settle late answers: an answer to a finished job still counts if the job ended without one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from enrichment.decide import SUPPRESSED
from enrichment.ending import REMOVED, REPORTED_WRONG
from enrichment.suppression import number_hash
from store.database import Db
from store.searches import read_number

if TYPE_CHECKING:
    from enrichment.ending import Ending
    from enrichment.wish import Hasher

NOTHING = Decimal(0)
_NO_NUMBER: dict[str, Any] = {
    "mobile": None, "mobile_raw": None, "needs_region": False, "region": None, "line_type": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Late:
    """A late answer that counted. *ended*: the searches whose lookups follow now, including dropped ones.

    *is_suppressed*: its person or number is, so nothing of the answer may be stored.
    """

    search_id: UUID
    lookup_id: UUID
    ended: tuple[UUID, ...]
    is_suppressed: bool = False


async def settle_late(db: Db, ending: Ending, hash: Hasher, *, verified: bool = False) -> Late | None:
    """Apply a late answer to a job that ended without one: unknown, lost or failed -> answered.

    Settle the possible charge. A number ends the search as found, whatever its status, and drops newer searches for
    which no provider was asked, if their first lookups take the number. Without a number, the search ends as if the
    answer had come in time. A suppressed one is not kept, and the search ends as suppressed unless it has a number.
    Call inside a transaction. Return None when the job had its answer already, or when *ending* belongs to another
    request.

    *verified*: the answer was polled by the request_id of a 202 that a callback had contradicted. Then the request
    is the right one, and a number also counts for an answered job that brought none.
    """
    await _lock(db, ending.job_id)
    if ending.needs_region:
        ending = await _in_a_known_region(db, ending)
    if is_suppressed := await _is_suppressed(db, ending, hash):
        ending = replace(ending, **_NO_NUMBER, error=SUPPRESSED)
    elif await _was_reported_wrong(db, ending):
        ending = replace(ending, **_NO_NUMBER, error=REPORTED_WRONG)
    row = await db.fetchrow(
        SETTLE,
        ending.job_id,
        ending.request_id,
        ending.answered_by,
        ending.charged or NOTHING,
        ending.mobile,
        ending.number_json,
        ending.error,
        verified,
        REMOVED,
        is_suppressed,
        SUPPRESSED,
    )
    if row is None:
        return None
    ended = [row["search_id"]] if row["has_ended"] else []
    if is_suppressed and not ended:
        ended += await _end_before_next_question(db, row["search_id"])
    if ending.mobile is not None:
        await _drop_next_question(db, row["search_id"])
        ended += await _drop_newer_searches(db, row["search_id"], row["provider"], ending.mobile)
    return Late(row["search_id"], row["lookup_id"], tuple(ended), is_suppressed)


# The job takes its answer, the ledger and the day their sums, and the search hears the answer.
SETTLE = """
        WITH before AS (
            SELECT job.id, job.search_id, job.lookup_id, job.source, job.provider, job.possible,
                   COALESCE(job.reserved_on, (now() AT TIME ZONE 'UTC')::date) AS day
              FROM finished_jobs AS job
              LEFT JOIN searches ON searches.id = job.search_id
             WHERE job.id = $1
               AND (job.state IN ('unknown', 'lost', 'failed')
                        AND ($8 OR $2::text IS NULL OR job.request_id IS NULL OR job.request_id = $2)
                    OR job.state = 'answered' AND $8 AND $5::text IS NOT NULL
                        AND searches.numbers -> job.provider ->> 'mobile' IS NULL)
               FOR NO KEY UPDATE OF job
        ), settled AS (
            UPDATE finished_jobs
               SET state = 'answered', answered_by = $3, credits = credits + $4, possible = 0,
                   request_id = COALESCE($2, request_id), error = $7, finished_at = now(),
                   raw = CASE WHEN $10 THEN NULL ELSE raw END
              FROM before
             WHERE finished_jobs.id = before.id
        ), entered AS (
            INSERT INTO ledger (job_id, lookup_id, provider, kind, credits, day)
            SELECT before.id, before.lookup_id, before.provider, entry.kind, entry.credits, before.day
              FROM before
             CROSS JOIN LATERAL (VALUES ('charged', $4::numeric),
                                        ('settled', possible),
                                        ('released', possible - $4::numeric)) AS entry (kind, credits)
             WHERE entry.credits > 0
                ON CONFLICT (job_id, kind) DO UPDATE SET credits = ledger.credits + excluded.credits
        ), counted AS (
            INSERT INTO usage (provider, source, day, slot, charged, possible)
            SELECT provider, source, day, pg_backend_pid() % 16, $4, -possible
              FROM before
                ON CONFLICT (provider, source, day, slot) DO UPDATE
               SET charged = usage.charged + excluded.charged, possible = usage.possible + excluded.possible
        ), heard AS (
            SELECT searches.id, before.provider,
                   searches.said || jsonb_build_object(before.provider, 'answered') AS said,
                   NULLIF(concat_ws('; ', (SELECT string_agg(job.provider || ': ' || job.error, '; ' ORDER BY job.id)
                                      FROM finished_jobs AS job
                                     WHERE job.lookup_id = before.lookup_id
                                       AND job.search_id = before.search_id
                                       AND job.id <> before.id),
                                   before.provider || ': ' || $7,
                                   (SELECT string_agg(part, '; ')   -- of no answer: providers that are gone
                                      FROM regexp_split_to_table(searches.reason, '; ') AS part
                                     WHERE part LIKE '%: ' || $9)), '') AS reason
              FROM before
              JOIN searches ON searches.id = before.search_id
        ), search AS (
            UPDATE searches
               -- The next provider's question may be on the wire: its answer is still to come.
               SET said = heard.said || CASE WHEN $5::text IS NULL THEN '{}'
                                             ELSE COALESCE((SELECT jsonb_build_object(jobs.provider, 'asked')
                                                              FROM jobs
                                                             WHERE jobs.search_id = heard.id
                                                               AND jobs.state <> 'queued'), '{}') END,
                   numbers = CASE WHEN $5::text IS NULL AND $6::jsonb ->> 'raw' IS NULL THEN searches.numbers
                                  ELSE searches.numbers || jsonb_build_object(heard.provider, $6::jsonb) END,
                   status = CASE WHEN $5::text IS NOT NULL THEN 'found'
                                 WHEN $10 AND searches.status IN ('not_found', 'failed', 'unresolved')
                                 THEN 'suppressed'
                                 WHEN searches.status IN ('failed', 'unresolved')
                                 THEN search_verdict(heard.said, searches.is_doubtful)
                                 ELSE searches.status END,
                   -- The other jobs' results stay; the doubt about this job is gone.
                   reason = CASE WHEN $10 AND searches.status IS DISTINCT FROM 'found' THEN $11
                                 WHEN $5::text IS NULL THEN left(heard.reason, 2000) END,
                   ended_at = CASE WHEN $5::text IS NOT NULL OR searches.ended_at IS NOT NULL
                                   THEN clock_timestamp() END
              FROM heard
             WHERE searches.id = heard.id
            RETURNING searches.ended_at IS NOT NULL AS has_ended
        )
        SELECT before.search_id, before.lookup_id, before.provider,
               COALESCE((SELECT has_ended FROM search), false) AS has_ended
          FROM before
"""


async def _lock(db: Db, finished_id: UUID) -> None:
    """Lock the open job of the finished job's search, then the searches of its keys: the order of locks."""
    await db.execute(
        """
        SELECT
          FROM jobs
          JOIN finished_jobs USING (search_id)
         WHERE finished_jobs.id = $1
           FOR UPDATE OF jobs
        """,
        finished_id,
    )
    await db.execute(
        """
        SELECT
          FROM searches
         WHERE id IN (SELECT search_id FROM finished_jobs WHERE id = $1
                       UNION
                      SELECT known.search_id
                        FROM finished_jobs
                        JOIN searches AS own ON own.id = finished_jobs.search_id
                        JOIN keys ON keys.key = ANY (own.keys)
                       CROSS JOIN LATERAL unnest(keys.searches) AS known (search_id)
                       WHERE finished_jobs.id = $1)
         ORDER BY id
           FOR NO KEY UPDATE
        """,
        finished_id,
    )


async def _in_a_known_region(db: Db, ending: Ending) -> Ending:
    """Read the national number in the regions of the search's lookups; leave it as it is where they do not agree."""
    regions = await db.fetch(
        """
        SELECT DISTINCT lookups.region_hint
          FROM finished_jobs
          JOIN lookups USING (search_id)
         WHERE finished_jobs.id = $1
           AND lookups.region_hint IS NOT NULL
           AND (lookups.final_status IS NULL OR lookups.final_status IN ('not_found', 'failed', 'unresolved'))
        """,
        ending.job_id,
    )
    read = [read_number(ending.mobile_raw or "", row["region_hint"]) for row in regions]
    numbers = {number.mobile: number for number in read if number is not None}
    if len(numbers) != 1:  # read in two regions, it may be two people's
        return ending
    (number,) = numbers.values()
    return replace(
        ending, mobile=number.mobile, region=number.region, line_type=number.line_type, needs_region=False, error=None
    )


async def _is_suppressed(db: Db, ending: Ending, hash: Hasher) -> bool:
    """Tell whether the number, or the person that the question was about, is suppressed."""
    return bool(
        await db.fetchval(
            """
            SELECT EXISTS (SELECT FROM suppressions)
               AND (EXISTS (SELECT FROM suppressions WHERE hash = $2)
                    OR EXISTS (SELECT
                                 FROM finished_jobs
                                 JOIN searches ON searches.id = finished_jobs.search_id
                                 JOIN suppressions ON suppressions.hash = ANY (searches.asked)
                                WHERE finished_jobs.id = $1))
            """,
            ending.job_id,
            number_hash(ending.mobile, hash) if ending.mobile else None,
        )
    )


async def _was_reported_wrong(db: Db, ending: Ending) -> bool:
    """Tell whether a person reported this number as wrong before this answer came."""
    if ending.mobile is None:
        return False
    return bool(
        await db.fetchval(
            """
            SELECT $2 = ANY (searches.wrong)
              FROM finished_jobs
              JOIN searches ON searches.id = finished_jobs.search_id
             WHERE finished_jobs.id = $1
            """,
            ending.job_id,
            ending.mobile,
        )
    )


async def _drop_next_question(db: Db, search_id: UUID) -> None:
    """Delete the search's queued job: the number is there, so the next provider need not be asked."""
    await db.execute("DELETE FROM jobs WHERE search_id = $1 AND state = 'queued'", search_id)


async def _end_before_next_question(db: Db, search_id: UUID) -> list[UUID]:
    """End the search as suppressed, if its next question is still queued; return the ended search."""
    rows = await db.fetch(
        """
        WITH dropped AS (
            DELETE FROM jobs
             WHERE search_id = $1
               AND state = 'queued'
            RETURNING search_id
        )
        UPDATE searches
           SET status = 'suppressed', ended_at = clock_timestamp()
          FROM dropped
         WHERE searches.id = dropped.search_id
           AND searches.ended_at IS NULL
        RETURNING searches.id
        """,
        search_id,
    )
    return [row["id"] for row in rows]


async def _drop_newer_searches(db: Db, search_id: UUID, provider: str, mobile: str) -> list[UUID]:
    """Drop searches of the same keys for which no provider was asked, if their first lookup takes this number.

    Leave a job that is being claimed at this moment to its submitter.
    """
    rows = await db.fetch(
        """
        WITH newer AS (
            SELECT DISTINCT other.id
              FROM searches AS own
              JOIN keys ON keys.key = ANY (own.keys)
             CROSS JOIN LATERAL unnest(keys.searches) AS known (search_id)
              JOIN searches AS other ON other.id = known.search_id
              JOIN lookups ON lookups.id = other.begun_for
             WHERE own.id = $1
               AND other.id <> own.id
               AND other.ended_at IS NULL
               AND lookups.keys && own.keys
               AND $2 = ANY (lookups.providers)
               AND $3 <> ALL (lookups.refused)
        ), dropped AS (
            DELETE FROM jobs
             WHERE id IN (SELECT id
                            FROM jobs
                           WHERE search_id IN (SELECT id FROM newer)
                             AND state = 'queued'
                             AND attempt = 0
                             AND place = 0
                             FOR UPDATE SKIP LOCKED)
            RETURNING search_id
        )
        UPDATE searches
           SET status = 'dropped', ended_at = now()
          FROM dropped
         WHERE searches.id = dropped.search_id
        RETURNING searches.id
        """,
        search_id,
        provider,
        mobile,
    )
    return [row["id"] for row in rows]
