"""Insert rows in bulk, as the processes would have left them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

REQUEST = "a1b2c3d4e5f6_1760000000_{}"


async def awaiting(connection: asyncpg.Connection[Any], count: int) -> list[UUID]:
    """Insert Nyne jobs that await their callback; the number in a job's request_id is its place in the list."""
    jobs = [uuid7() for _ in range(count)]
    searches, lookups = await _lookups(connection, "nyne", count)
    await connection.execute(
        """
        INSERT INTO jobs (id, search_id, lookup_id, source, provider, state, todo, attempt, due_at, submitted_at,
                          callback_expected, request_id, reserved, reserved_on)
        SELECT id, search_id, lookup_id, 'generic', 'nyne', 'awaiting', '{}', 1, now() + interval '1 hour', now(), true,
               format($4, place - 1), 3, (now() AT TIME ZONE 'UTC')::date
          FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS new (id, search_id, lookup_id, place)
        """,
        jobs,
        searches,
        lookups,
        REQUEST.format("%s"),
    )
    await _reserve(connection, "nyne", 3 * count)
    await settle(connection)
    return jobs


async def queued(connection: asyncpg.Connection[Any], count: int, provider: str = "leadmagic") -> None:
    """Insert lookups whose first jobs are due."""
    jobs = [uuid7() for _ in range(count)]
    searches, lookups = await _lookups(connection, provider, count)
    await connection.execute(
        """
        INSERT INTO jobs (id, search_id, lookup_id, source, provider, todo)
        SELECT id, search_id, lookup_id, 'generic', $4, '{}'
          FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS new (id, search_id, lookup_id)
        """,
        jobs,
        searches,
        lookups,
        provider,
    )
    await settle(connection)


async def settle(connection: asyncpg.Connection[Any]) -> None:
    """Tell the planner what was seeded, and write it to disk, so that no measurement pays for it."""
    # Partition by partition, as autovacuum does it: it never analyzes a partitioned table as a whole.
    tables = await connection.fetch(
        "SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema::regnamespace"
    )
    await connection.execute(f"VACUUM (ANALYZE) {', '.join(row[0] for row in tables)}")
    await connection.execute("CHECKPOINT")


async def _lookups(
    connection: asyncpg.Connection[Any], provider: str, count: int
) -> tuple[Sequence[UUID], Sequence[UUID]]:
    """Insert open lookups, each with its search, two keys and its fingerprint. Return searches and lookups."""
    searches = [uuid7() for _ in range(count)]
    lookups = [uuid7() for _ in range(count)]
    await connection.execute(
        """
        WITH new AS MATERIALIZED (
            SELECT *, ARRAY[decode(md5(id || 'profile'), 'hex'), decode(md5(id || 'e-mail'), 'hex')] AS keys
              FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS new (search_id, id, place)
        ), search AS (
            INSERT INTO searches (id, begun_for, keys, asked, providers, slug, names)
            SELECT search_id, id, keys, keys, ARRAY[$3::text], keys[1], ARRAY[format('Jane Doe %s', place)]
              FROM new
        ), key AS (
            INSERT INTO keys (key, searches)
            SELECT unnest(keys), ARRAY[search_id] FROM new
        ), fingerprint AS (
            INSERT INTO fingerprints (fingerprint, lookup_id)
            SELECT decode(md5(id || 'event'), 'hex'), id FROM new
        )
        INSERT INTO lookups (id, event_id, source, record_id, profile_url, work_email, name, company, providers,
                             keys, identifiers, search_id)
        SELECT id, id, 'generic', format('crm-%s', place), format('linkedin.com/in/person-%s', place),
               format('person-%s@acme.co', place), format('Jane Doe %s', place), 'Acme', ARRAY[$3::text],
               keys, keys, search_id
          FROM new
        """,
        searches,
        lookups,
        provider,
    )
    return searches, lookups


async def _reserve(connection: asyncpg.Connection[Any], provider: str, credits: int) -> None:
    await connection.execute(
        """
        INSERT INTO usage (provider, source, day, slot, reserved)
        VALUES ($1, 'generic', (now() AT TIME ZONE 'UTC')::date, 0, $2)
            ON CONFLICT (provider, source, day, slot) DO UPDATE SET reserved = usage.reserved + excluded.reserved
        """,
        provider,
        credits,
    )
