"""A database that has been there for some months, with lookups and jobs of then, for those who drop them."""

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
DAYS = 60  # what is older may go: all of MONTHS
MONTHS = [Month.of(NOW - timedelta(days=days)) for days in (130, 95)]
OLDER, OLD = (month.begin + timedelta(days=14) for month in MONTHS)
_numbers = itertools.count(1)


def at(moment: datetime) -> UUID:
    """A new UUIDv7 of that moment."""
    return UUID(int=first_id(moment).int | 7 << 76 | 2 << 62 | next(_numbers))


async def make_months(pool: Pool) -> None:
    """There are partitions since the oldest of the months."""
    async with pool.acquire(timeout=5) as connection:
        await ensure_partitions(connection, since=OLDER)


async def lookup(pool: Pool, moment: datetime = OLD, **overrides: Any) -> asyncpg.Record:
    """A lookup that began and ended then, unless something else is said, and speaks for its person."""
    final: dict[str, Any] = {"final_status": "not_found", "finished_at": moment, "created_at": moment}
    row = await factories.lookup(pool, **({"id": at(moment), "event_id": at(moment)} | final | overrides))
    await factories.speak(pool, row)
    return row


async def open_lookup(pool: Pool, moment: datetime = OLD, **overrides: Any) -> asyncpg.Record:
    """A lookup that began then, and has not ended."""
    return await lookup(pool, moment, final_status=None, finished_at=None, **overrides)


async def finished_job(pool: Pool, moment: datetime = OLD, **overrides: Any) -> asyncpg.Record:
    """A job that began and ended then, was charged for and called back; with its lookup."""
    values: dict[str, Any] = {"id": at(moment), "finished_at": moment, "submitted_at": moment, "credits": 3} | overrides
    if "lookup_id" not in values:
        values["lookup_id"] = (await lookup(pool, moment))["id"]
    row = await factories.finished_job(pool, **values)
    await pool.execute(
        "INSERT INTO callbacks (job_id, body_hash, provider, body, verdict) VALUES ($1, 'x', 'nyne', '', 'applied')",
        row["id"],
    )
    return row
