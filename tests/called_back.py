"""Nyne's callbacks, each at the genuine address of its job, and their verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
from pydantic import SecretStr

from enrichment.tokens import callback_url
from tests.asgi import Answer, Client
from tests.conftest import SANE
from tests.wishes import read

if TYPE_CHECKING:
    from tests.wishes import Pool

KEY = SecretStr(SANE["callback_keys"])


def path_for(job_id: UUID, provider: str = "nyne", key: SecretStr = KEY) -> str:
    """Return the path at which the provider calls back for this job."""
    return callback_url("", [key], provider, job_id)


def found(request_id: str | None, mobile: str = "+15551234567") -> dict[str, Any]:
    """Return Nyne's callback with a number."""
    return {"status": "completed", "request_id": request_id, "result": {"mobile": mobile}}


def not_found(request_id: str | None) -> dict[str, Any]:
    """Return Nyne's callback without a number."""
    return {"status": "completed", "request_id": request_id, "result": {}}


async def call_back(client: Client, row: asyncpg.Record, body: Any) -> Answer:
    """Send a callback for this job."""
    return await client.post(path_for(row["id"]), body)


async def lookup_of(pool: Pool, row: asyncpg.Record) -> asyncpg.Record:
    """Return the job's lookup as it is now."""
    return await read(pool, row["lookup_id"])


async def verdicts(pool: Pool) -> list[str]:
    """Return the verdict of each stored callback, oldest first."""
    rows = await pool.fetch("SELECT verdict FROM callbacks ORDER BY received_at, verdict")
    return [row["verdict"] for row in rows]
