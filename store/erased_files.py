"""Erase a person from campaigns: the rows keep no key and are never begun; an upload that holds one of them is deleted.

A file cannot be rewritten without the person, so it goes as a whole; its campaign stops where it is. Nobody knows yet
who is in an upload whose rows have not all been read: it goes as well. Columns that are not used, and rows that cannot
be, may name the person, too: so uploads are also read as texts.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from uuid import UUID

from enrichment.files.csv_rows import LONGEST_ROW
from enrichment.files.encodings import OTHERS
from enrichment.forgetting import Person
from store.campaign_files import GONE, pieces
from store.database import Db

LOOKED_AT = 20_000  # rows of one statement


async def erase_rows_of(db: Db, lookups: Sequence[UUID], jobs: Sequence[UUID]) -> int:
    """Erase the rows that became one of these lookups, and the uploads that they came in; return how many rows.

    What the lookups' erased *jobs* cost, or perhaps cost, stays with their campaigns.
    """
    erased: int = await db.fetchval(_ERASE.format(theirs=_OF_LOOKUPS), jobs, lookups)
    return erased


async def erase_rows_with(db: Db, keys: Sequence[bytes]) -> int:
    """Erase the rows that hold one of *keys*, and the uploads that they came in; return how many rows.

    All rows are looked at, some thousand in each statement.
    """
    await db.execute(_DELETE_UNREAD, GONE)
    erased, campaign, number = 0, UUID(int=0), 0
    while row := await db.fetchrow(_WALK, keys, campaign, number, LOOKED_AT):
        campaign, number = row["campaign_id"], row["number"]
        if row["numbers"]:
            erased += await db.fetchval(_ERASE.format(theirs=_OF_NUMBERS), [], row["campaigns"], row["numbers"])
    return erased


async def erase_uploads_naming(db: Db, person: Person) -> int:
    """Delete the uploads that name *person* in any cell; return how many."""
    deleted = 0
    for row in await db.fetch("SELECT id, layout FROM campaigns WHERE is_uploaded AND layout IS NOT NULL ORDER BY id"):
        if await _names(db, row["id"], json.loads(row["layout"])["encoding"], person):
            await db.execute("DELETE FROM campaign_files WHERE campaign_id = $1", row["id"])
            deleted += 1
    return deleted


async def _names(db: Db, id: UUID, encoding: str | None, person: Person) -> bool:
    decoder = codecs.getincrementaldecoder(encoding or "utf-8")(OTHERS)
    text = ""
    async for piece in pieces(db, id):
        text += decoder.decode(piece)
        lines, end, text = text.rpartition("\n")
        if len(text) > LONGEST_ROW:  # lines that end in CR alone
            lines, text = lines + end + text, ""
        if person.occurs_in(lines):
            return True
    return person.occurs_in(text + decoder.decode(b"", final=True))


# A row that is recorded at this moment is there before the walk, or its campaign is not `reading` any more.
_DELETE_UNREAD = """
        WITH unread AS MATERIALIZED (
            SELECT id FROM campaigns WHERE is_uploaded AND read_at IS NULL ORDER BY id FOR UPDATE
        ), stopped AS (
            UPDATE campaigns
               SET state = 'stopped', reason = $1
              FROM unread
             WHERE campaigns.id = unread.id
               AND state = 'reading'
        )
        DELETE FROM campaign_files
         WHERE campaign_id IN (SELECT id FROM unread)
"""
_OF_LOOKUPS = "lookup_id = ANY($2::uuid[])"
_OF_NUMBERS = """
                   (campaign_id, number) IN (SELECT * FROM unnest($2::uuid[], $3::integer[]))
"""
_ERASE = """
        WITH spent AS MATERIALIZED (
            SELECT lookup_id, sum(CASE kind WHEN 'settled' THEN -credits ELSE credits END) AS credits
              FROM ledger
             WHERE job_id = ANY($1::uuid[])
               AND kind <> 'released'
             GROUP BY lookup_id
        ), theirs AS MATERIALIZED (
            SELECT campaign_id, number, lookup_id, lookup_id IS NOT NULL AND status IS NULL AS is_open
              FROM campaign_rows
             WHERE {theirs}
             ORDER BY campaign_id, number
               FOR UPDATE
        ), erased AS (
            UPDATE campaign_rows
               SET verdict = 'erased', reason = NULL, keys = '{{}}', content = NULL, most = 0, lookup_id = NULL,
                   status = NULL, credits = NULL
              FROM theirs
             WHERE campaign_rows.campaign_id = theirs.campaign_id
               AND campaign_rows.number = theirs.number
            RETURNING campaign_rows.campaign_id
        ), ended AS (
            SELECT campaign_id, count(*)::int AS rows, COALESCE(sum(spent.credits), 0) AS credits
              FROM theirs
              LEFT JOIN spent USING (lookup_id)
             WHERE is_open
             GROUP BY campaign_id
        ), counted AS (
            UPDATE campaigns
               SET ended = campaigns.ended + ended.rows, credits = campaigns.credits + ended.credits
              FROM ended
             WHERE campaigns.id = ended.campaign_id
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
