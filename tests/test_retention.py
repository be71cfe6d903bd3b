"""RETAIN_DAYS: raw bodies are emptied when they are old, and results stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from store.partitions import first_id
from store.retention import empty_bodies
from tests.factories import finished_job, lookup
from tests.wishes import read

if TYPE_CHECKING:
    from tests.wishes import Pool

MONTH = timedelta(days=30)


def made(days_ago: float, number: int = 0) -> UUID:
    """An id that was made so many days ago."""
    return UUID(int=first_id(datetime.now(UTC) - timedelta(days=days_ago)).int + number)


async def bodies(pool: Pool) -> list[bytes]:
    """The events' bodies, in order of age."""
    return [row["body"] for row in await pool.fetch("SELECT body FROM events ORDER BY id")]


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_old_bodies_are_emptied_in_steps(pool: Pool, limit: int) -> None:
    """However few at a time: all old ones are, and no young one is."""
    for number, days in enumerate((90, 60, 60, 31, 29, 0)):
        await lookup(pool, event_id=made(days, number))

    while await empty_bodies(pool, MONTH, limit):
        pass

    assert await bodies(pool) == [b""] * 4 + [b"{}"] * 2


async def test_results_stay(pool: Pool) -> None:
    """The number, the status and the ledger's sums are no raw body; a provider's strange words are."""
    row = await lookup(pool, id=made(60), event_id=made(60), final_status="found")
    await finished_job(pool, id=made(60), lookup_id=row["id"], raw="what they said", credits=3)
    await pool.execute(
        """
        INSERT INTO callbacks (job_id, body_hash, provider, body, verdict)
        VALUES ($1, '\\x01', 'nyne', 'x', 'ignored')
        """,
        made(60),
    )

    assert await empty_bodies(pool, MONTH, 100) == 3

    assert (await read(pool, row["id"]))["mobile"] == row["mobile"]
    assert tuple(await pool.fetchrow("SELECT raw, credits FROM finished_jobs") or ()) == (None, 3)
    assert await pool.fetchval("SELECT body FROM callbacks") == b""
    assert await empty_bodies(pool, MONTH, 100) == 0
