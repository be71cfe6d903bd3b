"""Leases: the statements that are the same for jobs, readings and deliveries.

    claim    -> working  by the table's own module: attempt + 1, a lease, and the id of the claim
    renew    working     the process is alive
    undo     -> queued   the claim failed, and was committed nevertheless: nothing was done
    requeue  -> queued   a try failed; the next one is due later
    rescue   -> queued   the process fell silent: the try counts, and what it did may be done again

Every write of claimed work is fenced by id, attempt and state. Jobs cost money, so their undo, requeue and rescue are
their own (store/asked.py, store/sweep.py): a question that may have been asked is not asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from store.database import Db

SILENT = "the process that worked on it fell silent"


@dataclass(frozen=True, slots=True)
class Postponed:
    """A failed try: the next one is due *after* that time. *counts*: whether it is one of the failures in a row."""

    id: UUID
    attempt: int
    after: timedelta
    error: str
    counts: bool = True


class Leases:
    """The leases of one table, whose rows are claimed from `queued` into the state *working*.

    *order*: the column in whose order others lock several rows.
    """

    def __init__(self, table: str, working: str, order: str = "id") -> None:
        self._renew, self._undo, self._requeue, self._rescue = (
            text.format(table=table, working=working, order=order) for text in (_RENEW, _UNDO, _REQUEUE, _RESCUE)
        )

    async def renew(self, db: Db, leased: Sequence[tuple[UUID, int]], lease: timedelta) -> set[tuple[UUID, int]]:
        """Restart the leases of these (id, attempt), if they are still worked on. Return those that are still ours.

        One process may hold two attempts of one item: the earlier one is over.
        """
        ids, attempts = [id for id, _ in leased], [attempt for _, attempt in leased]
        rows = await db.fetch(self._renew, ids, attempts, lease)
        return {(row["id"], row["attempt"]) for row in rows}

    async def undo(self, db: Db, claim_id: UUID) -> list[UUID]:
        """Queue again what a failed claim took, and return it: the process saw the commit fail, and did nothing.

        A claim that is still being committed is not found: then its leases expire.
        """
        return [row["id"] for row in await db.fetch(self._undo, claim_id)]

    async def requeue(self, db: Db, postponed: Sequence[Postponed]) -> set[UUID]:
        """Queue again what failed. Return what was still ours."""
        rows = await db.fetch(
            self._requeue,
            [one.id for one in postponed],
            [one.attempt for one in postponed],
            [one.after for one in postponed],
            [one.counts for one in postponed],
            [one.error for one in postponed],
        )
        return {row["id"] for row in rows}

    async def rescue(self, db: Db, limit: int) -> list[UUID]:
        """Queue again up to *limit* rows whose lease has expired, and return them."""
        return [row["id"] for row in await db.fetch(self._rescue, limit, SILENT)]


_RENEW = """
        WITH mine AS MATERIALIZED (
            SELECT {table}.id
              FROM {table}
              JOIN unnest($1::uuid[], $2::int[]) AS mine (id, attempt) USING (id, attempt)
             WHERE {table}.state = '{working}'
               FOR UPDATE OF {table} SKIP LOCKED   -- one whose result is being written needs no lease any more
        )
        UPDATE {table}
           SET lease_expires_at = clock_timestamp() + $3
          FROM mine
         WHERE {table}.id = mine.id
        RETURNING {table}.id, {table}.attempt
"""

_UNDO = """
        UPDATE {table}
           SET state = 'queued', lease_expires_at = NULL, claimed_by = NULL
         WHERE claimed_by = $1
           AND state = '{working}'
        RETURNING id
"""

_REQUEUE = """
        WITH mine AS MATERIALIZED (
            SELECT {table}.id, after, counts, postponed.error
              FROM {table}
              JOIN unnest($1::uuid[], $2::int[], $3::interval[], $4::bool[], $5::text[])
                   AS postponed (id, attempt, after, counts, error) USING (id, attempt)
             WHERE {table}.state = '{working}'
             ORDER BY {table}.{order}
               FOR UPDATE OF {table}
        )
        UPDATE {table}
           SET state = 'queued',
               due_at = now() + mine.after,
               tries = tries + mine.counts::int,
               lease_expires_at = NULL,
               claimed_by = NULL,
               error = mine.error
          FROM mine
         WHERE {table}.id = mine.id
        RETURNING {table}.id
"""

_RESCUE = """
        WITH silent AS MATERIALIZED (
            SELECT id
              FROM {table}
             WHERE state = '{working}'
               AND lease_expires_at < clock_timestamp()
             ORDER BY lease_expires_at
             LIMIT $1
               FOR UPDATE SKIP LOCKED   -- one whose lease is being renewed, or whose result is being written
        )
        UPDATE {table}
           SET state = 'queued',
               due_at = now(),
               tries = tries + 1,
               lease_expires_at = NULL,
               claimed_by = NULL,
               error = $2
          FROM silent
         WHERE {table}.id = silent.id
        RETURNING {table}.id
"""

JOBS = Leases("jobs", "submitting")
READINGS = Leases("readings", "reading", order="record_id")
DELIVERIES = Leases("deliveries", "sending")
