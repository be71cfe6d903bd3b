"""Rows put into a database in bulk, as the processes would have left them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

REQUEST = "a1b2c3d4e5f6_1760000000_{}"


async def awaiting(connection: asyncpg.Connection[Any], count: int) -> list[UUID]:
    """So many Nyne jobs await their callback; the number in a job's request_id is its place in the list."""
    jobs = [uuid7() for _ in range(count)]
    lookups = await _lookups(connection, "nyne", count)
    await connection.execute(
        """
        INSERT INTO jobs (id, lookup_id, provider, state, todo, attempt, due_at, submitted_at, callback_expected,
                          request_id, reserved, reserved_on)
        SELECT id, lookup_id, 'nyne', 'awaiting', '{}', 1, now() + interval '1 hour', now(), true,
               format($3, place - 1), 3, (now() AT TIME ZONE 'UTC')::date
          FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS new (id, lookup_id, place)
        """,
        jobs,
        lookups,
        REQUEST.format("%s"),
    )
    await _reserve(connection, "nyne", 3 * count)
    await settle(connection)
    return jobs


async def queued(connection: asyncpg.Connection[Any], count: int, provider: str = "leadmagic") -> None:
    """So many lookups have been taken in, and their first jobs are due."""
    jobs = [uuid7() for _ in range(count)]
    lookups = await _lookups(connection, provider, count)
    await connection.execute(
        """
        INSERT INTO jobs (id, lookup_id, provider, todo)
        SELECT id, lookup_id, $3, '{}' FROM unnest($1::uuid[], $2::uuid[]) AS new (id, lookup_id)
        """,
        jobs,
        lookups,
        provider,
    )
    await settle(connection)


async def settle(connection: asyncpg.Connection[Any]) -> None:
    """What was seeded is known to the planner, and on disk: nobody's measurement pays for it."""
    # Partition by partition, as autovacuum does it: nobody analyzes a partitioned table as a whole.
    tables = await connection.fetch(
        "SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema::regnamespace"
    )
    await connection.execute(f"VACUUM (ANALYZE) {', '.join(row[0] for row in tables)}")
    await connection.execute("CHECKPOINT")


async def _lookups(connection: asyncpg.Connection[Any], provider: str, count: int) -> Sequence[UUID]:
    ids = [uuid7() for _ in range(count)]
    await connection.execute(
        """
        INSERT INTO lookups (id, event_id, source, record_id, profile_url, work_email, name, company, providers)
        SELECT id, id, 'generic', format('crm-%s', place), format('linkedin.com/in/person-%s', place),
               format('person-%s@acme.co', place), format('Jane Doe %s', place), 'Acme', ARRAY[$2::text]
          FROM unnest($1::uuid[]) WITH ORDINALITY AS new (id, place)
        """,
        ids,
        provider,
    )
    return ids


async def _reserve(connection: asyncpg.Connection[Any], provider: str, credits: int) -> None:
    await connection.execute(
        """
        INSERT INTO usage (provider, day, slot, reserved) VALUES ($1, (now() AT TIME ZONE 'UTC')::date, 0, $2)
            ON CONFLICT (provider, day, slot) DO UPDATE SET reserved = usage.reserved + excluded.reserved
        """,
        provider,
        credits,
    )
