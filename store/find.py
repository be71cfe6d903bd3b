"""Find lookups by an e-mail, a profile or a number.

An e-mail or profile leads to lookups by its key: to the searches that know it, to the lookups that those began for, and
to those that wait for them or took their answer. An address of several people is no key, and finds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from store.database import Db


async def find_by_key(
    db: Db,
    keys: Sequence[bytes],
    *,
    status: str | None,
    source: str | None,
    record_id: str | None,
    before: UUID,
    limit: int,
) -> list[UUID]:
    """Return up to *limit* lookups that hold one of *keys*, of this status, source and record, newest first."""
    rows = await db.fetch(
        _BY_KEY,
        list(keys),
        status,
        source,
        record_id,
        before,
        limit,
    )
    return [row["id"] for row in rows]


async def find_by_number(
    db: Db, mobile: str, *, status: str | None, source: str | None, record_id: str | None, before: UUID, limit: int
) -> list[UUID]:
    """Return up to *limit* lookups with this number, of this status, source and record, newest first."""
    rows = await db.fetch(
        """
        SELECT id
          FROM lookups
         WHERE mobile = ANY (ARRAY[$1::text])   -- keeps it as a sort key: else all newer lookups would be read
           AND ($2::text IS NULL OR final_status::text = $2)
           AND ($3::text IS NULL OR source = $3)
           AND ($4::text IS NULL OR record_id = $4)
           AND id < $5
         ORDER BY mobile DESC, id DESC
         LIMIT $6
        """,
        mobile,
        status,
        source,
        record_id,
        before,
        limit,
    )
    return [row["id"] for row in rows]


_BY_KEY = """
        WITH search AS MATERIALIZED (
            SELECT search.id, search.begun_for
              FROM (SELECT DISTINCT unnest(searches) AS id FROM keys WHERE key = ANY($1::bytea[])) AS known
             CROSS JOIN LATERAL (
                   SELECT id, begun_for
                     FROM searches
                    WHERE searches.id = known.id   -- each in its month
                   OFFSET 0) AS search
        )
        SELECT lookup.id
          FROM search
         CROSS JOIN LATERAL (
               SELECT lookups.id
                 FROM lookups
                WHERE lookups.id = search.begun_for
                  AND lookups.keys && $1::bytea[]
                  AND ($2::text IS NULL
                       OR $2 = (SELECT status FROM lookup_status WHERE lookup_status.id = lookups.id))
                  AND ($3::text IS NULL OR lookups.source = $3)
                  AND ($4::text IS NULL OR lookups.record_id = $4)
                  AND lookups.id < $5
              ) AS lookup
        UNION
        SELECT lookup.id
          FROM search
         CROSS JOIN LATERAL (
               SELECT lookups.id
                 FROM lookups
                WHERE lookups.search_id = search.id
                  AND lookups.reused_from IS NOT NULL
                  AND lookups.keys && $1::bytea[]
                  AND ($2::text IS NULL
                       OR $2 = (SELECT status FROM lookup_status WHERE lookup_status.id = lookups.id))
                  AND ($3::text IS NULL OR lookups.source = $3)
                  AND ($4::text IS NULL OR lookups.record_id = $4)
                  AND lookups.id < $5
                ORDER BY lookups.search_id DESC, lookups.id DESC
                LIMIT $6) AS lookup
         ORDER BY id DESC
         LIMIT $6
"""
