"""What happens to a job that was asked and is not over: accepted, queued again, its lease renewed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from store.database import Db
from store.finish import drop_unasked


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The provider took the question. *request_id* is None when its answer was lost: then only a callback helps."""

    job_id: UUID
    attempt: int
    request_id: str | None
    look_after: timedelta  # when it is polled, or given up
    error: str | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class Requeueing:
    """A definite failure: ask again *after* that. *counts* against MAX_ATTEMPTS or not."""

    job_id: UUID
    attempt: int
    after: timedelta
    counts: bool
    error: str


async def accept(db: Db, acceptances: Sequence[Acceptance]) -> set[UUID]:
    """submitting -> awaiting, or an awaiting job whose request_id was lost learns it.  Returns those that did."""
    rows = await db.fetch(
        """
        UPDATE jobs
           SET state = 'awaiting',
               request_id = told.request_id,
               lease_expires_at = NULL,
               due_at = now() + told.look_after,
               error = told.error,
               raw = told.raw
          FROM unnest($1::uuid[], $2::int[], $3::text[], $4::interval[], $5::text[], $6::text[])
            AS told (job_id, attempt, request_id, look_after, error, raw)
         WHERE jobs.id = told.job_id
           AND jobs.attempt = told.attempt
           AND (jobs.state = 'submitting'
                -- A submitter thought dead: nobody else can have asked, so its word is good.
                OR jobs.state = 'awaiting' AND jobs.request_id IS NULL AND told.request_id IS NOT NULL)
        RETURNING jobs.id
        """,
        [a.job_id for a in acceptances],
        [a.attempt for a in acceptances],
        [a.request_id for a in acceptances],
        [a.look_after for a in acceptances],
        [a.error for a in acceptances],
        [a.raw for a in acceptances],
    )
    return {row["id"] for row in rows}


async def check_overtaken(db: Db, acceptances: Sequence[Acceptance]) -> None:
    """Jobs that were over before their 202 was stored: where that tells of a request nobody knew, it is polled.

    Either the job was given up, or a callback finished it, which is flagged when it was another request's. The
    poll's answer counts as a late one.
    """
    await db.execute(
        """
        WITH differing AS (
            UPDATE finished_jobs
               SET check_request_id = told.request_id, check_at = now()
              FROM unnest($1::uuid[], $2::text[]) AS told (job_id, request_id)
             WHERE finished_jobs.id = told.job_id
               AND finished_jobs.request_id IS DISTINCT FROM told.request_id
               AND (finished_jobs.request_id IS NOT NULL OR finished_jobs.state IN ('unknown', 'lost'))
            RETURNING finished_jobs.id
        )
        UPDATE callbacks
           SET verdict = 'flagged', flag = 'the 202 that came after it names another request'
          FROM differing
         WHERE callbacks.job_id = differing.id
           AND callbacks.verdict = 'applied'
        """,
        [a.job_id for a in acceptances if a.request_id is not None],
        [a.request_id for a in acceptances if a.request_id is not None],
    )


async def requeue(db: Db, requeueings: Sequence[Requeueing]) -> set[UUID]:
    """submitting -> queued: the reservation is released, and the job is due again later.  Returns those that are.

    Belongs into a transaction: where a late answer ended the lookup meanwhile, the job is not asked again.
    """
    told = sorted(requeueings, key=lambda r: r.job_id)
    rows = await db.fetch(
        """
        WITH told AS (
            SELECT *
              FROM unnest($1::uuid[], $2::int[], $3::interval[], $4::bool[], $5::text[])
                AS told (job_id, attempt, after, counts, error)
        ), mine AS MATERIALIZED (
            SELECT jobs.id, jobs.provider, jobs.reserved, jobs.reserved_on, told.after, told.counts, told.error
              FROM jobs
              JOIN told ON told.job_id = jobs.id AND told.attempt = jobs.attempt
             WHERE jobs.state = 'submitting'
             ORDER BY jobs.id
               FOR UPDATE OF jobs
        ), counted AS (
            INSERT INTO usage (provider, day, slot, reserved)
            SELECT provider, reserved_on, pg_backend_pid() % 16, -sum(reserved)
              FROM mine
             GROUP BY provider, reserved_on
             ORDER BY provider, reserved_on
                ON CONFLICT (provider, day, slot) DO UPDATE SET reserved = usage.reserved + excluded.reserved
        )
        UPDATE jobs
           SET state = 'queued',
               due_at = now() + mine.after,
               tries = tries + mine.counts::int,
               lease_expires_at = NULL,
               reserved = 0,
               reserved_on = NULL,
               error = mine.error
          FROM mine
         WHERE jobs.id = mine.id
        RETURNING jobs.id, jobs.lookup_id
        """,
        [r.job_id for r in told],
        [r.attempt for r in told],
        [r.after for r in told],
        [r.counts for r in told],
        [r.error for r in told],
    )
    # Only now: while we waited for the job's lock, a late answer may have been committed.
    ended = await db.fetch(
        "SELECT id FROM lookups WHERE id = ANY($1::uuid[]) AND final_status IS NOT NULL ORDER BY id",
        [row["lookup_id"] for row in rows],
    )
    for lookup in ended:
        await drop_unasked(db, lookup["id"])
    return {row["id"] for row in rows}


async def renew(db: Db, leased: Sequence[tuple[UUID, int]], lease: timedelta) -> set[UUID]:
    """submitting: the leases of these (job, attempt) run on from now.  Returns the jobs that are still ours."""
    rows = await db.fetch(
        """
        WITH mine AS MATERIALIZED (
            SELECT jobs.id
              FROM jobs
              JOIN unnest($1::uuid[], $2::int[]) AS mine (id, attempt) USING (id, attempt)
             WHERE jobs.state = 'submitting'
               FOR UPDATE OF jobs SKIP LOCKED   -- whose outcome is being written needs no lease any more
        )
        UPDATE jobs
           SET lease_expires_at = now() + $3
          FROM mine
         WHERE jobs.id = mine.id
        RETURNING jobs.id
        """,
        [id for id, _ in leased],
        [attempt for _, attempt in leased],
        lease,
    )
    return {row["id"] for row in rows}
