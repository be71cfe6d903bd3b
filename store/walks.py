"""The nightly walk over all contacts of a CRM, page by page, for what its sweeps cannot show.

Each page is claimed by itself, by moving `walk_due_at` ahead: any process may take the next one. Contacts with an open
lookup are marked as they are met; those that were not met by the end were deleted or merged, and are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.crms.base import Change
from store.database import Db
from store.partitions import first_id
from store.sweeps import name

LEASE = timedelta(seconds=120)  # of one page, and of what follows the last one
EVERY = timedelta(days=1)
BATCH = 500  # contacts named in one commit


@dataclass(frozen=True, slots=True)
class Step:
    """One page of a walk, claimed. *claim* is the fence."""

    crm: str
    began: datetime
    after: str | None
    connected_at: datetime
    claim: datetime


async def claim_step(db: Db, crm: str) -> Step | None:
    """Claim the next page of the walk if it is due; begin a walk if none is under way."""
    row = await db.fetchrow(
        """
        UPDATE connections
           SET walk_due_at = now() + $2, walk_began = COALESCE(walk_began, now())
         WHERE crm = $1
           AND walk_due_at <= now()
        RETURNING walk_began, walk_cursor, connected_at, walk_due_at
        """,
        crm,
        LEASE,
    )
    if row is None:
        return None
    return Step(crm, row["walk_began"], row["walk_cursor"], row["connected_at"], row["walk_due_at"])


async def name_walked(pool: asyncpg.Pool[Any], step: Step, changes: Sequence[Change]) -> int:
    """Mark the contacts of this page that have an open lookup, and name those that no sweep showed. Return how many."""
    met = {change.record_id: change.modified_at for change in changes if not change.is_gone}
    # Two commits: each locks readings in the order of their records, which both together would not.
    rows = await pool.fetch(
        """
        WITH met AS (
            SELECT * FROM unnest($2::text[], $3::timestamptz[]) AS met (record_id, modified_at)
        ), marked AS (
            UPDATE readings
               SET walk_seen = $4
             WHERE id IN (SELECT readings.id
                            FROM met
                            JOIN readings ON readings.source = $1 AND readings.record_id = met.record_id
                           WHERE EXISTS (SELECT FROM lookups
                                          WHERE lookups.record_id = met.record_id AND lookups.source = $1
                                            AND lookups.final_status IS NULL)
                           ORDER BY readings.record_id
                             FOR UPDATE OF readings)
        )
        SELECT met.record_id
          FROM met
          LEFT JOIN readings ON readings.source = $1 AND readings.record_id = met.record_id
         WHERE CASE WHEN readings.id IS NULL THEN met.modified_at >= $5
                    -- Changed after it was read last, which no sweep showed. What has a mobile, sweeps leave out.
                    ELSE readings.ended_at < met.modified_at AND readings.seen IS DISTINCT FROM met.modified_at
                         AND readings.reason IS DISTINCT FROM 'has a mobile' END
        """,
        step.crm,
        list(met),
        list(met.values()),
        step.began,
        step.connected_at,
    )
    return await name(pool, step.crm, "walk", {row["record_id"]: met[row["record_id"]] for row in rows})


async def name_missed(db: Db, step: Step) -> int:
    """Name the contacts with an open lookup that this walk has not met. Return how many."""
    named, last = 0, UUID(int=0)
    while True:
        rows = await db.fetch(
            """
            SELECT lookups.id, lookups.record_id,
                   readings.walk_seen IS DISTINCT FROM $2 AND COALESCE(readings.named_at < $2, true) AS is_missed
              FROM lookups
              LEFT JOIN readings ON readings.source = $1 AND readings.record_id = lookups.record_id
             WHERE lookups.final_status IS NULL
               AND lookups.source = $1
               AND lookups.record_id IS NOT NULL
               AND lookups.id > $3
               AND lookups.id < $4
             ORDER BY lookups.id
             LIMIT $5
            """,
            step.crm,
            step.began,
            last,
            first_id(step.began),
            BATCH,
        )
        named += await name(db, step.crm, "walk", {row["record_id"]: None for row in rows if row["is_missed"]})
        if len(rows) < BATCH:
            return named
        last = rows[-1]["id"]


async def end_step(db: Db, step: Step, after: str, pause: timedelta) -> bool:
    """Go on with the page *after* a pause. Return False if the page was claimed by another process meanwhile."""
    row = await db.fetchrow(
        """
        UPDATE connections
           SET walk_cursor = $3, walk_due_at = now() + $4
         WHERE crm = $1
           AND walk_due_at = $2
        RETURNING crm
        """,
        step.crm,
        step.claim,
        after,
        pause,
    )
    return row is not None


async def end_walk(db: Db, step: Step) -> bool:
    """End the walk, and schedule the next a day after this one began. Return False if the page was claimed again."""
    row = await db.fetchrow(
        """
        UPDATE connections
           SET walk_began = NULL, walk_cursor = NULL, walk_due_at = GREATEST(now(), $3::timestamptz + $4::interval),
               error = CASE WHEN error LIKE 'walk: %' THEN NULL ELSE error END
         WHERE crm = $1
           AND walk_due_at = $2
        RETURNING crm
        """,
        step.crm,
        step.claim,
        step.began,
        EVERY,
    )
    return row is not None


async def leave_step(db: Db, step: Step, error: str | None, after: timedelta, *, begin_anew: bool = False) -> None:
    """Give the page up; it is walked again *after* so long, or the whole walk is, if the CRM refused its cursor."""
    await db.execute(
        """
        UPDATE connections
           SET walk_due_at = now() + $4,
               error = COALESCE('walk: ' || $3, error),
               walk_began = CASE WHEN NOT $5 THEN walk_began END,
               walk_cursor = CASE WHEN NOT $5 THEN walk_cursor END
         WHERE crm = $1
           AND walk_due_at = $2
        """,
        step.crm,
        step.claim,
        error,
        after,
        begin_anew,
    )
