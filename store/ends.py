"""The lookups follow the end of their search, in chunks, each a commit that anybody can resume.

A number goes to every lookup that itself holds one of the search's keys, names the provider that gave it, and has no
number: open, failed, unresolved, or not_found within its window. Without a number, the lookup that the search began
for ends, and so do those that bring no identifier and no provider more; the others are decided anew
(`store/lookups.py`). The same statement serves late numbers and late "no number"s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from store.database import Db

CHUNK = 1000  # lookups of one commit


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one chunk did: *lookups* ended; *unswept* searches have more lookups that end, or are decided anew.

    *left* are other searches, for which some of those lookups had waited.
    """

    lookups: Sequence[UUID]
    unswept: Sequence[UUID]
    left: Sequence[UUID]


async def end_lookups(db: Db, searches: Sequence[UUID], not_found: timedelta, limit: int = CHUNK) -> Chunk:
    """open, not_found, failed or unresolved -> as their search ended: up to *limit* lookups of these *searches*.

    A search whose lookups have all ended is swept in the same statement.
    """
    row = await db.fetchrow(
        """
        WITH ended AS MATERIALIZED (
            SELECT id, begun_for, keys, asked, providers, status, reason, numbers, ended_at,
                   numbers @? '$.*.mobile ? (@ != null)' AS has_number
              FROM searches
             WHERE id = ANY($1::uuid[])
               AND ended_at IS NOT NULL
               AND NOT swept
        ), nearby AS (
            -- A lookup that holds a key lies at the search that it waits for or took from: the key leads there.
            SELECT id AS ended_id, id AS search_id
              FROM ended
             UNION
            SELECT ended.id, known.search_id
              FROM ended
              JOIN keys ON keys.key = ANY (ended.keys)
             CROSS JOIN LATERAL unnest(keys.searches) AS known (search_id)
             WHERE ended.has_number
        ), reached AS MATERIALIZED (
            SELECT lookup.id, nearby.search_id, ended.id AS ended_id, lookup.provider, lookup.number
              FROM nearby
              JOIN ended ON ended.id = nearby.ended_id
             CROSS JOIN LATERAL (
                   SELECT lookups.id, given.provider, given.number
                     FROM lookups
                     LEFT JOIN LATERAL (
                          SELECT wanted.provider, ended.numbers -> wanted.provider AS number
                            FROM unnest(lookups.providers) WITH ORDINALITY AS wanted (provider, place)
                           WHERE ended.has_number
                             AND lookups.keys && ended.keys
                             AND ended.numbers -> wanted.provider ->> 'mobile' IS NOT NULL
                             AND (ended.numbers -> wanted.provider ->> 'is_wrong') IS DISTINCT FROM 'true'
                           ORDER BY wanted.place
                           LIMIT 1) AS given ON true
                    WHERE lookups.search_id = nearby.search_id
                      -- As lookups_numberless has them: a chunk reads no more than it ends.
                      AND (lookups.final_status IS NULL
                           OR lookups.final_status IN ('not_found', 'failed', 'unresolved'))
                      AND CASE WHEN given.provider IS NOT NULL
                               THEN lookups.final_status IS DISTINCT FROM 'not_found'
                                    OR lookups.finished_at > now() - $2::interval
                               ELSE lookups.search_id = ended.id
                                    AND NOT ended.has_number
                                    AND ended.status <> 'dropped'
                                    AND (lookups.final_status IS NULL
                                         OR lookups.final_status <> 'not_found'
                                            AND lookups.final_status::text <> ended.status::text)
                                    AND NOT lookups.insists
                                    AND (lookups.id = ended.begun_for
                                         OR lookups.identifiers <@ ended.asked
                                            AND lookups.keys && ended.keys
                                            AND lookups.providers <@ ended.providers) END
                    ORDER BY lookups.id
                    LIMIT $3) AS lookup
             -- The searches take turns, so that a neighbour of a large one ends at once.
             ORDER BY row_number() OVER (PARTITION BY ended.id ORDER BY lookup.id), lookup.provider IS NULL
             LIMIT $3
        ), locked AS MATERIALIZED (
            SELECT id
              FROM lookups
             WHERE id IN (SELECT id FROM reached)
             ORDER BY id
               FOR NO KEY UPDATE
        ), chosen AS (
            SELECT DISTINCT ON (reached.id) reached.id, reached.search_id, reached.ended_id, reached.provider,
                   reached.number
              FROM reached
              JOIN locked ON locked.id = reached.id
             ORDER BY reached.id, reached.provider IS NULL, reached.ended_id
        ), done AS (
            UPDATE lookups
               SET final_status = CASE WHEN chosen.provider IS NOT NULL THEN 'found'
                                       ELSE ended.status::text END::final_status,
                   finished_at = now(),
                   mobile      = chosen.number ->> 'mobile',
                   mobile_raw  = COALESCE(chosen.number ->> 'raw',
                                          (SELECT ended.numbers -> wanted.provider ->> 'raw'
                                             FROM unnest(lookups.providers) AS wanted (provider)
                                            WHERE ended.numbers ? wanted.provider
                                            LIMIT 1)),
                   region      = chosen.number ->> 'region',
                   line_type   = chosen.number ->> 'line_type',
                   provider    = chosen.provider,
                   reason      = CASE WHEN chosen.provider IS NULL THEN ended.reason END,
                   search_id   = ended.id,
                   reused_from = NULLIF(ended.begun_for, lookups.id),
                   insists     = false
              FROM chosen
              JOIN ended ON ended.id = chosen.ended_id
             WHERE lookups.id = chosen.id
               AND lookups.mobile IS NULL
               AND (lookups.final_status IS NULL OR lookups.final_status IN ('not_found', 'failed', 'unresolved'))
            RETURNING lookups.id
        ), swept AS (
            UPDATE searches
               SET swept = true
              FROM ended
             WHERE searches.id = ended.id
               AND searches.ended_at = ended.ended_at   -- not when a late number came meanwhile
               AND (SELECT count(*) < $3 FROM reached)
               AND NOT EXISTS (SELECT
                                 FROM lookups
                                WHERE lookups.search_id = ended.id
                                  AND lookups.final_status IS NULL
                                  AND lookups.id NOT IN (SELECT id FROM reached))
            RETURNING searches.id
        )
        SELECT ARRAY(SELECT id FROM done) AS lookups,
               ARRAY(SELECT id FROM ended EXCEPT SELECT id FROM swept) AS unswept,
               ARRAY(SELECT search_id FROM chosen EXCEPT SELECT id FROM ended) AS left
        """,
        searches,
        not_found,
        limit,
    )
    assert row is not None  # noqa: S101  it counts
    return Chunk(row["lookups"], row["unswept"], row["left"])


async def lock_ends(db: Db, searches: Sequence[UUID]) -> None:
    """Lock these *searches* before their lookups: the order of locks. Call inside a transaction."""
    await db.execute(
        "SELECT FROM searches WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE",
        searches,
    )


async def unswept_searches(db: Db, limit: int) -> list[UUID]:
    """Return ended searches whose lookups have not all followed: the process that ended them died meanwhile."""
    rows = await db.fetch(
        """
        SELECT id
          FROM searches
         WHERE ended_at IS NOT NULL
           AND NOT swept
         ORDER BY ended_at
         LIMIT $1
        """,
        limit,
    )
    return [row["id"] for row in rows]
