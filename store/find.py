"""Find lookups by an e-mail, a profile or a number.

An e-mail or profile leads to lookups by its key: to the searches that know it, to the lookups that those began for, and
to those that wait for them or took their answer. A shared mailbox, or another address of several people, is no key:
then all lookups are walked, some thousand in each statement.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

from store.database import Db

PAGE = 20_000  # lookups that one statement of a walk reads
WALKED_FOR = 1.0  # seconds of one request


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


async def is_shared(db: Db, keys: Sequence[bytes]) -> bool:
    """Tell whether one of *keys* turned out to be an address of several people."""
    shared: bool = await db.fetchval("SELECT EXISTS (SELECT FROM keys WHERE key = ANY($1::bytea[]) AND shared)", keys)
    return shared


async def find_by_walking(
    db: Db, email: str, *, status: str | None, source: str | None, record_id: str | None, before: UUID, limit: int
) -> tuple[list[UUID], UUID | None]:
    """Return up to *limit* lookups with this e-mail, newest first, and where to go on if there may be more.

    Stop after WALKED_FOR seconds, with what was found until then.
    """
    found: list[UUID] = []
    until = time.monotonic() + WALKED_FOR
    while True:
        row = await db.fetchrow(_WALK, email, status, source, record_id, before, limit - len(found), PAGE)
        assert row is not None  # noqa: S101  it counts
        found += row["found"]
        if len(found) == limit:
            return found, found[-1]
        if row["walked"] < PAGE:
            return found, None
        before = row["last"]
        if time.monotonic() > until:
            return found, before


_WALK = """
        WITH page AS MATERIALIZED (
            SELECT id, work_email, personal_email, final_status, source, record_id
              FROM lookups
             WHERE id < $5
             ORDER BY id DESC
             LIMIT $7
        )
        SELECT ARRAY(SELECT id
                       FROM page
                      WHERE $1 IN (work_email, personal_email)
                        AND ($2::text IS NULL
                             OR $2 = (SELECT status FROM lookup_status WHERE lookup_status.id = page.id))
                        AND ($3::text IS NULL OR source = $3)
                        AND ($4::text IS NULL OR record_id = $4)
                      ORDER BY id DESC
                      LIMIT $6) AS found,
               (SELECT count(*) FROM page)::int AS walked,
               (SELECT id FROM page ORDER BY id LIMIT 1) AS last
"""


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
