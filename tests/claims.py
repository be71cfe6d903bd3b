"""Claims as a submitter makes them, at 3 credits a question, and the queue that they leave."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from uuid_utils.compat import uuid7

from enrichment.guards import Budget
from enrichment.providers.base import Limit
from store.claim import Claim, claim

if TYPE_CHECKING:
    from tests.wishes import Pool

QUICK = (Limit(10_000_000, 60),)
LEASE = timedelta(seconds=20)


async def take(db: Pool, provider: str = "nyne", most: int = 100, budgets: list[Budget] | None = None) -> Claim:
    """Make one claim at 3 credits a question."""
    return await claim(
        db, provider, most=most, price=Decimal(3), lease=LEASE, callback_expected=True, claim_id=uuid7(),
        budgets=budgets or [],
    )  # fmt: skip


async def ids(db: Pool, *, held: str | None = None, provider: str = "nyne") -> set[UUID]:
    """Return the queued jobs of *provider* that are *held* in this way."""
    rows = await db.fetch(
        "SELECT id FROM jobs WHERE state = 'queued' AND provider = $1 AND held IS NOT DISTINCT FROM $2", provider, held
    )
    return {row["id"] for row in rows}


async def reserved(db: Pool) -> Decimal:
    """Return the credits reserved today, by the sums."""
    total: Decimal = await db.fetchval("SELECT COALESCE(sum(reserved), 0) FROM usage")
    return total


async def later(db: Pool, name: str, column: str) -> None:
    """Set the provider's moment in *column* to a second ago."""
    await db.execute(f"UPDATE providers SET {column} = now() - interval '1 second' WHERE name = $1", name)  # noqa: S608
