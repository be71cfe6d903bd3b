"""How a job ends: one statement for inline answers, callbacks, polls and the reconciler.

It takes the row out of `jobs`; whoever takes it out has won. In the same commit the ledger is settled, and either
the next provider's job is queued or the lookup ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from enrichment.ending import Ending
from store.database import Db
from store.followers import share_late_end

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended: *status* is its lookup's final one, None when the next provider is asked."""

    job_id: UUID
    lookup_id: UUID
    provider: str
    state: str
    status: str | None
    next_provider: str | None
    has_followers: bool


async def finish(db: Db, endings: Sequence[Ending]) -> dict[UUID, Ended]:
    """queued, submitting or awaiting -> answered, failed, unknown or lost.

    The jobs that were still open, and whose attempt and request_id fit, have ended; they are returned by id.  For
    one job, only the first of *endings* counts.
    """
    first: dict[UUID, Ending] = {}
    for ending in endings:
        first.setdefault(ending.job_id, ending)
    told = sorted(first.values(), key=lambda ending: ending.job_id)
    rows = await db.fetch(
        """
        WITH told AS (
            SELECT *
              FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[],
                          $8::text[], $9::text[], $10::numeric[], $11::bool[], $12::text[], $13::text[],
                          $14::bool[], $15::uuid[])
                AS told (job_id, ends_as, attempt, request_id, answered_by, mobile, mobile_raw,
                         region, line_type, charged, possible, error, raw, stop, next_id)
        ), gone AS (
            -- Here the race is decided: a row can be taken out once.
            DELETE FROM jobs
             USING told
             WHERE jobs.id = told.job_id
               AND jobs.state IN ('queued', 'submitting', 'awaiting')
               AND (told.attempt IS NULL OR told.attempt = jobs.attempt)
               AND (told.request_id IS NULL OR jobs.request_id IS NULL OR told.request_id = jobs.request_id)
            RETURNING jobs.id, jobs.lookup_id, jobs.provider, jobs.place, jobs.todo, jobs.spent, jobs.attempt,
                      jobs.polls, jobs.reserved, jobs.reserved_on, jobs.submitted_at,
                      -- A question that was taken back may be answered all the same: it costs on the day it does.
                      COALESCE(jobs.reserved_on, (now() AT TIME ZONE 'UTC')::date) AS day,
                      told.ends_as::job_state, told.answered_by, told.mobile, told.mobile_raw, told.region,
                      told.line_type, told.next_id,
                      COALESCE(told.request_id, jobs.request_id) AS request_id,
                      -- What went wrong before an answer came is of no interest any more.
                      COALESCE(told.error, CASE WHEN told.ends_as <> 'answered' THEN jobs.error END) AS error,
                      COALESCE(told.raw, CASE WHEN told.ends_as <> 'answered' THEN jobs.raw END) AS raw,
                      COALESCE(told.charged, 0) AS charged,
                      CASE WHEN told.possible THEN jobs.reserved ELSE 0 END AS possible,
                      told.mobile IS NULL AND NOT told.stop AND jobs.todo <> '{}' AS goes_on,
                      GREATEST(jobs.verdict,
                               CASE WHEN told.ends_as = 'answered' THEN 'no_number'
                                    WHEN told.ends_as = 'failed' THEN 'failed'
                                    ELSE 'doubtful' END::chain_verdict) AS verdict,
                      CASE WHEN told.error IS NULL THEN jobs.reason
                           ELSE concat_ws('; ', jobs.reason, jobs.provider || ': ' || told.error) END AS reason
        ), kept AS (
            INSERT INTO finished_jobs (id, lookup_id, provider, state, answered_by, attempt, polls, request_id,
                                       credits, possible, reserved_on, submitted_at, error, raw)
            SELECT id, lookup_id, provider, ends_as, answered_by, attempt, polls, request_id,
                   charged, possible, reserved_on, submitted_at, error, raw
              FROM gone
        ), entered AS (
            INSERT INTO ledger (job_id, lookup_id, provider, kind, credits, day)
            SELECT gone.id, gone.lookup_id, gone.provider, entry.kind, entry.credits, gone.day
              FROM gone
             CROSS JOIN LATERAL (VALUES ('charged', charged),
                                        ('possible', possible),
                                        ('released', reserved - charged - possible)) AS entry (kind, credits)
             WHERE entry.credits > 0
        ), counted AS (
            INSERT INTO usage (provider, day, slot, reserved, charged, possible,
                               found, answered, failed, unknown, lost)
            SELECT provider, day, pg_backend_pid() % 16,
                   -sum(reserved), sum(charged), sum(possible),
                   count(*) FILTER (WHERE mobile IS NOT NULL),
                   count(*) FILTER (WHERE ends_as = 'answered' AND mobile IS NULL),
                   count(*) FILTER (WHERE ends_as = 'failed'),
                   count(*) FILTER (WHERE ends_as = 'unknown'),
                   count(*) FILTER (WHERE ends_as = 'lost')
              FROM gone
             GROUP BY provider, day
             ORDER BY provider, day
                ON CONFLICT (provider, day, slot) DO UPDATE
               SET reserved = usage.reserved + excluded.reserved,
                   charged = usage.charged + excluded.charged,
                   possible = usage.possible + excluded.possible,
                   found = usage.found + excluded.found,
                   answered = usage.answered + excluded.answered,
                   failed = usage.failed + excluded.failed,
                   unknown = usage.unknown + excluded.unknown,
                   lost = usage.lost + excluded.lost
        ), chained AS (
            -- The next provider that is not paused; when all are, the first of them holds the lookup.
            INSERT INTO jobs (id, lookup_id, provider, held, place, todo, verdict, spent, reason)
            SELECT gone.next_id, gone.lookup_id, turn.provider, CASE WHEN turn.paused THEN 'paused' END,
                   gone.place + 1, array_remove(gone.todo, turn.provider), gone.verdict,
                   gone.spent + gone.charged, gone.reason
              FROM gone
             CROSS JOIN LATERAL (
                   SELECT wanted.provider, providers.paused_at IS NOT NULL AS paused
                     FROM unnest(gone.todo) WITH ORDINALITY AS wanted (provider, place)
                     LEFT JOIN providers ON providers.name = wanted.provider
                    ORDER BY providers.paused_at IS NOT NULL, wanted.place
                    LIMIT 1) AS turn
             WHERE gone.goes_on
            RETURNING lookup_id, provider
        ), ended AS (
            -- A lookup that a late answer has ended already keeps its end, and counts what this job cost.
            UPDATE lookups
               SET final_status = COALESCE(final_status,
                       CASE WHEN gone.mobile IS NOT NULL       THEN 'found'
                            WHEN gone.verdict = 'no_number'    THEN 'not_found'
                            WHEN gone.verdict = 'failed'       THEN 'failed'
                            ELSE 'unresolved' END::final_status),
                   finished_at = COALESCE(lookups.finished_at, now()),
                   mobile      = CASE WHEN final_status IS NULL THEN gone.mobile ELSE lookups.mobile END,
                   mobile_raw  = CASE WHEN final_status IS NULL THEN gone.mobile_raw ELSE lookups.mobile_raw END,
                   region      = CASE WHEN final_status IS NULL THEN gone.region ELSE lookups.region END,
                   line_type   = CASE WHEN final_status IS NULL THEN gone.line_type ELSE lookups.line_type END,
                   provider    = CASE WHEN final_status IS NOT NULL THEN lookups.provider
                                      WHEN gone.mobile IS NOT NULL THEN gone.provider END,
                   reason      = CASE WHEN final_status IS NOT NULL THEN lookups.reason
                                      WHEN gone.mobile IS NULL THEN gone.reason END,
                   credits     = credits + gone.spent + gone.charged
              FROM gone
             WHERE lookups.id = gone.lookup_id
               AND NOT gone.goes_on
            RETURNING lookups.id, lookups.final_status::text AS status, lookups.followers > 0 AS has_followers
        )
        SELECT gone.id, gone.lookup_id, gone.provider, gone.ends_as::text AS state, ended.status,
               chained.provider AS next_provider, COALESCE(ended.has_followers, false) AS has_followers
          FROM gone
          LEFT JOIN ended ON ended.id = gone.lookup_id
          LEFT JOIN chained ON chained.lookup_id = gone.lookup_id
        """,
        [e.job_id for e in told],
        [e.state for e in told],
        [e.attempt for e in told],
        [e.request_id for e in told],
        [e.answered_by for e in told],
        [e.mobile for e in told],
        [e.mobile_raw for e in told],
        [e.region for e in told],
        [e.line_type for e in told],
        [e.charged for e in told],
        [e.possible for e in told],
        [e.error for e in told],
        [e.raw for e in told],
        [e.stop for e in told],
        [e.next_id for e in told],
    )
    return {row["id"]: Ended(*row.values()) for row in rows}


async def settle_late(db: Db, ending: Ending, *, verified: bool = False) -> UUID | None:
    """unknown, lost or failed -> answered: a job that was over without an answer has one after all.

    *verified*: we asked the provider about a doubted callback; then a number counts for an answered job, too, whose
    lookup has none.

    A possible charge is decided, and a number makes the lookup `found`, whatever it had ended as or still waits for.
    Without a number, the lookup ends as if it had been told so in time. Its followers end with it.  Belongs into a
    transaction.  Returns the lookup's id, or None when the job had its answer, or this is another request's.
    """
    await _lock_open_job(db, ending.job_id)
    lookup_id = await _settle(db, ending, verified)
    if lookup_id is None:
        return None
    if ending.mobile is not None:
        await drop_unasked(db, lookup_id)
    await share_late_end(db, lookup_id)
    return lookup_id


async def _lock_open_job(db: Db, finished_id: UUID) -> None:
    """What its lookup still asks is locked: jobs come before lookups."""
    await db.execute(
        """
        SELECT
          FROM jobs
          JOIN finished_jobs USING (lookup_id)
         WHERE finished_jobs.id = $1
           FOR UPDATE OF jobs
        """,
        finished_id,
    )


async def _settle(db: Db, ending: Ending, verified: bool) -> UUID | None:
    row = await db.fetchrow(
        """
        WITH before AS (
            SELECT job.id, job.lookup_id, job.provider, job.possible,
                   COALESCE(job.reserved_on, (now() AT TIME ZONE 'UTC')::date) AS day,
                   $5::text IS NOT NULL AND lookups.final_status IS DISTINCT FROM 'found' AS is_news,
                   lookups.final_status, cardinality(lookups.providers) AS chain
              FROM finished_jobs AS job
              JOIN lookups ON lookups.id = job.lookup_id
             WHERE job.id = $1
               AND (job.state IN ('unknown', 'lost', 'failed')
                        AND ($2::text IS NULL OR job.request_id IS NULL OR job.request_id = $2)
                    OR job.state = 'answered' AND $10
                        AND $5::text IS NOT NULL AND lookups.final_status IS DISTINCT FROM 'found')
               FOR UPDATE
        ), job AS (
            UPDATE finished_jobs
               SET state = 'answered', answered_by = $3, credits = credits + $4, possible = 0,
                   request_id = COALESCE($2, request_id), error = $9, finished_at = now()
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
            INSERT INTO usage (provider, day, slot, charged, possible)
            SELECT provider, day, pg_backend_pid() % 16, $4, -possible
              FROM before
                ON CONFLICT (provider, day, slot) DO UPDATE
               SET charged = usage.charged + excluded.charged, possible = usage.possible + excluded.possible
        ), said AS (
            -- What each provider said last, and this one now.
            SELECT DISTINCT ON (spoken.provider)
                   spoken.provider,
                   CASE WHEN spoken.id = before.id OR spoken.state = 'answered' THEN 'no_number'
                        WHEN spoken.state = 'failed' THEN 'failed'
                        ELSE 'doubtful' END::chain_verdict AS verdict
              FROM finished_jobs AS spoken
              JOIN before USING (lookup_id)
             ORDER BY spoken.provider, spoken.id DESC
        ), rest AS (
            -- The number is there: whoever is being asked now is the last one. Or there is none: then this job is
            -- not what leaves the lookup in doubt.
            UPDATE jobs
               SET todo = CASE WHEN $5::text IS NULL THEN jobs.todo ELSE '{}' END,
                   verdict = COALESCE((SELECT max(said.verdict)
                                         FROM said
                                        WHERE said.provider <> jobs.provider
                                          AND said.provider <> ALL (jobs.todo)), 'no_number')
              FROM before
             WHERE jobs.lookup_id = before.lookup_id
        ), cleared AS (
            -- Everybody was asked, and nobody's answer is in doubt any more.
            SELECT CASE max(said.verdict) WHEN 'no_number' THEN 'not_found'
                                          WHEN 'failed' THEN 'failed' END::final_status AS status
              FROM before
             CROSS JOIN said
             WHERE before.final_status IN ('failed', 'unresolved')
            HAVING count(*) >= max(before.chain)
        )
        UPDATE lookups
           SET final_status = CASE WHEN is_news THEN 'found'
                                   ELSE COALESCE(cleared.status, lookups.final_status) END,
               finished_at  = CASE WHEN is_news OR cleared.status <> lookups.final_status THEN now()
                                   ELSE lookups.finished_at END,
               mobile       = CASE WHEN is_news THEN $5 ELSE lookups.mobile END,
               mobile_raw   = CASE WHEN is_news THEN $6 ELSE lookups.mobile_raw END,
               region       = CASE WHEN is_news THEN $7 ELSE lookups.region END,
               line_type    = CASE WHEN is_news THEN $8 ELSE lookups.line_type END,
               provider     = CASE WHEN is_news THEN before.provider ELSE lookups.provider END,
               reason       = CASE WHEN is_news OR cleared.status = 'not_found' THEN NULL ELSE lookups.reason END,
               credits      = lookups.credits + $4
          FROM before
          LEFT JOIN cleared ON true
         WHERE lookups.id = before.lookup_id
        RETURNING lookups.id
        """,
        ending.job_id,
        ending.request_id,
        ending.answered_by,
        ending.charged or NOTHING,
        ending.mobile,
        ending.mobile_raw,
        ending.region,
        ending.line_type,
        ending.error,
        verified,
    )
    return row["id"] if row else None


async def drop_unasked(db: Db, lookup_id: UUID) -> None:
    """queued -> gone: what has not been asked yet need not be."""
    await db.execute(
        """
        WITH dropped AS (
            DELETE FROM jobs
             WHERE lookup_id = $1
               AND state = 'queued'
            RETURNING lookup_id, spent
        )
        UPDATE lookups
           SET credits = credits + dropped.spent
          FROM dropped
         WHERE lookups.id = dropped.lookup_id
        """,
        lookup_id,
    )
