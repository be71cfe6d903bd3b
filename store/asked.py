"""Change claimed jobs that have not ended: accept, requeue, undo the claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from store.columns import Columns
from store.database import Db
from store.lookups import drop_unneeded


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The provider accepted the question. *request_id* is None when its answer was lost: then only a callback helps."""

    job_id: UUID
    attempt: int
    request_id: str | None
    look_after: timedelta  # then the job is polled, or given up
    error: str | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class Requeueing:
    """A definite failure: ask again *after* that time. *counts*: whether it uses up one of MAX_ATTEMPTS."""

    job_id: UUID
    attempt: int
    after: timedelta
    counts: bool
    error: str
    was_sent: bool = True  # False: certainly not sent, whatever a takeover assumed


ACCEPTANCES = Columns(
    job_id="uuid", attempt="int", request_id="text", look_after="interval", error="text", raw="text"
)  # fmt: skip
REQUEUEINGS = Columns(job_id="uuid", attempt="int", after="interval", counts="bool", error="text", was_sent="bool")


async def accept(db: Db, acceptances: Sequence[Acceptance]) -> set[UUID]:
    """Move jobs submitting -> awaiting, or store the lost request_id of an awaiting job. Return the changed jobs."""
    rows = await db.fetch(f"WITH {ACCEPTANCES.cte('acceptance')} {_ACCEPT}", *ACCEPTANCES.of(acceptances))
    return {row["id"] for row in rows}


_ACCEPT = """
        UPDATE jobs
           SET state = 'awaiting',
               request_id = acceptance.request_id,
               lease_expires_at = NULL,
               due_at = now() + acceptance.look_after,
               error = acceptance.error,
               raw = acceptance.raw
          FROM acceptance
         WHERE jobs.id = acceptance.job_id
           AND jobs.attempt = acceptance.attempt
           AND (jobs.state = 'submitting'
                -- A submitter presumed dead reports late. No other process has asked, so its report is true.
                OR jobs.state = 'awaiting' AND jobs.request_id IS NULL AND acceptance.request_id IS NOT NULL)
        RETURNING jobs.id
"""


async def check_overtaken(db: Db, acceptances: Sequence[Acceptance]) -> None:
    """Schedule a poll for each job that ended before its 202 was stored, if the 202 names another request_id.

    Such a job was given up, or a callback finished it. Flag a callback that belongs to another request. The poll's
    answer counts as a late one.
    """
    await db.execute(
        """
        WITH differing AS (
            UPDATE finished_jobs
               SET check_request_id = acceptance.request_id, check_at = now()
              FROM unnest($1::uuid[], $2::text[]) AS acceptance (job_id, request_id)
             WHERE finished_jobs.id = acceptance.job_id
               AND finished_jobs.request_id IS DISTINCT FROM acceptance.request_id
               AND (finished_jobs.request_id IS NOT NULL OR finished_jobs.state IN ('unknown', 'lost', 'failed'))
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
    """Move jobs submitting -> queued and release their reservations. Return the jobs that are due again later.

    A job that was certainly not sent also returns from `awaiting`, where a takeover put it. Drop a job whose search
    ended by a late answer meanwhile. Call inside a transaction.
    """
    rows = await db.fetch(f"WITH {REQUEUEINGS.cte('requeueing')}, {_REQUEUE}", *REQUEUEINGS.of(requeueings))
    searches = [row["search_id"] for row in rows]
    await _drop_answered(db, searches)
    await drop_unneeded(db, searches)  # a job whose lookups found their number elsewhere is dropped too
    return {row["id"] for row in rows}


_REQUEUE = """
        mine AS MATERIALIZED (
            SELECT jobs.id, jobs.source, jobs.provider, jobs.reserved, jobs.reserved_on, after, counts, requeueing.error
              FROM jobs
              JOIN requeueing ON requeueing.job_id = jobs.id AND requeueing.attempt = jobs.attempt
             WHERE jobs.state = 'submitting'
                OR jobs.state = 'awaiting' AND jobs.request_id IS NULL AND NOT requeueing.was_sent
             ORDER BY jobs.id
               FOR UPDATE OF jobs
        ), counted AS (
            INSERT INTO usage (provider, source, day, slot, reserved)
            SELECT provider, source, reserved_on, pg_backend_pid() % 16, -sum(reserved)
              FROM mine
             GROUP BY provider, source, reserved_on
             ORDER BY provider, source, reserved_on
                ON CONFLICT (provider, source, day, slot) DO UPDATE SET reserved = usage.reserved + excluded.reserved
        )
        UPDATE jobs
           SET state = 'queued',
               due_at = now() + mine.after,
               tries = tries + mine.counts::int,
               lease_expires_at = NULL,
               claimed_by = NULL,
               reserved = 0,
               reserved_on = NULL,
               error = mine.error
          FROM mine
         WHERE jobs.id = mine.id
        RETURNING jobs.id, jobs.search_id
"""


async def _drop_answered(db: Db, searches: Sequence[UUID]) -> None:
    """Drop the queued jobs of ended searches: a late answer may have been committed before this statement began."""
    await db.execute(
        """
        WITH gone AS (
            DELETE FROM jobs
             USING searches
             WHERE jobs.search_id = ANY($1::uuid[])
               AND searches.id = jobs.search_id
               AND searches.ended_at IS NOT NULL
               AND jobs.state = 'queued'
            RETURNING jobs.search_id, jobs.provider
        )
        UPDATE searches
           SET said = said - gone.provider   -- 'asked': it is not in flight any more
          FROM gone
         WHERE searches.id = gone.search_id
        """,
        searches,
    )


async def release_unsent(db: Db, unsent: Sequence[tuple[UUID, int]]) -> list[UUID]:
    """Move jobs unknown -> failed: a takeover gave up these (job, attempt), but they were certainly never sent.

    Release the possible charge and remove the doubt from the search. Call inside a transaction. Return the ended
    searches whose lookups follow.
    """
    ids = [id for id, _ in unsent]
    await db.execute(
        """
        SELECT
          FROM searches
         WHERE id IN (SELECT search_id FROM finished_jobs WHERE id = ANY($1::uuid[]))
         ORDER BY id
           FOR NO KEY UPDATE
        """,
        ids,
    )
    rows = await db.fetch(
        """
        WITH released AS (
            UPDATE finished_jobs
               SET state = 'failed', error = 'it was never sent', possible = 0
              FROM unnest($1::uuid[], $2::int[]) AS unsent (id, attempt)
              JOIN finished_jobs AS before ON before.id = unsent.id
             WHERE finished_jobs.id = unsent.id
               AND finished_jobs.attempt = unsent.attempt
               AND finished_jobs.state = 'unknown'
            RETURNING before.id, before.search_id, before.lookup_id, before.source, before.provider, before.possible,
                      before.reserved_on
        ), entered AS (
            INSERT INTO ledger (job_id, lookup_id, provider, kind, credits, day)
            SELECT released.id, lookup_id, provider, kind, possible, reserved_on
              FROM released
             CROSS JOIN LATERAL (VALUES ('settled'), ('released')) AS entry (kind)
             WHERE possible > 0
                ON CONFLICT (job_id, kind) DO UPDATE SET credits = ledger.credits + excluded.credits
        ), counted AS (
            INSERT INTO usage (provider, source, day, slot, possible)
            SELECT provider, source, reserved_on, pg_backend_pid() % 16, -sum(possible)
              FROM released
             GROUP BY provider, source, reserved_on
                ON CONFLICT (provider, source, day, slot) DO UPDATE SET possible = usage.possible + excluded.possible
        ), heard AS (
            SELECT searches.id, searches.said || jsonb_build_object(released.provider, 'failed') AS said
              FROM released
              JOIN searches ON searches.id = released.search_id
        )
        UPDATE searches
           SET said = heard.said,
               status = CASE WHEN searches.status = 'unresolved' THEN search_verdict(heard.said, searches.is_doubtful)
                             ELSE searches.status END,
               unswept = searches.unswept OR searches.status IS NOT DISTINCT FROM 'unresolved'
          FROM heard
         WHERE searches.id = heard.id
        RETURNING searches.id, searches.unswept AS follows
        """,
        ids,
        [attempt for _, attempt in unsent],
    )
    return [row["id"] for row in rows if row["follows"]]


async def undo_claim(db: Db, provider: str, claim_id: UUID) -> list[UUID]:
    """Move a claim's jobs submitting -> queued and return them: its submitter saw the commit fail, and sent nothing.

    PostgreSQL may have committed the claim nevertheless, or may still wait for a standby to: the claim holds the
    provider's meters until then. Call inside a transaction.
    """
    await db.execute(
        'SELECT FROM limits WHERE provider = $1 ORDER BY purpose, "window" FOR UPDATE',
        provider,
    )
    rows = await db.fetch(
        """
        SELECT id, attempt
          FROM jobs
         WHERE claimed_by = $1
           AND (state = 'submitting' OR state = 'awaiting' AND request_id IS NULL)   -- or taken over meanwhile
         ORDER BY id
           FOR UPDATE
        """,
        claim_id,
    )
    undone = [
        Requeueing(row["id"], row["attempt"], timedelta(0), counts=False, error="its claim failed", was_sent=False)
        for row in rows
    ]
    return sorted(await requeue(db, undone)) if undone else []


async def taken_over(db: Db, claim_id: UUID) -> list[tuple[UUID, int]]:
    """Return the (job, attempt) of this claim that a takeover ended as unknown, for `release_unsent`."""
    rows = await db.fetch("SELECT id, attempt FROM finished_jobs WHERE claimed_by = $1 AND state = 'unknown'", claim_id)
    return [(row["id"], row["attempt"]) for row in rows]
