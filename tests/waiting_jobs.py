"""Jobs that wait for a submitter that fell silent, or for an overdue answer, and how they ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from tests.at_work import AtWork
from tests.factories import job, lookup


async def ago(world: AtWork, **span: float) -> Any:
    """Return the time so long ago."""
    return await world.pool.fetchval("SELECT now() - $1::interval", timedelta(**span))


async def silent(world: AtWork, **more: Any) -> asyncpg.Record:
    """Insert a job whose submitter has been silent since its lease ran out."""
    row = await lookup(world.pool, providers=["nyne"])
    given = {"lookup_id": row["id"], "lease_expires_at": await ago(world, seconds=1), **more}
    return await job(world.pool, "submitting", **given)


async def overdue(world: AtWork, **more: Any) -> asyncpg.Record:
    """Insert a job that was accepted and then got no answer."""
    row = await lookup(world.pool, providers=["nyne"])
    given = {"lookup_id": row["id"], "request_id": "req-1", "due_at": await ago(world, seconds=1), **more}
    return await job(world.pool, "awaiting", **given)


async def end_of(world: AtWork, job_id: UUID) -> tuple[Any, ...]:
    """Return the finished job: state, the way it was answered, charged, possibly charged."""
    row = await world.pool.fetchrow(
        "SELECT state::text, answered_by, credits, possible FROM finished_jobs WHERE id = $1", job_id
    )
    assert row is not None
    return tuple(row)
