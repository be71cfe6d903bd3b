"""Find and claim what the reconciler acts on: jobs that wait for something that may never come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.ending import REMOVED
from enrichment.states import OpenJobState
from store.database import Db, transaction
from store.partitions import first_id


@dataclass(frozen=True, slots=True)
class OverdueJob:
    """A job that waits for something that never came, as the reconciler saw it."""

    id: UUID
    provider: str
    state: OpenJobState
    attempt: int
    request_id: str | None
    callback_expected: bool


@dataclass(frozen=True, slots=True)
class Outstanding:
    """The reconciler's duties that have something to do; True where that is not known yet."""

    jobs: bool = True
    held: bool = True  # or a provider is paused
    unswept: bool = True
    joined: bool = True  # open lookups that wait for another lookup's search, or to be decided after a retry
    crms: bool = True  # a CRM's sweep or walk is due
    selections: bool = True  # that are previewed or applied
    leased: bool = True  # a reading or a delivery is worked on
    campaigns: bool = True  # with rows to read, to begin, or to see to their end


async def look(db: Db) -> Outstanding:
    """Tell in one statement which duties have something to do."""
    row = await db.fetchrow(
        """
        SELECT EXISTS (SELECT FROM jobs) OR EXISTS (SELECT FROM finished_jobs WHERE check_at IS NOT NULL) AS jobs,
               EXISTS (SELECT FROM jobs WHERE held IS NOT NULL)
               OR EXISTS (SELECT FROM providers WHERE paused_at IS NOT NULL) AS held,
               EXISTS (SELECT FROM searches WHERE unswept) AS unswept,
               EXISTS (SELECT
                         FROM lookups
                        WHERE (reused_from IS NOT NULL OR insists) AND final_status IS NULL) AS joined,
               EXISTS (SELECT FROM connections WHERE sweep_due_at <= now() OR walk_due_at <= now()) AS crms,
               EXISTS (SELECT FROM selections WHERE state IN ('previewing', 'applying')) AS selections,
               EXISTS (SELECT FROM readings WHERE state = 'reading')
               OR EXISTS (SELECT FROM deliveries WHERE state = 'sending') AS leased,
               EXISTS (SELECT FROM campaigns WHERE state IN ('uploaded', 'reading', 'sampling', 'running')
                                                    AND (state <> 'uploaded' OR layout IS NULL))
               OR EXISTS (SELECT FROM campaign_rows WHERE lookup_id IS NOT NULL AND status IS NULL) AS campaigns
        """
    )
    assert row is not None  # noqa: S101  it counts
    return Outstanding(
        row["jobs"], row["held"], row["unswept"], row["joined"], row["crms"], row["selections"], row["leased"],
        row["campaigns"],
    )  # fmt: skip


async def expired_leases(db: Db, limit: int) -> list[OverdueJob]:
    """Return submitting jobs whose lease has expired: their submitter fell silent."""
    rows = await db.fetch(
        """
        SELECT id, provider, state::text, attempt, request_id, callback_expected
          FROM jobs
         WHERE state = 'submitting'
           AND lease_expires_at < now()
         ORDER BY lease_expires_at
         LIMIT $1
        """,
        limit,
    )
    return [_overdue(row) for row in rows]


async def past_deadline(db: Db, deadline: timedelta, limit: int, polled: Sequence[str] = ()) -> list[OverdueJob]:
    """Return awaiting jobs that are due and cannot be polled any more: no request_id, or older than *deadline*.

    A job of a provider that is *polled* is polled once more after an outage: its answer may wait there. `claim_polls`
    then sets its due_at behind the deadline and behind the poll's answer, so that no other provider is asked meanwhile.
    After twice the deadline it is given up in any case.
    """
    rows = await db.fetch(
        """
        SELECT due.*
          FROM providers
         CROSS JOIN LATERAL (
               SELECT id, provider, state::text, attempt, request_id, callback_expected
                 FROM jobs
                WHERE provider = providers.name AND state = 'awaiting' AND due_at <= now()
                  AND (request_id IS NULL
                       OR submitted_at < now() - $1::interval
                          AND (due_at > submitted_at + $1::interval OR provider <> ALL ($3::text[])
                               OR submitted_at < now() - 2 * $1::interval))
                ORDER BY due_at, id   -- in the order of jobs_waiting: nothing else is read
                LIMIT $2) AS due
         LIMIT $2
        """,
        deadline,
        limit,
        list(polled),
    )
    return [_overdue(row) for row in rows]


async def queued_too_long(db: Db, at_most: timedelta, limit: int) -> list[OverdueJob]:
    """Return queued jobs, held or not, older than *at_most*."""
    rows = await db.fetch(
        """
        SELECT id, provider, state::text, attempt, request_id, callback_expected
          FROM jobs
         WHERE state = 'queued'
           AND id < $1
         ORDER BY id
         LIMIT $2
        """,
        first_id(datetime.now(UTC) - at_most),
        limit,
    )
    return [_overdue(row) for row in rows]


def _overdue(row: asyncpg.Record) -> OverdueJob:
    return OverdueJob(
        row["id"], row["provider"], row["state"], row["attempt"], row["request_id"], row["callback_expected"]
    )


async def wait_for_callback(db: Db, job_id: UUID, attempt: int, patience: timedelta) -> bool:
    """Move a job submitting -> awaiting: its submitter may have asked, and the callback's token finds the job."""
    row = await db.fetchrow(
        """
        UPDATE jobs
           SET state = 'awaiting',
               lease_expires_at = NULL,
               due_at = now() + $3,
               error = 'its submitter fell silent; waiting for the callback'
         WHERE id = $1
           AND attempt = $2
           AND state = 'submitting'
           AND lease_expires_at < clock_timestamp()
        RETURNING id
        """,
        job_id,
        attempt,
        patience,
    )
    return row is not None


async def pass_over_removed(pool: asyncpg.Pool[Any], configured: Sequence[str], limit: int) -> int:
    """Move queued jobs of providers that are not *configured* to their next configured provider; else end the search.

    Return how many jobs were moved or dropped.
    """
    async with transaction(pool) as connection:
        jobs = await connection.fetch(
            """
            SELECT jobs.id
              FROM jobs
             WHERE jobs.state = 'queued'
               AND jobs.provider <> ALL($1::text[])
             ORDER BY jobs.id
             LIMIT $2
               FOR UPDATE SKIP LOCKED
            """,
            list(configured),
            limit,
        )
        await connection.execute(
            """
            WITH gone AS (
                DELETE FROM jobs
                 USING unnest($2::uuid[], $3::uuid[]) AS moved (id, new_id)
                 WHERE jobs.id = moved.id
                RETURNING jobs.search_id, jobs.lookup_id, jobs.source, jobs.provider, jobs.held, jobs.place,
                          moved.new_id,
                          ARRAY(SELECT turn FROM unnest(jobs.todo) WITH ORDINALITY AS todo (turn, place)
                                 WHERE turn = ANY($1::text[]) ORDER BY todo.place) AS todo
            ), chained AS (
                -- Only a person lets go of a flood; the claim holds it again for everything else.
                INSERT INTO jobs (id, search_id, lookup_id, source, provider, held, place, todo)
                SELECT new_id, search_id, lookup_id, source, todo[1], CASE WHEN held = 'flood' THEN held END, place,
                       todo[2:]
                  FROM gone
                 WHERE todo <> '{}'
            )
            UPDATE searches
               SET status = CASE WHEN gone.todo <> '{}' THEN NULL
                                 WHEN said = '{}' AND NOT is_doubtful THEN 'failed'
                                 ELSE search_verdict(said, is_doubtful) END,
                   reason = left(concat_ws('; ', searches.reason, gone.provider || ': ' || $4), 2000),
                   ended_at = CASE WHEN gone.todo = '{}' THEN now() END,
                   unswept = gone.todo = '{}'
              FROM gone
             WHERE searches.id = gone.search_id
               AND searches.ended_at IS NULL
            """,
            list(configured),
            [job["id"] for job in jobs],
            [uuid7() for _ in jobs],
            REMOVED,
        )
    return len(jobs)
