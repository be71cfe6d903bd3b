"""A database some months old, with lookups, searches and jobs of those months."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from store.partitions import Month, ensure_partitions, first_id
from tests import factories

if TYPE_CHECKING:
    from tests.wishes import Pool

NOW = datetime.now(UTC)
DAYS = 60  # older months may go: all of MONTHS
MONTHS = [Month.of(NOW - timedelta(days=days)) for days in (130, 95)]
OLDER, OLD = (month.begin + timedelta(days=14) for month in MONTHS)
_numbers = itertools.count(1)


def at(moment: datetime) -> UUID:
    """Return a new UUIDv7 of that moment."""
    return UUID(int=first_id(moment).int | 7 << 76 | 2 << 62 | next(_numbers))


async def make_months(pool: Pool) -> None:
    """Make the partitions since the oldest of the months."""
    async with pool.acquire(timeout=5) as connection:
        await ensure_partitions(connection, since=OLDER)


async def lookup(pool: Pool, moment: datetime = OLD, **overrides: Any) -> asyncpg.Record:
    """Insert a lookup that began and ended then, with its search, unless *overrides* say otherwise."""
    final: dict[str, Any] = {"final_status": "not_found", "finished_at": moment, "created_at": moment}
    return await factories.lookup(pool, **({"id": at(moment), "event_id": at(moment)} | final | overrides))


async def open_lookup(pool: Pool, moment: datetime = OLD, **overrides: Any) -> asyncpg.Record:
    """Insert a lookup that began then, and has not ended; its search neither, unless *search_id* names one."""
    return await lookup(pool, moment, final_status=None, finished_at=None, **overrides)


async def finished_job(pool: Pool, moment: datetime = OLD, **overrides: Any) -> asyncpg.Record:
    """Insert a job that began and ended then, was charged and called back; with its lookup."""
    values: dict[str, Any] = {"id": at(moment), "finished_at": moment, "submitted_at": moment, "credits": 3} | overrides
    if "lookup_id" not in values:
        values["lookup_id"] = (await lookup(pool, moment))["id"]
    row = await factories.finished_job(pool, **values)
    await pool.execute(
        "INSERT INTO callbacks (job_id, body_hash, provider, body, verdict) VALUES ($1, 'x', 'nyne', '', 'applied')",
        row["id"],
    )
    return row
