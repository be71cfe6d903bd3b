"""End the lookups of an ended search, in chunks. Each chunk is one commit; any process can continue with the next.

A number goes to every lookup that itself holds one of the search's keys, names the provider that gave it, and has no
number: open, failed, unresolved, or not_found within its window. Without a number, the lookup that the search began
for ends, and so does every lookup that adds no identifier and no provider; the others are decided anew
(`store/lookups.py`). The same statements serve late numbers and late "no number" answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from store.columns import Columns
from store.database import Db
from store.deliveries import NEW_DELIVERIES

CHUNK = 1000  # lookups of one commit

# Ended searches, the searches that share a key with each, and the lookups of those that follow the end.
CANDIDATES = """
        ended AS MATERIALIZED (
            SELECT search.*, search.status = 'found' AS has_number
              FROM unnest($1::uuid[]) AS wanted (id)
             CROSS JOIN LATERAL (
                   SELECT id, begun_for, keys, asked, providers, status, reason, numbers, wrong, said
                     FROM searches
                    WHERE searches.id = wanted.id   -- each in its month: an array would be searched for in all of them
                      AND ended_at IS NOT NULL
                   OFFSET 0) AS search
        ), candidate AS MATERIALIZED (
            SELECT lookup.*, ended.id AS ended_id, ended.begun_for, ended.status, ended.reason, ended.numbers
              FROM ended
             CROSS JOIN LATERAL (
                   SELECT lookups.id, lookups.search_id, given.provider
                     FROM (SELECT ended.id AS search_id
                            UNION
                           SELECT known.search_id
                             FROM keys
                            CROSS JOIN LATERAL unnest(keys.searches) AS known (search_id)
                            WHERE ended.has_number
                              AND keys.key = ANY (ended.keys)) AS nearby
                    CROSS JOIN LATERAL (
                          SELECT *
                            FROM lookups
                           WHERE lookups.search_id = nearby.search_id
                             AND (lookups.final_status IS NULL
                                  OR lookups.final_status IN ('not_found', 'failed', 'unresolved'))
                          OFFSET 0) AS lookups   -- forces the index, whatever the planner expects of the other CTEs
                     LEFT JOIN LATERAL (
                          SELECT wanted.provider
                            FROM unnest(lookups.providers) WITH ORDINALITY AS wanted (provider, place)
                           WHERE ended.numbers -> wanted.provider ->> 'mobile' IS NOT NULL
                             AND ended.numbers -> wanted.provider ->> 'mobile' <> ALL (ended.wrong || lookups.refused)
                           ORDER BY wanted.place
                           LIMIT 1) AS given ON ended.has_number AND lookups.keys && ended.keys
                    WHERE CASE
                              WHEN ended.status = 'dropped' THEN false
                              WHEN ended.has_number THEN
                                  given.provider IS NOT NULL
                                  AND (lookups.final_status IS DISTINCT FROM 'not_found'
                                       OR lookups.finished_at > now() - $2::interval)
                                  -- One whose person is suppressed since then takes nothing; an open one ends so.
                                  AND CASE WHEN (SELECT EXISTS (SELECT FROM suppressions))   -- usually there are none
                                           THEN NOT EXISTS (SELECT
                                                              FROM suppressions
                                                             WHERE suppressions.hash = ANY (lookups.keys))
                                           ELSE true END
                              ELSE
                                  NOT lookups.insists
                                  -- One that brings a region is decided anew: it may read the number that was kept.
                                  AND NOT (lookups.final_status IS NULL AND lookups.region_hint IS NOT NULL
                                           AND ended.numbers @? '$.*.needs_region ? (@ == true)')
                                  AND (lookups.final_status IS NULL
                                       OR lookups.final_status IN ('failed', 'unresolved')
                                          AND lookups.final_status::text <> ended.status::text)
                                  AND (lookups.id = ended.begun_for
                                           -- One that a doubt ended may still have a provider to ask, by a retry.
                                           AND (lookups.final_status IS NULL
                                                OR lookups.providers <@ ended.providers)
                                       OR lookups.identifiers <@ ended.asked
                                          AND lookups.keys && ended.keys
                                          AND lookups.providers <@ ended.providers
                                          -- Dropped before it asked anybody, it says nothing about others.
                                          AND (ended.status <> 'suppressed' OR ended.said <> '{}'))
                          END
                    LIMIT $3) AS lookup
        )
"""

CHANNELS = Columns(4, name="text")
# The lookups that follow, and what is left to do.
DONE = """
        chosen AS MATERIALIZED (
            -- Of two ends of one lookup, the one with a number.
            SELECT DISTINCT ON (id) *, numbers -> provider AS number
              FROM candidate
             ORDER BY id, provider IS NULL, ended_id
        ), locked AS MATERIALIZED (
            -- One after the other, in the order of their ids, however the server joins them to their updates.
            SELECT chosen.*
              FROM chosen
             CROSS JOIN LATERAL (
                   SELECT id FROM lookups WHERE lookups.id = chosen.id LIMIT 1 FOR NO KEY UPDATE) AS held
        ), changed_lookup AS (
            UPDATE lookups
               SET final_status = CASE WHEN locked.provider IS NOT NULL THEN 'found'
                                       ELSE locked.status::text END::final_status,
                   finished_at = now(),
                   mobile      = locked.number ->> 'mobile',
                   mobile_raw  = COALESCE(locked.number ->> 'raw',
                                          (SELECT locked.numbers -> wanted.provider ->> 'raw'
                                             FROM unnest(lookups.providers) AS wanted (provider)
                                            WHERE locked.numbers ? wanted.provider
                                              -- Written, and not readable; a readable one was reported wrong.
                                              AND locked.numbers -> wanted.provider ->> 'mobile' IS NULL
                                            LIMIT 1)),
                   region      = locked.number ->> 'region',
                   line_type   = locked.number ->> 'line_type',
                   provider    = locked.provider,
                   reason      = CASE WHEN locked.provider IS NULL THEN locked.reason END,
                   search_id   = locked.ended_id,
                   reused_from = NULLIF(locked.begun_for, lookups.id),
                   insists     = false
              FROM locked
             WHERE lookups.id = locked.id
               AND lookups.mobile IS NULL
               AND (lookups.final_status IS NULL OR lookups.final_status IN ('not_found', 'failed', 'unresolved'))
            RETURNING lookups.id, lookups.source, lookups.record_id, lookups.final_status
        )
"""
FOLLOWED = """
        SELECT ARRAY(SELECT id FROM changed_lookup) AS lookups,
               EXISTS (SELECT FROM delivery) AS delivers,
               ARRAY(SELECT id
                       FROM ended
                      WHERE id IN (SELECT ended_id FROM candidate GROUP BY ended_id HAVING count(*) >= $3)
                         OR (SELECT true   -- open, and left behind: it has to be decided anew
                               FROM (SELECT *
                                       FROM lookups
                                      WHERE lookups.search_id = ended.id
                                        AND (lookups.final_status IS NULL
                                             OR lookups.final_status IN ('not_found', 'failed', 'unresolved'))
                                     OFFSET 0) AS lookups
                              WHERE lookups.final_status IS NULL
                                AND lookups.id NOT IN (SELECT id FROM candidate)
                              LIMIT 1)) AS unswept,
               ARRAY(SELECT search_id FROM chosen EXCEPT SELECT id FROM ended) AS left
"""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The effect of one chunk: *lookups* that ended; *unswept* searches, which have more lookups to end or decide anew.

    *left*: other searches, for which some of the ended lookups had waited. *delivers*: whether there are deliveries.
    """

    lookups: Sequence[UUID]
    unswept: Sequence[UUID]
    left: Sequence[UUID]
    delivers: bool


async def end_lookups(
    db: Db, searches: Sequence[UUID], not_found: timedelta, channels: Sequence[str], limit: int = CHUNK
) -> Chunk:
    """End up to *limit* lookups of these ended *searches*, which are sorted and locked, as their search ended.

    The lookups are open, not_found, failed or unresolved. The searches share the limit evenly, so that a small search
    need not wait for a large one.
    """
    row = await db.fetchrow(
        f"WITH {CHANNELS.cte('channel')}, {CANDIDATES}, {DONE}, {NEW_DELIVERIES} {FOLLOWED}",
        searches,
        not_found,
        max(1, limit // max(1, len(searches))),
        list(channels),
    )
    assert row is not None  # noqa: S101  it counts
    return Chunk(row["lookups"], row["unswept"], row["left"], row["delivers"])


async def mark(db: Db, searches: Sequence[UUID], *, unswept: bool) -> None:
    """Mark these ended *searches*, which are locked, as unswept or swept."""
    await db.execute(
        """
        UPDATE searches
           SET unswept = $2
         WHERE id = ANY($1::uuid[])
           AND ended_at IS NOT NULL
           AND unswept <> $2
        """,
        searches,
        unswept,
    )


async def lock_unswept(db: Db, searches: Sequence[UUID]) -> list[UUID]:
    """Lock those of these *searches* that are unswept, before their lookups, as the order of locks requires."""
    rows = await db.fetch(
        "SELECT id FROM searches WHERE id = ANY($1::uuid[]) AND unswept ORDER BY id FOR NO KEY UPDATE",
        searches,
    )
    return [row["id"] for row in rows]


async def unswept_searches(db: Db, limit: int) -> list[UUID]:
    """Return searches with lookups that have yet to follow: the process that ended them died before it was done."""
    rows = await db.fetch("SELECT id FROM searches WHERE unswept ORDER BY id LIMIT $1", limit)
    return [row["id"] for row in rows]
