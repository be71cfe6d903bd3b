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
from enrichment.pacing import permits, spend
from enrichment.states import OpenJobState
from store.claim import read_gate, save_meters
from store.database import Db, transaction
from store.partitions import first_id

LAST_POLL = timedelta(minutes=2)  # for a job's last poll to be sent, as the limits allow, and answered


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
class Poll:
    """A job to poll, *after* so many seconds. *is_check*: the job has ended; the poll verifies its answer."""

    id: UUID
    request_id: str
    after: float
    is_check: bool = False
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Outstanding:
    """The reconciler's duties that have something to do; True where that is not known yet."""

    jobs: bool = True
    held: bool = True  # or a provider is paused
    unswept: bool = True
    joined: bool = True  # open lookups that wait for a search that began for another lookup


async def look(db: Db) -> Outstanding:
    """Tell in one statement which duties have something to do."""
    row = await db.fetchrow(
        """
        SELECT EXISTS (SELECT FROM jobs) OR EXISTS (SELECT FROM finished_jobs WHERE check_at IS NOT NULL) AS jobs,
               EXISTS (SELECT FROM jobs WHERE held IS NOT NULL)
               OR EXISTS (SELECT FROM providers WHERE paused_at IS NOT NULL) AS held,
               EXISTS (SELECT FROM searches WHERE unswept) AS unswept,
               EXISTS (SELECT FROM lookups WHERE reused_from IS NOT NULL AND final_status IS NULL) AS joined
        """
    )
    assert row is not None  # noqa: S101  it counts
    return Outstanding(row["jobs"], row["held"], row["unswept"], row["joined"])


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
    then sets its due_at behind the deadline and behind the poll's answer, so that nobody else is asked meanwhile.
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


async def claim_polls(
    pool: asyncpg.Pool[Any],
    provider: str,
    *,
    most: int,
    first: timedelta,
    longest: timedelta,
    deadline: timedelta,
) -> list[Poll]:
    """Claim due awaiting jobs of *provider*, with a permit each, and schedule their next polls at once.

    So a poll without a result writes nothing, and a poll that was never made is repeated. While questions wait, polls
    take no more than half of the allowance. A paused provider is polled too: it may answer earlier questions.
    """
    async with transaction(pool) as connection:
        gate = await read_gate(
            connection, provider, "any", *(["poll"] if await _questions_wait(connection, provider) else [])
        )
        if gate.shut_for > 0:
            return []
        times = permits(gate.meters, gate.now, most)
        if not times:
            return []
        rows = await _take_due(connection, provider, len(times), first, longest, deadline)
        await save_meters(connection, provider, spend(gate.meters, gate.now, times[: len(rows)]))
    return [
        Poll(row["id"], row["request_id"], gate.until(at), row["is_check"], row["region_hint"])
        for row, at in zip(rows, times, strict=False)
    ]


async def has_due_polls(db: Db, provider: str) -> bool:
    """Tell whether `claim_polls` would find a job; ask this first, because `claim_polls` takes the provider's lock."""
    found: bool = await db.fetchval(
        """
        SELECT COALESCE((SELECT min(due_at)   -- the first in its index; EXISTS might read all until one is due
                           FROM jobs
                          WHERE provider = $1 AND state = 'awaiting') <= now(), false)
            OR EXISTS (SELECT FROM finished_jobs WHERE provider = $1 AND check_at <= now())
        """,
        provider,
    )
    return found


async def _questions_wait(db: Db, provider: str) -> bool:
    waiting: bool = await db.fetchval(
        """
        SELECT COALESCE(LEAST((SELECT min(due_at)
                                 FROM jobs
                                WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries = 0),
                              (SELECT min(due_at)
                                 FROM jobs
                                WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries > 0)) <= now(),
                        false)
        """,
        provider,
    )
    return waiting


async def _take_due(
    db: Db, provider: str, most: int, first: timedelta, longest: timedelta, deadline: timedelta
) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await db.fetch(
        """
        WITH due AS MATERIALIZED (
            SELECT id
              FROM jobs
             WHERE provider = $1 AND state = 'awaiting' AND due_at <= now() AND request_id IS NOT NULL
               AND due_at <= submitted_at + $5::interval   -- later: it was polled for the last time
             ORDER BY due_at, id
             LIMIT $2
               FOR UPDATE SKIP LOCKED
        ), polled AS (
            UPDATE jobs
               SET polls = polls + 1,
                   -- Twice as long each time, with a tenth of jitter; at the deadline at the latest. The last poll is
                   -- made then, or after an outage: `past_deadline` leaves it the time to be answered.
                   due_at = CASE WHEN submitted_at + $5::interval <= now() THEN now() + $6::interval
                                 ELSE LEAST(now() + LEAST($3::interval * power(2, LEAST(polls, 20)), $4::interval)
                                                    * (0.9 + 0.2 * random()),
                                            submitted_at + $5::interval) END
              FROM due
             WHERE jobs.id = due.id
            RETURNING jobs.id, jobs.lookup_id, jobs.request_id
        ), to_check AS MATERIALIZED (
            SELECT id
              FROM finished_jobs
             WHERE provider = $1 AND check_at <= now()
             LIMIT GREATEST($2 - (SELECT count(*) FROM due), 0)
               FOR UPDATE SKIP LOCKED
        ), checked AS (
            UPDATE finished_jobs
               SET polls = polls + 1,
                   -- Beyond the deadline too: this poll's answer may not be stored, and `end_check` ends it.
                   check_at = CASE WHEN submitted_at + 2 * $5::interval > now()
                                   THEN now() + LEAST($3::interval * power(2, LEAST(polls, 20)), $4::interval) END
              FROM to_check
             WHERE finished_jobs.id = to_check.id
            RETURNING finished_jobs.id, finished_jobs.lookup_id, finished_jobs.check_request_id AS request_id
        ), asked AS (
            SELECT *, false AS is_check FROM polled
            UNION ALL
            SELECT *, true FROM checked
        )
        SELECT asked.id, asked.request_id, asked.is_check, lookups.region_hint
          FROM asked
          JOIN lookups ON lookups.id = asked.lookup_id
        """,
        provider,
        most,
        first,
        longest,
        deadline,
        LAST_POLL,
    )
    return rows


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


async def poll_now(db: Db, job_ids: list[UUID]) -> None:
    """Schedule polls of these awaiting jobs at once, because their callbacks were unclear."""
    await db.execute(
        """
        UPDATE jobs
           -- Not later than it was: one that was due before its deadline is still polled once after it.
           SET due_at = LEAST(due_at, now())
         WHERE id = ANY($1::uuid[])
           AND state = 'awaiting'
           AND request_id IS NOT NULL
        """,
        job_ids,
    )


async def end_last_polls(db: Db, job_ids: Sequence[UUID], deadline: timedelta) -> None:
    """Make jobs due whose last poll has brought no answer: they can be given up."""
    await db.execute(
        """
        UPDATE jobs
           SET due_at = LEAST(due_at, now())
         WHERE id = ANY($1::uuid[])
           AND state = 'awaiting'
           AND due_at > submitted_at + $2::interval
           AND submitted_at + $2::interval < now()
        """,
        job_ids,
        deadline,
    )


async def poll_by(db: Db, job_id: UUID, request_id: str) -> None:
    """Schedule a poll of a job that has no answer, by the request that a callback named: it could not be applied."""
    await db.execute(
        """
        WITH open AS (
            UPDATE jobs SET request_id = $2, due_at = LEAST(due_at, now())
             WHERE id = $1 AND state = 'awaiting' AND request_id IS NULL
        )
        UPDATE finished_jobs
           SET check_request_id = $2, check_at = now()
         WHERE id = $1
           AND state IN ('unknown', 'lost', 'failed')
           AND (request_id IS NULL OR request_id = $2)
        """,
        job_id,
        request_id,
    )


async def end_check(db: Db, job_id: UUID) -> None:
    """Stop polling a finished job: the doubt about its answer is settled."""
    await db.execute("UPDATE finished_jobs SET check_at = NULL WHERE id = $1", job_id)


async def end_old_checks(db: Db, deadline: timedelta, polled: Sequence[str]) -> None:
    """Stop the checks that nobody polls: their provider is not *polled* any more, and twice the deadline is over."""
    await db.execute(
        """
        UPDATE finished_jobs
           SET check_at = NULL
         WHERE check_at <= now()
           AND provider <> ALL ($2::text[])
           AND submitted_at < now() - 2 * $1::interval
        """,
        deadline,
        list(polled),
    )


async def keep_unreadable(db: Db, job_id: UUID, reason: str, body: bytes) -> None:
    """Store an awaiting job's unreadable poll answer (its first 64 KiB), for a person to read."""
    await db.execute(
        "UPDATE jobs SET error = $2, raw = $3 WHERE id = $1 AND state = 'awaiting'",
        job_id,
        reason,
        body[:65_536].decode("utf-8", "replace").replace("\0", "�"),
    )


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
                RETURNING jobs.search_id, jobs.lookup_id, jobs.provider, jobs.place, moved.new_id,
                          ARRAY(SELECT turn FROM unnest(jobs.todo) WITH ORDINALITY AS todo (turn, place)
                                 WHERE turn = ANY($1::text[]) ORDER BY todo.place) AS todo
            ), chained AS (
                INSERT INTO jobs (id, search_id, lookup_id, provider, place, todo)
                SELECT new_id, search_id, lookup_id, todo[1], place, todo[2:]
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
