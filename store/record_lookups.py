"""The lookups of one CRM record: given to another record after a merge, cancelled when it needs no number any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.wish import Policy
from store.database import Db, transaction
from store.lookups import cancel_many

GONE_WITH_ITS_CONTACT = "its contact was deleted"
ANSWERED_BEFORE = "its contact has a mobile: it was answered before the database was restored"


async def move_lookups(db: Db, source: str, old: Sequence[str], new: str) -> int:
    """Give the open lookups of these *old* records to the *new* one, and their deliveries that wait. Return how many.

    Call inside a transaction, after all other locks of searches.
    """
    rows = await db.fetch(
        """
        WITH waiting AS MATERIALIZED (
            SELECT deliveries.id
              FROM lookups
              JOIN deliveries ON deliveries.lookup_id = lookups.id
             WHERE lookups.record_id = ANY($2::text[])
               AND lookups.source = $1
               AND deliveries.channel = $1
               AND deliveries.state = 'queued'
             ORDER BY deliveries.id
               FOR UPDATE OF deliveries SKIP LOCKED   -- one that is sent reads the contact first, and sees the merge
        ), readdressed AS (
            UPDATE deliveries
               SET record_id = $3
              FROM waiting
             WHERE deliveries.id = waiting.id
        ), open AS MATERIALIZED (
            SELECT id
              FROM lookups
             WHERE record_id = ANY($2::text[])
               AND source = $1
               AND final_status IS NULL
             ORDER BY id
               FOR NO KEY UPDATE
        )
        UPDATE lookups
           SET record_id = $3
          FROM open
         WHERE lookups.id = open.id
        RETURNING lookups.id
        """,
        source,
        list(old),
        new,
    )
    return len(rows)


async def cancel_lookups(db: Db, source: str, record_id: str, policy: Policy) -> set[UUID]:
    """Cancel the queued and held lookups of a record that is gone, and return them. Running ones end by themselves.

    Call inside a transaction that holds no lock of a search.
    """
    rows = await db.fetch(
        "SELECT id FROM lookups WHERE record_id = $2 AND source = $1 AND final_status IS NULL",
        source,
        record_id,
    )
    return await cancel_many(db, [row["id"] for row in rows], policy, GONE_WITH_ITS_CONTACT) if rows else set()


async def cancel_answered(pool: asyncpg.Pool[Any], readings: Sequence[UUID], policy: Policy) -> set[UUID]:
    """Cancel the lookups, held after a restore, of contacts that have a mobile, as these *readings* saw; return them.

    The number was found and written by the lost database: released by a person, they would be paid for again.
    """
    rows = await pool.fetch(
        """
        SELECT lookups.id
          FROM readings
          JOIN lookups ON lookups.record_id = readings.record_id
                      AND lookups.source = readings.source
          JOIN jobs ON jobs.search_id = lookups.search_id
         WHERE (SELECT EXISTS (SELECT FROM restores))   -- usually there was none: then this is all that it costs
           AND readings.id = ANY($1::uuid[])
           AND readings.state = 'skipped'
           AND lookups.final_status IS NULL
           AND jobs.held = 'restored'
        """,
        readings,
    )
    if not rows:
        return set()
    async with transaction(pool) as connection:
        return await cancel_many(connection, [row["id"] for row in rows], policy, ANSWERED_BEFORE)
