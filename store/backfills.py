"""Backfills: name contacts from before the connection, a few at a time."""

from __future__ import annotations

from collections.abc import Sequence

from uuid_utils.compat import uuid7

from store.database import Db


async def queued_backfill(db: Db, source: str) -> int:
    """Return how many contacts that a backfill named wait to be read."""
    queued: int = await db.fetchval(
        """
        SELECT count(*)
          FROM readings
         WHERE source = $1
           AND (named_by = 'backfill') IS TRUE   -- as readings_queued has it
           AND state = 'queued'
        """,
        source,
    )
    return queued


async def left_to_name(db: Db, source: str, record_ids: Sequence[str]) -> list[str]:
    """Return those of these contacts that `name_old` would name, in the same order."""
    rows = await db.fetch(
        """
        SELECT named.record_id
          FROM unnest($2::text[]) WITH ORDINALITY AS named (record_id, place)
          LEFT JOIN readings ON readings.source = $1 AND readings.record_id = named.record_id
         WHERE readings.id IS NULL
            OR readings.named_by <> 'backfill'
           AND readings.state IN ('queued', 'reading', 'skipped')
           AND NOT readings.erases
         ORDER BY named.place
        """,
        source,
        list(record_ids),
    )
    return [row["record_id"] for row in rows]


async def name_old(db: Db, source: str, record_ids: Sequence[str]) -> int:
    """Name contacts for a backfill (-> queued); return how many.

    Pass those that a backfill named before, that have become lookups, and that are to be erased. One that an event or
    a sweep named only changes hands, because it may be older than the connection.
    """
    rows = await db.fetch(
        """
        INSERT INTO readings (id, source, record_id, named_by)
        SELECT id, $1, record_id, 'backfill'
          FROM unnest($2::uuid[], $3::text[]) AS named (id, record_id)
         ORDER BY record_id
            ON CONFLICT (source, record_id) DO UPDATE
           SET state = 'queued',
               named_by = 'backfill',
               attempt = readings.attempt + 1,
               tries = 0,
               due_at = CASE WHEN readings.state = 'queued' THEN readings.due_at ELSE now() END,
               lease_expires_at = NULL,
               claimed_by = NULL,
               named_at = now(),
               ended_at = NULL,
               reason = NULL,
               error = NULL
         WHERE readings.named_by <> 'backfill'
           AND readings.state IN ('queued', 'reading', 'skipped')
           AND NOT readings.erases
        RETURNING id
        """,
        source,
        [uuid7() for _ in record_ids],
        list(record_ids),
    )
    return len(rows)
