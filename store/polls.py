"""Poll: claim the jobs whose answer no callback brought, within the limits, and the checks of doubted answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.pacing import permits, spend
from store.database import Db, transaction
from store.gate import read_gate, save_meters

LAST_POLL = timedelta(minutes=2)  # for a job's last poll to be sent, as the limits allow, and answered


@dataclass(frozen=True, slots=True)
class Poll:
    """A job to poll, *after* so many seconds. *is_check*: the job has ended; the poll verifies its answer."""

    id: UUID
    request_id: str
    after: float
    is_check: bool = False
    region: str | None = None


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
    """Stop checks whose provider is not *polled* any more, once twice the deadline is over."""
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
