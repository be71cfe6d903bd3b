"""After a restore to an older moment: hold every question that may have been paid for already.

A database restored from a backup ends at a moment T. Whatever was asked between T and the loss is forgotten, and paid
for. Three kinds of questions would repeat it:

    queued at T       asked soon after it, perhaps; and the next provider of a search that ran at T
    come in again     contacts that sweeps list since T, events that their senders repeat, readings queued at T
    decided anew      open lookups of T whose search ended after it without an answer for them

They have one thing in common: their lookup is there before all that the lost database knew has come in again. When
that is, only a person can say, because an event does not tell whether it came before. So `begin` marks every lookup,
those to come as well, and `close` ends this: a later lookup is asked about as usual. The claim holds the jobs of
marked lookups (REPEATING), in the statement that would ask: a pause that ends, a chain that goes on and a receiver
that took events before `begin` need no rule of their own. Contacts that are named and not read when the restore is
closed are marked themselves, and so are the lookups that they become.

A held job waits until a person releases it, and its search is not held again. A person's retry after `begin` is not
held. Jobs that were being asked at T are no danger: they are polled, or end as `unknown`. So is a callback for a job
that was queued at T: its token finds the job, which ends with the number that was paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from store import audit
from store.database import Db
from store.partitions import first_id

HELD_AT_ONCE = 5000  # jobs per statement

# Which jobs of `queue` may repeat a question that was paid for before a restore. Usually there was none: then this is
# all that it costs. Scalars, not EXISTS: the planner would read all searches for the few in the queue.
REPEATING = """
        repeating AS MATERIALIZED (
            SELECT queue.id
              FROM queue
             WHERE (SELECT EXISTS (SELECT FROM restores))
               AND (SELECT true FROM released_searches WHERE search_id = queue.search_id) IS NULL
               AND (SELECT true
                      FROM restores
                     WHERE (queue.lookup_id < restores.upto
                            OR (SELECT true FROM marked_lookups WHERE lookup_id = queue.lookup_id))
                       -- A person asked for it after the restore.
                       AND NOT (queue.search_id >= restores.began_id
                                AND COALESCE((SELECT is_retry FROM searches WHERE id = queue.search_id), false))
                     LIMIT 1)
        )
"""


@dataclass(frozen=True, slots=True)
class Restore:
    """A restored database whose data ends at *since*. *is_new*: `begin` made it."""

    id: UUID
    since: datetime
    began_at: datetime
    closed_at: datetime | None = None
    is_new: bool = False


async def find_open(db: Db) -> Restore | None:
    """Return the restore that is still open, if any."""
    row = await db.fetchrow("SELECT id, since, began_at, closed_at FROM restores WHERE closed_at IS NULL")
    return Restore(**row) if row else None


async def begin(db: Db, since: datetime, *, who: str) -> Restore:
    """Mark every lookup as one whose question may have been paid for after *since*, and record it.

    The same restore again changes nothing, except to an earlier *since*. One whose data ends after the last one began
    is another restore: what a person released before is held again. Call inside a transaction.
    """
    await db.execute("LOCK TABLE restores IN SHARE ROW EXCLUSIVE MODE")
    before = await find_open(db)
    if before is not None and since <= before.began_at:
        earlier = min(since, before.since)
        await db.execute("UPDATE restores SET since = $2 WHERE id = $1", before.id, earlier)
        return Restore(before.id, earlier, before.began_at)
    if before is not None:
        await _close(db, before)
    now: datetime = await db.fetchval("SELECT clock_timestamp()")
    made = Restore(uuid7(), since, now, is_new=True)
    await db.execute("DELETE FROM released_searches")
    await db.execute(
        "INSERT INTO restores (id, since, began_at, began_id, who) VALUES ($1, $2, $3, $4, $5)",
        made.id,
        since,
        now,
        first_id(now),
        who,
    )
    detail = {"since": since.isoformat()}
    await audit.record(db, who=who, action="reconcile", subject=made.id, detail=detail)
    return made


async def close(db: Db, restore: Restore, *, who: str) -> int:
    """Mark no later lookup, except those of contacts that are yet to be read; return how many these are.

    Call inside a transaction.
    """
    unread: int = await db.fetchval(
        """
        WITH marked AS (
            UPDATE readings
               SET may_repeat = true
             WHERE id IN (SELECT id
                            FROM readings
                           WHERE state IN ('queued', 'reading')
                           ORDER BY source, record_id   -- as those who name contacts lock them
                             FOR UPDATE)
            RETURNING id
        )
        SELECT count(*) FROM marked
        """
    )
    # After the readings are locked: those that ended before have their jobs. Whatever the clock that made their ids.
    await hold_all(db)
    await _close(db, restore)
    await audit.record(db, who=who, action="reconcile", subject=restore.id, detail={"done": True})
    return unread


async def mark_lookups(db: Db, ids: Sequence[UUID]) -> None:
    """Mark the lookups of contacts that were named before the restore was closed."""
    await db.execute(
        """
        INSERT INTO marked_lookups (lookup_id)
        SELECT DISTINCT id FROM unnest($1::uuid[]) AS marked (id)
            ON CONFLICT DO NOTHING
        """,
        ids,
    )


async def _close(db: Db, restore: Restore) -> None:
    now: datetime = await db.fetchval("SELECT clock_timestamp()")
    await db.execute(
        "UPDATE restores SET closed_at = $2, upto = $3 WHERE id = $1 AND closed_at IS NULL",
        restore.id,
        now,
        first_id(now),
    )


async def hold_some(db: Db, after: UUID | None = None) -> tuple[int, UUID | None]:
    """Hold the jobs after *after* that may repeat a question; return how many, and the last one if there are more."""
    rows = await db.fetch(f"WITH {_QUEUED}, {REPEATING}, {_HOLD}", after or UUID(int=0), HELD_AT_ONCE)
    return sum(row["is_held"] for row in rows), rows[-1]["id"] if len(rows) == HELD_AT_ONCE else None


_QUEUED = """
        queue AS MATERIALIZED (
            SELECT id, search_id, lookup_id
              FROM jobs
             WHERE state = 'queued'
               AND id > $1
             ORDER BY id
             LIMIT $2
               FOR UPDATE
        )
"""
_HOLD = """
        held AS (
            UPDATE jobs
               SET held = 'restored'
              FROM repeating
             WHERE jobs.id = repeating.id
               AND jobs.held IS DISTINCT FROM 'restored'
            RETURNING jobs.id
        )
        SELECT queue.id, held.id IS NOT NULL AS is_held
          FROM queue
          LEFT JOIN held USING (id)
         ORDER BY queue.id
"""


async def hold_all(db: Db) -> int:
    """Hold every queued job that may repeat a question; return how many were not held for it before."""
    total, after = await hold_some(db)
    while after is not None:
        held, after = await hold_some(db, after)
        total += held
    return total
