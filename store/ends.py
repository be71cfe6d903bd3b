"""End the lookups of an ended search, in chunks. Each chunk is one commit; any process can continue with the next.

A number goes to every lookup that itself holds one of the search's keys, names the provider that gave it, and has no
number: open, failed, unresolved, or not_found within its window. Without a number, the lookup that the search began
for ends, and so does every lookup that adds no identifier and no provider; the others are decided anew
(`store/lookups.py`). The same statement serves late numbers and late "no number" answers.
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
    """The effect of one chunk: *lookups* that ended; *unswept* searches, which have more lookups to end or decide anew.

    *left*: other searches, for which some of the ended lookups had waited.
    """

    lookups: Sequence[UUID]
    unswept: Sequence[UUID]
    left: Sequence[UUID]


async def end_lookups(db: Db, searches: Sequence[UUID], not_found: timedelta, limit: int = CHUNK) -> Chunk:
    """End up to *limit* lookups of these *searches* as their search ended.

    The lookups are open, not_found, failed or unresolved. The searches share the limit evenly, so that a small search
    need not wait for a large one. A search whose lookups have all ended is marked swept in the same statement. Call
    inside a transaction.
    """
    # With two years of months, planning takes 50 ms and the statement 5; by default it would be planned each time.
    await db.execute("SET LOCAL plan_cache_mode = 'force_generic_plan'")
    row = await db.fetchrow(
        """
        WITH ended AS MATERIALIZED (
            SELECT search.*, search.status = 'found' AS has_number
              FROM unnest($1::uuid[]) AS wanted (id)
             CROSS JOIN LATERAL (
                   SELECT id, begun_for, keys, asked, providers, status, reason, numbers, wrong, ended_at
                     FROM searches
                    WHERE searches.id = wanted.id   -- each in its month: an array would be searched for in all of them
                      AND ended_at IS NOT NULL
                      AND NOT swept
                   OFFSET 0) AS search
        ), numbered AS (
            -- The key of a lookup leads to the search that the lookup waits for or took its answer from.
            SELECT candidate.id, candidate.search_id, ended.id AS ended_id, ended.begun_for, ended.status,
                   ended.reason, ended.numbers, candidate.provider
              FROM ended
             CROSS JOIN LATERAL (
                   SELECT lookups.id, lookups.search_id, given.provider
                     FROM (SELECT ended.id AS search_id
                            UNION
                           SELECT known.search_id
                             FROM keys
                            CROSS JOIN LATERAL unnest(keys.searches) AS known (search_id)
                            WHERE keys.key = ANY (ended.keys)) AS nearby
                    CROSS JOIN LATERAL (
                          SELECT *
                            FROM lookups
                           WHERE lookups.search_id = nearby.search_id
                             AND (lookups.final_status IS NULL
                                  OR lookups.final_status IN ('failed', 'unresolved')
                                  OR lookups.final_status = 'not_found'
                                     AND lookups.finished_at > now() - $2::interval)
                             AND lookups.keys && ended.keys
                          OFFSET 0) AS lookups   -- forces the index, whatever the planner expects of the other CTEs
                    CROSS JOIN LATERAL (
                          SELECT wanted.provider
                            FROM unnest(lookups.providers) WITH ORDINALITY AS wanted (provider, place)
                           WHERE ended.numbers -> wanted.provider ->> 'mobile' IS NOT NULL
                             AND ended.numbers -> wanted.provider ->> 'mobile' <> ALL (ended.wrong || lookups.refused)
                           ORDER BY wanted.place
                           LIMIT 1) AS given
                    LIMIT $3) AS candidate
             WHERE ended.has_number
        ), numberless AS (
            SELECT candidate.id, candidate.search_id, ended.id AS ended_id, ended.begun_for, ended.status,
                   ended.reason, ended.numbers, NULL AS provider
              FROM ended
             CROSS JOIN LATERAL (
                   SELECT lookups.id, lookups.search_id
                     FROM lookups
                    WHERE lookups.search_id = ended.id
                      AND (lookups.final_status IS NULL
                           OR lookups.final_status IN ('failed', 'unresolved')
                              AND lookups.final_status::text <> ended.status::text)
                      AND NOT lookups.insists
                      AND (lookups.id = ended.begun_for
                           OR lookups.identifiers <@ ended.asked
                              AND lookups.keys && ended.keys
                              AND lookups.providers <@ ended.providers)
                   LIMIT $3) AS candidate
             WHERE NOT ended.has_number
               AND ended.status <> 'dropped'
        ), reached AS MATERIALIZED (
            SELECT * FROM numbered
             UNION ALL
            SELECT * FROM numberless
        ), full_share AS (
            SELECT ended_id FROM reached GROUP BY ended_id HAVING count(*) >= $3
        ), locked AS (
            SELECT
              FROM lookups
             WHERE id IN (SELECT id FROM reached)
             ORDER BY id
               FOR NO KEY UPDATE
        ), chosen AS (
            -- Of two ends of one lookup, the one with a number.
            SELECT DISTINCT ON (id) *, numbers -> provider AS number
              FROM reached
             ORDER BY id, provider IS NULL, ended_id
        ), done AS (
            UPDATE lookups
               SET final_status = CASE WHEN chosen.provider IS NOT NULL THEN 'found'
                                       ELSE chosen.status::text END::final_status,
                   finished_at = now(),
                   mobile      = chosen.number ->> 'mobile',
                   mobile_raw  = COALESCE(chosen.number ->> 'raw',
                                          (SELECT chosen.numbers -> wanted.provider ->> 'raw'
                                             FROM unnest(lookups.providers) AS wanted (provider)
                                            WHERE chosen.numbers ? wanted.provider
                                            LIMIT 1)),
                   region      = chosen.number ->> 'region',
                   line_type   = chosen.number ->> 'line_type',
                   provider    = chosen.provider,
                   reason      = CASE WHEN chosen.provider IS NULL THEN chosen.reason END,
                   search_id   = chosen.ended_id,
                   reused_from = NULLIF(chosen.begun_for, lookups.id),
                   insists     = false
              FROM chosen
             WHERE (SELECT count(*) FROM locked) > 0   -- first, and in order
               AND lookups.id = chosen.id
               AND lookups.mobile IS NULL
               AND (lookups.final_status IS NULL OR lookups.final_status IN ('not_found', 'failed', 'unresolved'))
            RETURNING lookups.id
        ), swept AS (
            UPDATE searches
               SET swept = true
              FROM ended
             WHERE searches.id = ended.id
               AND searches.ended_at = ended.ended_at   -- not when a late number came meanwhile
               AND ended.id NOT IN (SELECT ended_id FROM full_share)
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
        max(1, limit // max(1, len(searches))),
    )
    assert row is not None  # noqa: S101  it counts
    return Chunk(row["lookups"], row["unswept"], row["left"])


async def lock_ends(db: Db, searches: Sequence[UUID]) -> None:
    """Lock these *searches* before their lookups, as the order of locks requires. Call inside a transaction."""
    await db.execute(
        "SELECT FROM searches WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE",
        searches,
    )


async def unswept_searches(db: Db, limit: int) -> list[UUID]:
    """Return ended searches that are not swept: the process that ended them died before it was done."""
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
