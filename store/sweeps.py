"""The sweeps of CRMs: claim a window of changes, name its contacts, and move the watermark once all are committed.

A sweep belongs to one process while `sweep_due_at` is the time that it wrote there: every later write repeats it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.crms.base import Change
from store.database import Db, transaction

# A CRM's index of changes lags by half a minute (crm.md 1.3). Each window begins that much before the watermark.
OVERLAP = timedelta(seconds=300)
LONGEST_WINDOW = timedelta(hours=6)  # after an outage, each window that was read is done
LEASE = timedelta(seconds=60)  # of a sweep, renewed with every page; a page takes seconds


@dataclass(frozen=True, slots=True)
class Window:
    """The changes that this process sweeps: from *since* to *until*. *claim* is the fence, renewed with every page."""

    crm: str
    since: datetime
    until: datetime
    claim: datetime
    has_next: bool  # the watermark is far behind: another window follows at once
    lease: timedelta = LEASE


async def claim_sweep(db: Db, crm: str, lease: timedelta = LEASE) -> Window | None:
    """Claim the CRM's sweep if it is due, and return its window. Another may have it *lease* after the last page."""
    row = await db.fetchrow(
        """
        UPDATE connections
           SET sweep_due_at = now() + $2
         WHERE crm = $1
           AND sweep_due_at <= now()
        RETURNING LEAST(swept_to, now()) - $3::interval AS since, LEAST(swept_to + $4::interval, now()) AS until,
                  sweep_due_at AS claim, swept_to + $4::interval < now() AS has_next
        """,
        crm,
        lease,
        OVERLAP,
        LONGEST_WINDOW,
    )
    return Window(crm, row["since"], row["until"], row["claim"], row["has_next"], lease) if row else None


async def name_page(pool: asyncpg.Pool[Any], window: Window, changes: Sequence[Change]) -> tuple[datetime | None, int]:
    """Name the contacts of one page, and renew the claim. Return the new claim, None if it was lost, and how many."""
    async with transaction(pool) as connection:
        named = await name_swept(connection, window.crm, changes)
        claim: datetime | None = await connection.fetchval(
            """
            UPDATE connections
               SET sweep_due_at = clock_timestamp() + $3
             WHERE crm = $1
               AND sweep_due_at = $2
            RETURNING sweep_due_at
            """,
            window.crm,
            window.claim,
            window.lease,
        )
    return claim, named


async def end_sweep(db: Db, window: Window, every: timedelta) -> bool:
    """Move the watermark to the window's end, never back, and schedule the next sweep. Return False if it was lost."""
    row = await db.fetchrow(
        """
        UPDATE connections
           SET swept_to = GREATEST(swept_to, $3),
               sweep_due_at = CASE WHEN $4 THEN now() ELSE GREATEST(now(), $3 + $5::interval) END,
               error = CASE WHEN error LIKE 'walk: %' THEN error END
         WHERE crm = $1
           AND sweep_due_at = $2
        RETURNING crm
        """,
        window.crm,
        window.claim,
        window.until,
        window.has_next,
        every,
    )
    return row is not None


async def leave_sweep(db: Db, window: Window, error: str | None, after: timedelta) -> None:
    """Give up the window; the next sweep reads it again *after* so long."""
    await db.execute(
        """
        UPDATE connections
           SET sweep_due_at = now() + $4, error = COALESCE($3, error)
         WHERE crm = $1
           AND sweep_due_at = $2
        """,
        window.crm,
        window.claim,
        error,
        after,
    )


async def name_swept(db: Db, source: str, changes: Iterable[Change]) -> int:
    """Name the contacts that changed after they were seen last, and the open ones merged into them. Return how many."""
    seen: dict[str, datetime | None] = {}
    absorbed: dict[str, datetime | None] = {}
    for change in changes:
        seen[change.record_id] = change.modified_at
        absorbed |= dict.fromkeys(change.absorbed, change.modified_at)
    rows = await db.fetch(
        """
        SELECT DISTINCT record_id
          FROM lookups
         WHERE record_id = ANY($2::text[])
           AND source = $1
           AND final_status IS NULL
        """,
        source,
        list(absorbed),
    ) if absorbed else []  # fmt: skip
    return await name(db, source, "sweep", {row["record_id"]: absorbed[row["record_id"]] for row in rows} | seen)


async def name(db: Db, source: str, named_by: str, seen: dict[str, datetime | None]) -> int:
    """Name contacts (-> queued) whose change is newer than the one that was *seen* last; without a time, all of them.

    A reading that is queued keeps its turn: it has yet to look. What a backfill, a workflow or an event asked for stays
    theirs until it ends: the contact may be older than the connection, or its answer too old to be reused.
    """
    rows = await db.fetch(
        """
        INSERT INTO readings (id, source, record_id, named_by, seen)
        SELECT id, $1, record_id, $2, seen
          FROM unnest($3::uuid[], $4::text[], $5::timestamptz[]) AS named (id, record_id, seen)
         ORDER BY record_id
            ON CONFLICT (source, record_id) DO UPDATE
           SET state = 'queued',
               named_by = CASE WHEN readings.named_by IN ('backfill', 'request', 'event')
                                    AND readings.state IN ('queued', 'reading')
                               THEN readings.named_by ELSE excluded.named_by END,
               seen = COALESCE(excluded.seen, readings.seen),
               attempt = readings.attempt + 1,
               tries = CASE WHEN readings.state = 'queued' THEN readings.tries ELSE 0 END,
               due_at = CASE WHEN readings.state = 'queued' THEN readings.due_at ELSE now() END,
               lease_expires_at = NULL,
               claimed_by = NULL,
               named_at = now(),
               ended_at = NULL,
               reason = NULL,
               error = CASE WHEN readings.state = 'queued' THEN readings.error END
         WHERE excluded.seen IS NULL OR readings.seen IS NULL OR readings.seen < excluded.seen
        RETURNING id
        """,
        source,
        named_by,
        [uuid7() for _ in seen],
        list(seen),
        list(seen.values()),
    )
    return len(rows)
