"""The claim of readings: one statement that leaves them alone while their CRM is shut."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from uuid_utils.compat import uuid7

from store import reading_work
from store.sweeps import name

if TYPE_CHECKING:
    from tests.wishes import Pool

LEASE = timedelta(seconds=20)


async def claimed(pool: Pool) -> set[str]:
    """Claim readings, and return the ids of their records."""
    found = await reading_work.claim(pool, "hubspot", most=9, lease=LEASE, claim_id=uuid7())
    return {one.record_id for one in found}


@pytest.mark.parametrize(
    "how",
    [
        "paused_at = now(), paused_reason = 'the token was refused', check_at = now()",
        "rest_until = now() + interval '1 min'",
        "open_until = now() + interval '1 min'",
    ],
    ids=["paused", "resting", "breaker"],
)
async def test_nothing_is_claimed_for_a_crm_that_is_shut(pool: Pool, how: str) -> None:
    """Neither what events named nor a backfill; afterwards both."""
    await pool.execute(f"INSERT INTO providers (name) VALUES ('hubspot'); UPDATE providers SET {how}")  # noqa: S608  ours
    await name(pool, "hubspot", "event", {"1": None})
    await name(pool, "hubspot", "backfill", {"2": None})

    assert await claimed(pool) == set()

    await pool.execute(
        """
        UPDATE providers
           SET paused_at = NULL, paused_reason = NULL, check_at = NULL,
               rest_until = now() - interval '1 min', open_until = now() - interval '1 min'
        """
    )
    assert await claimed(pool) == {"1", "2"}
