"""The answers to a campaign's sample, the quote that they lead to, and the end of a campaign."""

from __future__ import annotations

import json
from dataclasses import asdict
from decimal import Decimal
from typing import Any
from uuid import UUID

from enrichment.quote import Answered, quote
from store.campaigns import Campaign
from store.database import Db


async def quote_sample(db: Db, campaign: Campaign) -> bool:
    """Keep the quote of a sample that has all its answers (sampling -> quoted). Return False if it has not."""
    rows = await db.fetch(
        """
        SELECT status::text, credits
          FROM campaign_rows
         WHERE campaign_id = $1
           AND is_sampled
           AND verdict = 'new'   -- others were erased
        """,
        campaign.id,
    )
    if any(row["status"] is None for row in rows):
        return False
    population, dearest = await _population(db, campaign.id)
    # A lookup that was cancelled before it was asked says nothing about the rows that will be.
    answers = [row for row in rows if row["status"] != "cancelled" or row["credits"]]
    answered = [Answered(row["status"] == "found", row["credits"]) for row in answers]
    found = asdict(quote(answered, population, dearest)) if answered else {}
    row = await db.fetchrow(
        "UPDATE campaigns SET state = 'quoted', quote = $2::jsonb WHERE id = $1 AND state = 'sampling' RETURNING id",
        campaign.id,
        json.dumps(found, default=_number),
    )
    return row is not None


async def end(db: Db, id: UUID) -> bool:
    """End a campaign of which no row is left or open (running -> done)."""
    row = await db.fetchrow(
        """
        UPDATE campaigns
           SET state = 'done', done_at = now()
         WHERE id = $1
           AND state = 'running'
           AND NOT EXISTS (SELECT
                             FROM campaign_rows
                            WHERE campaign_id = $1
                              AND lookup_id IS NULL AND verdict IN ('new', 'duplicate', 'known'))
           AND NOT EXISTS (SELECT
                             FROM campaign_rows
                            WHERE campaign_id = $1
                              AND lookup_id IS NOT NULL AND status IS NULL)
        RETURNING id
        """,
        id,
    )
    return row is not None


async def _population(db: Db, id: UUID) -> tuple[int, Decimal]:
    """Return how many rows may cost something, and the most that one of them can."""
    row = await db.fetchrow(
        """
        SELECT count(*)::int AS rows, COALESCE(max(most), 0) AS dearest
          FROM campaign_rows
         WHERE campaign_id = $1
           AND verdict = 'new'
        """,
        id,
    )
    assert row is not None  # noqa: S101  it counts
    return row["rows"], row["dearest"]


def _number(value: Any) -> float:
    return float(value)
