"""Finish jobs: one statement for inline answers, callbacks, polls and the reconciler.

It takes the row out of `jobs`, so the first process to do so wins. The same statement settles the ledger, and queues
the next provider's job or ends the search. That commit is the end; `store/ends.py` ends the lookups after it. What was
said about a suppressed person, or with a suppressed number, is not kept: the charge stands, and the search ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from enrichment.decide import SUPPRESSED
from enrichment.ending import REMOVED, REPORTED_WRONG
from store.columns import Columns
from store.database import Db

if TYPE_CHECKING:
    from enrichment.ending import Ending

ENDINGS = Columns(
    first=5,
    job_id="uuid", state="text", attempt="int", request_id="text", answered_by="text", mobile="text",
    number_json="jsonb", charged="numeric", possible="bool", error="text", raw="text", stop="bool", next_id="uuid",
    seen_state="text", seen_request_id="text", number_hash="bytea",
)  # fmt: skip

# The race is decided here: a row can be deleted only once.
GONE = """
        taken AS MATERIALIZED (
            DELETE FROM jobs
             USING ending
             WHERE jobs.id = ending.job_id
               AND jobs.state IN ('queued', 'submitting', 'awaiting')
               AND (ending.attempt IS NULL OR ending.attempt = jobs.attempt)
               AND (ending.request_id IS NULL OR jobs.request_id IS NULL OR ending.request_id = jobs.request_id)
               -- The reconciler acts on what it saw: not on a job that was accepted, renewed or requeued meanwhile.
               AND (ending.seen_state IS NULL
                    OR jobs.state = ending.seen_state::job_state
                       AND jobs.request_id IS NOT DISTINCT FROM ending.seen_request_id
                       AND (jobs.state <> 'submitting' OR jobs.lease_expires_at < clock_timestamp())
                       AND (jobs.state <> 'awaiting' OR jobs.due_at <= clock_timestamp()))
            RETURNING jobs.id, jobs.search_id, jobs.lookup_id, jobs.source, jobs.provider, jobs.place, jobs.attempt,
                      jobs.polls, jobs.reserved, jobs.reserved_on, jobs.submitted_at,
                      CASE WHEN ending.state = 'unknown' THEN jobs.claimed_by END AS claimed_by, jobs.held,
                      ARRAY(SELECT turn FROM unnest(jobs.todo) WITH ORDINALITY AS todo (turn, place)
                             WHERE turn = ANY($1::text[]) ORDER BY todo.place) AS todo,
                      ARRAY(SELECT turn FROM unnest(jobs.todo) AS todo (turn)
                             WHERE turn <> ALL($1::text[])) AS removed,
                      -- A question that was taken back may still be answered: then it costs on that day.
                      COALESCE(jobs.reserved_on, (now() AT TIME ZONE 'UTC')::date) AS day,
                      ending.state::job_state AS ends_as, ending.answered_by, ending.mobile, ending.number_json,
                      ending.next_id, ending.stop,
                      COALESCE(ending.request_id, jobs.request_id) AS request_id,
                      -- An answer makes earlier errors irrelevant.
                      COALESCE(ending.error, CASE WHEN ending.state <> 'answered' THEN jobs.error END) AS error,
                      COALESCE(ending.raw, CASE WHEN ending.state <> 'answered' THEN jobs.raw END) AS raw,
                      COALESCE(ending.charged, 0) AS charged,
                      CASE WHEN ending.possible THEN jobs.reserved ELSE 0 END AS possible,
                      CASE WHEN (SELECT EXISTS (SELECT FROM suppressions))   -- usually there are none
                           THEN EXISTS (SELECT FROM suppressions WHERE hash = ending.number_hash)
                                OR EXISTS (SELECT
                                             FROM searches
                                             JOIN suppressions ON suppressions.hash = ANY (searches.asked)
                                            WHERE searches.id = jobs.search_id)
                           ELSE false END AS is_suppressed
        ), gone AS MATERIALIZED (
            SELECT id, search_id, lookup_id, source, provider, place, attempt, polls, reserved, reserved_on,
                   submitted_at, claimed_by, removed, day, ends_as, answered_by, next_id, stop, request_id, charged,
                   possible, is_suppressed,
                   -- Nobody else is asked, nor for a flood that no person has let go.
                   CASE WHEN is_suppressed OR held = 'flood' THEN '{}' ELSE todo END AS todo,
                   CASE WHEN is_suppressed THEN NULL ELSE mobile END AS mobile,
                   CASE WHEN is_suppressed THEN NULL ELSE number_json END AS number_json,
                   CASE WHEN is_suppressed THEN $4 ELSE error END AS error,
                   CASE WHEN is_suppressed THEN NULL ELSE raw END AS raw
              FROM taken
        )
"""

BOOKED = """
        kept AS (
            INSERT INTO finished_jobs (id, search_id, lookup_id, source, provider, state, answered_by, attempt, polls,
                                       request_id, credits, possible, reserved_on, submitted_at, claimed_by,
                                       error, raw)
            SELECT id, search_id, lookup_id, source, provider, ends_as, answered_by, attempt, polls, request_id,
                   charged, possible, reserved_on, submitted_at, claimed_by, error, raw
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
            INSERT INTO usage (provider, source, day, slot, reserved, charged, possible,
                               found, answered, failed, unknown, lost)
            SELECT provider, source, day, pg_backend_pid() % 16,
                   -sum(reserved), sum(charged), sum(possible),
                   count(*) FILTER (WHERE mobile IS NOT NULL),
                   count(*) FILTER (WHERE ends_as = 'answered' AND mobile IS NULL),
                   count(*) FILTER (WHERE ends_as = 'failed'),
                   count(*) FILTER (WHERE ends_as = 'unknown'),
                   count(*) FILTER (WHERE ends_as = 'lost')
              FROM gone
             GROUP BY provider, source, day
             ORDER BY provider, source, day
                ON CONFLICT (provider, source, day, slot) DO UPDATE
               SET reserved = usage.reserved + excluded.reserved,
                   charged = usage.charged + excluded.charged,
                   possible = usage.possible + excluded.possible,
                   found = usage.found + excluded.found,
                   answered = usage.answered + excluded.answered,
                   failed = usage.failed + excluded.failed,
                   unknown = usage.unknown + excluded.unknown,
                   lost = usage.lost + excluded.lost
        )
"""

# The search hears the answer. A late number may have ended it before: then it stays ended.
HEARD = """
        heard AS (
            UPDATE searches
               SET (said, numbers, providers, reason, ended_at, status) = (
                   SELECT heard.said,
                          CASE WHEN gone.number_json ->> 'raw' IS NULL AND gone.mobile IS NULL THEN searches.numbers
                               ELSE searches.numbers || jsonb_build_object(gone.provider, gone.number_json) END,
                          -- A search that stops in doubt does not speak for those that it never asked.
                          CASE WHEN gone.stop
                               THEN ARRAY(SELECT named.provider
                                            FROM unnest(searches.providers) WITH ORDINALITY AS named (provider, place)
                                           WHERE named.provider <> ALL (gone.todo)
                                           ORDER BY named.place)
                               ELSE searches.providers END,
                          CASE WHEN gone.is_suppressed AND searches.status IS NULL THEN $4 ELSE
                          left(NULLIF(concat_ws('; ', searches.reason, gone.provider || ': ' || heard.complaint,
                                                CASE WHEN NOT heard.is_found AND gone.removed <> '{}'
                                                     THEN array_to_string(gone.removed, ', ') || ': ' || $3 END), ''),
                               2000) END,
                          CASE WHEN next.is_asked THEN NULL
                               WHEN heard.is_found THEN now()
                               ELSE COALESCE(searches.ended_at, now()) END,
                          CASE WHEN next.is_asked THEN NULL
                               WHEN heard.is_found THEN 'found'
                               WHEN searches.status IS NOT NULL THEN searches.status
                               WHEN gone.is_suppressed THEN 'suppressed'
                               ELSE search_verdict(heard.said, searches.is_doubtful) END
                     FROM (SELECT searches.said || jsonb_build_object(gone.provider, gone.ends_as) AS said,
                                  gone.mobile IS NOT NULL AND gone.mobile <> ALL (searches.wrong) AS is_found,
                                  CASE WHEN gone.mobile = ANY (searches.wrong) THEN $2
                                       WHEN gone.ends_as <> 'answered' OR gone.mobile IS NULL THEN gone.error
                                  END AS complaint) AS heard
                    CROSS JOIN LATERAL (
                          SELECT searches.ended_at IS NULL AND NOT heard.is_found
                                 AND NOT gone.stop AND gone.todo <> '{}' AS is_asked) AS next)
              FROM (SELECT * FROM gone ORDER BY search_id) AS gone   -- the order of locks
             WHERE searches.id = gone.search_id
            RETURNING gone.id, gone.search_id, gone.lookup_id, gone.source, gone.provider, gone.ends_as, gone.place,
                      gone.todo, gone.next_id, gone.is_suppressed, searches.status::text AS status
        ), chained AS (
            -- The next provider that is not paused; when all are, the first of them holds the job.
            INSERT INTO jobs (id, search_id, lookup_id, source, provider, held, place, todo)
            SELECT heard.next_id, heard.search_id, heard.lookup_id, heard.source, turn.provider,
                   CASE WHEN turn.paused THEN 'paused' END,
                   heard.place + 1, array_remove(heard.todo, turn.provider)
              FROM heard
             CROSS JOIN LATERAL (
                   SELECT wanted.provider, providers.paused_at IS NOT NULL AS paused
                     FROM unnest(heard.todo) WITH ORDINALITY AS wanted (provider, place)
                     LEFT JOIN providers ON providers.name = wanted.provider
                    ORDER BY providers.paused_at IS NOT NULL, wanted.place
                    LIMIT 1) AS turn
             WHERE heard.status IS NULL
            RETURNING search_id, provider
        )
        SELECT heard.id, heard.search_id, heard.lookup_id, heard.provider, heard.ends_as::text AS state, heard.status,
               heard.is_suppressed, chained.provider AS next_provider
          FROM heard
          LEFT JOIN chained ON chained.search_id = heard.search_id
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended. *search_status* is None while the next provider is asked.

    *is_suppressed*: its person or number is, so nothing of the answer may be stored.
    """

    job_id: UUID
    search_id: UUID
    lookup_id: UUID  # the lookup that the search began for
    provider: str
    state: str
    search_status: str | None
    next_provider: str | None
    is_suppressed: bool = False


async def finish(db: Db, endings: Sequence[Ending], configured: Sequence[str]) -> dict[UUID, Ended]:
    """End the jobs that are still open and whose attempt and request_id match; return them by id.

    queued, submitting or awaiting -> answered, failed, unknown or lost. For one attempt of a job, only the first of
    *endings* counts: an older attempt's must not hide a newer one's. Providers that are not *configured* are skipped.
    """
    first: dict[tuple[UUID, int | None], Ending] = {}
    for ending in endings:
        first.setdefault((ending.job_id, ending.attempt), ending)
    rows = await db.fetch(
        f"WITH {ENDINGS.cte('ending')}, {GONE}, {BOOKED}, {HEARD}",
        list(configured),
        REPORTED_WRONG,
        REMOVED,
        SUPPRESSED,
        *ENDINGS.of(sorted(first.values(), key=lambda ending: ending.job_id)),
    )
    return {
        row["id"]: Ended(
            row["id"], row["search_id"], row["lookup_id"], row["provider"], row["state"], row["status"],
            row["next_provider"], row["is_suppressed"],
        )
        for row in rows
    }  # fmt: skip
