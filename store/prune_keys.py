"""Delete the keys and fingerprints that lead only to history that is gone.

A shared key is kept for ever, although it leads nowhere: without it, the people who share that address would be taken
for one person again. It is a hash and a flag, one for each contested address.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from store.partitions import Connection, first_id

CHUNK = 10_000  # rows that one statement looks at


async def drop_keys(connection: Connection, cutoff: datetime) -> AsyncIterator[int]:
    """Remove links to searches from before *cutoff* that are gone, and delete the keys that have no link left.

    Yield the number of deleted keys of each chunk. Skip a key that another transaction has locked: that transaction
    is about to change its links.
    """
    async for gone in _by_chunks(connection, _KEYS, cutoff):
        yield gone


async def drop_fingerprints(connection: Connection, cutoff: datetime) -> AsyncIterator[int]:
    """Delete the fingerprints of lookups from before *cutoff* that are gone. Yield how many, chunk by chunk."""
    async for gone in _by_chunks(connection, _FINGERPRINTS, cutoff):
        yield gone


async def _by_chunks(connection: Connection, statement: str, cutoff: datetime) -> AsyncIterator[int]:
    last: bytes | None = b""
    while last is not None:
        async with connection.transaction():
            # A plan for any chunk size would read the whole table for each chunk.
            await connection.execute("SET LOCAL plan_cache_mode = 'force_custom_plan'")
            row = await connection.fetchrow(statement, last, CHUNK, first_id(cutoff))
        assert row is not None  # noqa: S101  it counts
        last = row["last"]
        if row["gone"]:
            yield row["gone"]


# LIMIT 1 keeps the planner from hashing all searches: each id is looked up in its month.
_KEYS = """
    WITH chunk AS MATERIALIZED (
        SELECT key, searches
          FROM keys
         WHERE key > $1
         ORDER BY key
         LIMIT $2
    ), link AS (
        SELECT chunk.key, chunk.searches, known.search_id, known.place,
               known.search_id >= $3 OR there.id IS NOT NULL AS is_there
          FROM chunk
         CROSS JOIN LATERAL unnest(chunk.searches) WITH ORDINALITY AS known (search_id, place)
          LEFT JOIN LATERAL (
               SELECT id FROM searches WHERE searches.id = known.search_id AND known.search_id < $3 LIMIT 1
               ) AS there ON true
    ), thinner AS MATERIALIZED (
        SELECT key, searches,
               COALESCE(array_agg(search_id ORDER BY place) FILTER (WHERE is_there), '{}') AS kept
          FROM link
         GROUP BY key, searches
        HAVING NOT bool_and(is_there)
    ), locked AS MATERIALIZED (
        SELECT keys.key, thinner.kept
          FROM thinner
          JOIN keys ON keys.key = thinner.key AND keys.searches = thinner.searches
         ORDER BY keys.key
           FOR UPDATE OF keys SKIP LOCKED
    ), gone AS (
        DELETE FROM keys
         USING locked
         WHERE keys.key = locked.key
           AND locked.kept = '{}'
        RETURNING keys.key
    ), thinned AS (
        UPDATE keys
           SET searches = locked.kept
          FROM locked
         WHERE keys.key = locked.key
           AND locked.kept <> '{}'
    )
    SELECT (SELECT key FROM chunk ORDER BY key DESC LIMIT 1) AS last,
           (SELECT count(*) FROM gone) AS gone
"""

_FINGERPRINTS = """
    WITH chunk AS MATERIALIZED (
        SELECT fingerprint, lookup_id
          FROM fingerprints
         WHERE fingerprint > $1
         ORDER BY fingerprint
         LIMIT $2
    ), stray AS MATERIALIZED (
        SELECT fingerprints.fingerprint
          FROM chunk
          LEFT JOIN LATERAL (
               SELECT id FROM lookups WHERE lookups.id = chunk.lookup_id AND chunk.lookup_id < $3 LIMIT 1
               ) AS there ON true
          JOIN fingerprints ON fingerprints.fingerprint = chunk.fingerprint
                           AND fingerprints.lookup_id = chunk.lookup_id
         WHERE chunk.lookup_id < $3
           AND there.id IS NULL
         ORDER BY fingerprints.fingerprint
           FOR UPDATE OF fingerprints SKIP LOCKED
    ), gone AS (
        DELETE FROM fingerprints
         USING stray
         WHERE fingerprints.fingerprint = stray.fingerprint
        RETURNING fingerprints.fingerprint
    )
    SELECT (SELECT fingerprint FROM chunk ORDER BY fingerprint DESC LIMIT 1) AS last,
           (SELECT count(*) FROM gone) AS gone
"""
