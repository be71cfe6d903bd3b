"""The lookups of one CRM record: given to another record after a merge, cancelled when the record is gone."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from enrichment.wish import Policy
from store.database import Db
from store.lookups import cancel_many

GONE_WITH_ITS_CONTACT = "its contact was deleted"


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
