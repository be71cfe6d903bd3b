"""Reopen lookups for a retry of many, and find the open lookups that have to be decided.

`store/lookups.py` decides them. A lookup that waits for an open search after its retry is told by `insists`, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from store.database import Db
from store.selection_pages import OLDEST

LOOKED_AT = 2000  # lookups of one page,
DECIDED = 500  # and of those at most, so that one transaction decides them


async def reopen(db: Db, ids: Sequence[UUID], *, ended_by: datetime | None = None) -> set[UUID]:
    """Reopen those of these lookups that are failed or unresolved, as `retry`, but without deciding them; return them.

    *ended_by*: what ended later was retried meanwhile, and is left alone: to ask once more is another decision.
    They are queued from now on, and `to_decide` finds them. So a retry of very many is over soon, and the decisions,
    which cost several times as much, leave room for what else is going on. Call inside a transaction.
    """
    rows = await db.fetch(
        """
        WITH locked AS MATERIALIZED (
            SELECT lookup.id
              FROM (SELECT id FROM unnest($1::uuid[]) AS wanted (id) ORDER BY id) AS wanted
             CROSS JOIN LATERAL (
                   SELECT id
                     FROM lookups
                    WHERE lookups.id = wanted.id   -- each in its month: an array would be searched for in all of them
                      AND final_status IN ('failed', 'unresolved')
                      AND ($2::timestamptz IS NULL OR finished_at <= $2)
                    LIMIT 1
                      FOR NO KEY UPDATE) AS lookup
        )
        UPDATE lookups
           SET final_status = NULL, finished_at = NULL, mobile_raw = NULL, region = NULL, line_type = NULL,
               provider = NULL, reason = NULL, insists = true
          FROM locked
         WHERE lookups.id = locked.id
           AND final_status IN ('failed', 'unresolved')
        RETURNING lookups.id
        """,
        ids,
        ended_by,
    )
    return {row["id"] for row in rows}


@dataclass(frozen=True, slots=True)
class Undecided:
    """Some lookups that have to be decided, and the lookup after which to look the next time; None after the last."""

    lookups: Sequence[UUID]
    last: UUID | None


async def to_decide(db: Db, after: UUID = OLDEST, looked_at: int = LOOKED_AT) -> Undecided:
    """Return open lookups that no search will end: a person reopened them, or their search was erased or pruned.

    Look at so many lookups after *after*: very many may be waiting for a search that will end them.
    """
    row = await db.fetchrow(
        """
        WITH page AS MATERIALIZED (
            SELECT id, search_id, insists
              FROM lookups
             WHERE final_status IS NULL
               AND (reused_from IS NOT NULL OR insists)
               AND id > $1
             ORDER BY id
             LIMIT $2
        )
        SELECT ARRAY(SELECT page.id
                       FROM page
                       LEFT JOIN LATERAL (
                            SELECT id, ended_at
                              FROM searches
                             WHERE searches.id = page.search_id
                            OFFSET 0) AS search ON true
                      WHERE search.id IS NULL OR page.insists AND search.ended_at IS NOT NULL
                      ORDER BY page.id) AS lookups,
               (SELECT count(*) FROM page) AS looked,
               (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last
        """,
        after,
        looked_at,
    )
    assert row is not None  # noqa: S101  it counts
    found = row["lookups"]
    if len(found) > DECIDED:
        return Undecided(found[:DECIDED], found[DECIDED - 1])
    return Undecided(found, row["last"] if row["looked"] == looked_at else None)
