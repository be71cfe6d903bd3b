"""Budgets: how many more questions they allow, of all and of each source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import asyncpg

from enrichment.guards import Budget
from store.database import Db

BUDGET_LOCK = 7_243_391_102_002  # any number, but always this one: budgets are reserved one claim at a time
UNLIMITED = 1_000_000  # questions


@dataclass(frozen=True, slots=True)
class Room:
    """How many more *questions* one provider may be asked, and how many of them each source with a budget may pay."""

    questions: int = UNLIMITED
    sources: Mapping[str, int] = field(default_factory=dict)

    def of(self, source: str) -> int:
        """Return how many questions *source* may pay."""
        return self.sources.get(source, UNLIMITED)


async def lock_room(db: Db, provider: str, price: Decimal, budgets: Sequence[Budget]) -> Room:
    """Return how many questions at *price* the budgets allow; lock the budgets until the transaction ends."""
    concerned = [budget for budget in budgets if budget.provider in (None, provider)]
    if not concerned or price == 0:
        return Room()
    await db.execute("SELECT pg_advisory_xact_lock($1)", BUDGET_LOCK)
    return await read_room(db, price, concerned)


async def read_room(db: Db, price: Decimal, budgets: Sequence[Budget]) -> Room:
    """Return how many questions at *price* all of these *budgets* allow now. Another claim may use them up."""
    questions, sources = UNLIMITED, dict[str, int]()
    for row in await read_budgets_left(db, budgets) if budgets and price > 0 else ():
        affordable = max(0, int(row["left"] // price))
        if row["source"] is None:
            questions = min(questions, affordable)
        else:
            sources[row["source"]] = min(affordable, sources.get(row["source"], UNLIMITED))
    return Room(questions, sources)


async def read_budgets_left(db: Db, budgets: Sequence[Budget]) -> list[asyncpg.Record]:
    """Return each budget with the credits `used` in its UTC day or month, and what is `left`."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT budget.provider, budget.source, budget.period, budget.credits, spent.used,
               budget.credits - spent.used AS left
          FROM unnest($1::text[], $2::text[], $3::text[], $4::numeric[])
               WITH ORDINALITY AS budget (provider, source, period, credits, place)
         CROSS JOIN LATERAL (
               SELECT COALESCE(sum(reserved + charged + possible), 0) AS used
                 FROM usage
                WHERE day >= date_trunc(budget.period, now() AT TIME ZONE 'UTC')::date
                  AND (budget.provider IS NULL OR usage.provider = budget.provider)
                  AND (budget.source IS NULL OR usage.source = budget.source)) AS spent
         ORDER BY budget.place
        """,
        [budget.provider for budget in budgets],
        [budget.source for budget in budgets],
        [budget.period for budget in budgets],
        [budget.credits for budget in budgets],
    )
    return rows


async def release_affordable(db: Db, provider: str, room: Room, limit: int) -> int:
    """Queue up to *limit* jobs of *provider* that wait for a budget, oldest first, as far as there is *room*.

    Of each source no more than it may pay for: the jobs of a source without credits stay, and are not read. Return
    how many were queued.
    """
    rows = await db.fetch(
        """
        WITH RECURSIVE payer AS (
            SELECT min(source) AS source FROM jobs WHERE provider = $1 AND held = 'budget'
            UNION ALL
            SELECT (SELECT min(jobs.source)   -- the next one: a jump through the index
                      FROM jobs
                     WHERE provider = $1 AND held = 'budget' AND jobs.source > payer.source)
              FROM payer
             WHERE payer.source IS NOT NULL
        ), affordable AS MATERIALIZED (
            SELECT held.id
              FROM payer
              LEFT JOIN unnest($3::text[], $4::int[]) AS share (source, most) USING (source)
             CROSS JOIN LATERAL (
                   SELECT id, due_at
                     FROM jobs
                    WHERE provider = $1 AND held = 'budget' AND jobs.source = payer.source
                    ORDER BY due_at, id
                    LIMIT LEAST(share.most, $2::int)
                      FOR UPDATE SKIP LOCKED) AS held
             WHERE payer.source IS NOT NULL
             ORDER BY held.due_at, held.id
             LIMIT $2::int
        )
        UPDATE jobs
           SET held = NULL
          FROM affordable
         WHERE jobs.id = affordable.id
           AND jobs.held = 'budget'
        RETURNING jobs.id
        """,
        provider,
        min(limit, room.questions),
        list(room.sources),
        list(room.sources.values()),
    )
    return len(rows)
