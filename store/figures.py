"""What providers say of their accounts, once an hour: after a restore it shows what they charged meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from enrichment.figures import Figure
from enrichment.providers.base import Health
from store.database import Db

KEPT_FOR = timedelta(days=90)


async def is_due(db: Db, provider: str, every: timedelta) -> bool:
    """Tell whether the last figure of *provider* is as old as *every*, or there is none."""
    due: bool = await db.fetchval(
        "SELECT NOT EXISTS (SELECT FROM vendor_figures WHERE provider = $1 AND at > now() - $2::interval)",
        provider,
        every,
    )
    return due


async def keep(db: Db, provider: str, told: Health, every: timedelta) -> bool:
    """Keep what *provider* told, with what our ledger has booked, unless another process did; drop old figures."""
    if told.balance is None and told.used is None:
        return False
    kept = await db.fetchval(
        """
        WITH old AS (
            DELETE FROM vendor_figures WHERE provider = $1 AND at < now() - $5::interval
        )
        INSERT INTO vendor_figures (provider, balance, used, charged)
        SELECT $1, $2, $3, COALESCE((SELECT sum(charged) FROM usage WHERE provider = $1), 0)
         WHERE NOT EXISTS (SELECT FROM vendor_figures WHERE provider = $1 AND at > now() - $4::interval)
        RETURNING true
        """,
        provider,
        told.balance,
        told.used,
        every,
        KEPT_FOR,
    )
    return bool(kept)


async def figure_before(db: Db, provider: str, moment: datetime) -> Figure | None:
    """Return the last figure of *provider* at *moment* or before."""
    row = await db.fetchrow(
        """
        SELECT at, balance, used, charged
          FROM vendor_figures
         WHERE provider = $1 AND at <= $2
         ORDER BY at DESC
         LIMIT 1
        """,
        provider,
        moment,
    )
    return Figure(**row) if row else None


async def figures_by_day(db: Db, since: datetime) -> dict[str, list[Figure]]:
    """Return by provider the last figure of each UTC day from *since* on, oldest first."""
    rows = await db.fetch(
        """
        SELECT DISTINCT ON (provider, (at AT TIME ZONE 'UTC')::date) provider, at, balance, used, charged
          FROM vendor_figures
         WHERE at >= $1
         ORDER BY provider, (at AT TIME ZONE 'UTC')::date, at DESC
        """,
        since,
    )
    found: dict[str, list[Figure]] = {}
    for row in rows:
        found.setdefault(row["provider"], []).append(Figure(row["at"], row["balance"], row["used"], row["charged"]))
    return found


async def figure_now(db: Db, provider: str, told: Health) -> tuple[Figure, Decimal]:
    """Return what *provider* told as a figure of now, and what our ledger has booked for it in this month (UTC)."""
    row = await db.fetchrow(
        """
        SELECT now() AS at, COALESCE(sum(charged), 0) AS charged,
               COALESCE(sum(charged) FILTER (WHERE day >= date_trunc('month', now() AT TIME ZONE 'UTC')), 0) AS month
          FROM usage
         WHERE provider = $1
        """,
        provider,
    )
    assert row is not None  # noqa: S101  an aggregate has a row
    return Figure(row["at"], told.balance, told.used, row["charged"]), row["month"]
