"""Erase a person from campaigns: the rows keep no key and are never begun; an upload that holds one of them is deleted.

A file cannot be rewritten without the person, so it goes as a whole; its campaign stops where it is. Nobody knows yet
who is in an upload whose rows have not all been read: it goes as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from store.database import Db

LOOKED_AT = 20_000  # rows of one statement


async def erase_rows_of(db: Db, lookups: Sequence[UUID]) -> int:
    """Erase the rows that became one of these lookups, and the uploads that they came in; return how many rows."""
    erased: int = await db.fetchval(_ERASE.format(theirs=_OF_LOOKUPS), lookups)
    return erased


async def erase_rows_with(db: Db, keys: Sequence[bytes]) -> int:
    """Erase the rows that hold one of *keys*, and the uploads that they came in; return how many rows.

    All rows are looked at, some thousand in each statement.
    """
    erased, campaign, number = 0, UUID(int=0), 0
    while row := await db.fetchrow(_WALK, keys, campaign, number, LOOKED_AT):
        campaign, number = row["campaign_id"], row["number"]
        if row["numbers"]:
            erased += await db.fetchval(_ERASE.format(theirs=_OF_NUMBERS), row["campaigns"], row["numbers"])
    await db.execute(
        """
        DELETE FROM campaign_files
         WHERE campaign_id IN (SELECT id FROM campaigns WHERE is_uploaded AND read_at IS NULL)
        """
    )
    return erased


_OF_LOOKUPS = """
            SELECT campaign_id, number FROM campaign_rows WHERE lookup_id = ANY($1::uuid[])
"""
_OF_NUMBERS = """
            SELECT * FROM unnest($1::uuid[], $2::integer[]) AS theirs (campaign_id, number)
"""
_ERASE = """
        WITH theirs AS MATERIALIZED ({theirs}), erased AS (
            UPDATE campaign_rows
               SET verdict = 'erased', reason = NULL, keys = '{{}}', content = NULL, most = 0, lookup_id = NULL,
                   status = NULL, credits = NULL
              FROM theirs
             WHERE campaign_rows.campaign_id = theirs.campaign_id
               AND campaign_rows.number = theirs.number
            RETURNING campaign_rows.campaign_id
        ), deleted AS (
            DELETE FROM campaign_files
             WHERE campaign_id IN (SELECT campaign_id FROM erased)
        )
        SELECT count(*)::int FROM erased
"""
_WALK = """
        WITH seen AS MATERIALIZED (
            SELECT campaign_id, number, keys
              FROM campaign_rows
             WHERE (campaign_id, number) > ($2, $3)
             ORDER BY campaign_id, number
             LIMIT $4
        ), theirs AS (
            SELECT campaign_id, number FROM seen WHERE keys && $1::bytea[]
        )
        SELECT last.campaign_id, last.number,
               ARRAY(SELECT campaign_id FROM theirs ORDER BY campaign_id, number) AS campaigns,
               ARRAY(SELECT number FROM theirs ORDER BY campaign_id, number) AS numbers
          FROM (SELECT campaign_id, number FROM seen ORDER BY campaign_id DESC, number DESC LIMIT 1) AS last
"""
