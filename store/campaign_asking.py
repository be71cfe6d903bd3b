"""Turn the rows of a campaign into lookups, a few at a time, and see how they end.

What a campaign has spent, and the most that its open lookups can still cost, never passes the approved credits: that is
checked in the commit that begins a row, from the jobs themselves and not from the forecast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.campaign import SOURCE, RowRead, body_of
from enrichment.campaign_waits import Waiting
from enrichment.wish import Policy
from store.database import Db, transaction
from store.intake import Event, ingest_in

SETTLED_AT_ONCE = 1000  # rows of one statement


class MovedOn(Exception):
    """A row, or the campaign, changed since it was read: look again."""


class TooDear(Exception):
    """The rows could make the campaign cost more than was approved."""


@dataclass(frozen=True, slots=True)
class Left:
    """A row that has yet to begin."""

    number: int
    most: Decimal


async def left(db: Db, id: UUID, limit: int, *, sampled: bool) -> list[Left]:
    """Return the next rows to begin, in the order of the file; *sampled*: only those of the sample."""
    rows = await db.fetch(_SAMPLE_LEFT if sampled else _LEFT, id, limit)
    return [Left(row["number"], row["most"]) for row in rows]


async def waiting(db: Db, id: UUID, prices: Mapping[str, Decimal]) -> list[Waiting]:
    """Return the open lookups of the campaign by what they wait for."""
    rows = await db.fetch(_WAITING, id, list(prices), list(prices.values()))
    return [Waiting(**dict(row)) for row in rows]


async def most_left(db: Db, id: UUID) -> Decimal:
    """Return the most that the rows which have yet to begin can cost."""
    most: Decimal = await db.fetchval(
        """
        SELECT COALESCE(sum(most), 0)
          FROM campaign_rows
         WHERE campaign_id = $1
           AND lookup_id IS NULL AND verdict IN ('new', 'duplicate', 'known')
        """,
        id,
    )
    return most


async def begin(pool: asyncpg.Pool[Any], id: UUID, rows: Sequence[RowRead], policy: Policy) -> None:
    """Commit a lookup for each of *rows*. Raise MovedOn or TooDear: then nothing was begun."""
    wishes = tuple(row.wish for row in rows if row.wish is not None)
    event = Event(SOURCE, body_of(id, rows), wishes, is_approved=True)
    async with transaction(pool) as db:
        # Two processes that begin rows of one campaign at once would not see what the other's can cost.
        if not await db.fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended('campaign ' || $1, 0))", str(id)):
            raise MovedOn
        (receipts,) = await ingest_in(db, [event], policy)
        await _keep(db, id, [row.number for row in rows if row.wish is not None], [one.id for one in receipts])
        row = await db.fetchrow(
            """
            UPDATE campaigns
               SET begun = begun + $2
             WHERE id = $1
               AND state IN ('sampling', 'running')
            RETURNING approved_credits, credits
            """,
            id,
            len(rows),
        )
        if row is None:
            raise MovedOn
        open_credits = sum((one.most for one in await waiting(db, id, policy.guards.prices)), Decimal(0))
        if row["credits"] + open_credits > row["approved_credits"]:
            raise TooDear


async def _keep(db: Db, id: UUID, numbers: Sequence[int], lookups: Sequence[UUID]) -> None:
    """Keep which lookup each row became. Raise MovedOn if one was begun or erased meanwhile."""
    kept = await db.fetch(
        """
        UPDATE campaign_rows
           SET lookup_id = begun.lookup_id
          FROM unnest($2::integer[], $3::uuid[]) AS begun (number, lookup_id)
         WHERE campaign_id = $1
           AND campaign_rows.number = begun.number
           AND campaign_rows.lookup_id IS NULL
           AND verdict IN ('new', 'duplicate', 'known')
        RETURNING campaign_rows.number
        """,
        id,
        numbers,
        lookups,
    )
    if len(kept) < len(numbers):
        raise MovedOn


async def settle(db: Db, id: UUID) -> int:
    """Record the ends of the campaign's open lookups, and what they cost; return how many."""
    settled: int = await db.fetchval(_SETTLE, id, SETTLED_AT_ONCE)
    return settled


_LEFT = """
        SELECT number, most
          FROM campaign_rows
         WHERE campaign_id = $1
           AND lookup_id IS NULL AND verdict IN ('new', 'duplicate', 'known')
         ORDER BY campaign_id, number
         LIMIT $2
"""
_SAMPLE_LEFT = """
        SELECT number, most
          FROM campaign_rows
         WHERE campaign_id = $1
           AND is_sampled
           AND lookup_id IS NULL AND verdict IN ('new', 'duplicate', 'known')
         ORDER BY campaign_id, number
         LIMIT $2
"""
# A lookup can cost what its own job and those after it can, also when it has ended: a late number may end it, and a
# cancelled one's question may be asked for others. One that waits for another's search costs nothing if that asks all
# that it would ask; else it may have to begin its own after it.
_WAITING = """
        WITH price AS MATERIALIZED (
            SELECT * FROM unnest($2::text[], $3::numeric[]) AS price (name, credits)
        ), open AS MATERIALIZED (
            SELECT lookup.*
              FROM campaign_rows
             CROSS JOIN LATERAL (
                   SELECT id, final_status, providers, identifiers, search_id
                     FROM lookups
                    WHERE lookups.id = campaign_rows.lookup_id   -- each in its month
                   OFFSET 0) AS lookup
             WHERE campaign_rows.campaign_id = $1
               AND campaign_rows.lookup_id IS NOT NULL AND campaign_rows.status IS NULL
        )
        SELECT COALESCE(job.state::text, 'following') AS state, job.held, job.provider, count(*)::int AS lookups,
               sum(spent.credits + own.credits + to_come.credits) AS most
          FROM open
          LEFT JOIN LATERAL (
               SELECT *
                 FROM jobs
                WHERE jobs.search_id = open.search_id AND open.final_status IS NULL
                   OR jobs.lookup_id = open.id
                ORDER BY jobs.search_id = open.search_id DESC
                LIMIT 1) AS job ON true
          LEFT JOIN LATERAL (
               SELECT asked, providers FROM searches WHERE searches.id = open.search_id OFFSET 0) AS search ON true
         CROSS JOIN LATERAL (
               SELECT COALESCE(sum(credits + possible), 0) AS credits
                 FROM finished_jobs
                WHERE finished_jobs.lookup_id = open.id) AS spent
         CROSS JOIN LATERAL (
               SELECT COALESCE(sum(price.credits), 0) AS credits
                 FROM jobs
                 JOIN price ON price.name = ANY (jobs.provider || jobs.todo)
                WHERE jobs.lookup_id = open.id) AS own
         CROSS JOIN LATERAL (
               SELECT COALESCE(sum(price.credits), 0) AS credits
                 FROM price
                WHERE open.final_status IS NULL
                  AND job.lookup_id IS DISTINCT FROM open.id
                  AND price.name = ANY (CASE WHEN open.identifiers <@ search.asked
                                                  AND open.providers <@ search.providers THEN '{}'
                                             ELSE open.providers END)) AS to_come
         GROUP BY 1, 2, 3
         ORDER BY 1, 2, 3
"""
# A lookup that is gone, because its month was pruned, counts as cancelled. One that has ended while its own question is
# open stays open here: what that costs is not known yet.
_SETTLE = """
        WITH ended AS MATERIALIZED (
            SELECT campaign_rows.number,
                   COALESCE(lookup.final_status, 'cancelled') AS status,
                   (SELECT COALESCE(sum(credits + possible), 0)
                      FROM finished_jobs
                     WHERE finished_jobs.lookup_id = campaign_rows.lookup_id) AS credits
              FROM campaign_rows
              LEFT JOIN LATERAL (
                   SELECT id, final_status FROM lookups WHERE lookups.id = campaign_rows.lookup_id OFFSET 0) AS lookup
                ON true
             WHERE campaign_rows.campaign_id = $1
               AND campaign_rows.lookup_id IS NOT NULL AND campaign_rows.status IS NULL
               AND (lookup.final_status IS NOT NULL OR lookup.id IS NULL)
               AND NOT EXISTS (SELECT FROM jobs WHERE jobs.lookup_id = campaign_rows.lookup_id)
             ORDER BY campaign_rows.campaign_id, campaign_rows.number
             LIMIT $2
               FOR UPDATE OF campaign_rows
        ), kept AS (
            UPDATE campaign_rows
               SET status = ended.status, credits = ended.credits
              FROM ended
             WHERE campaign_rows.campaign_id = $1
               AND campaign_rows.number = ended.number
               AND campaign_rows.status IS NULL
            RETURNING campaign_rows.status, campaign_rows.credits
        ), total AS (
            SELECT count(*)::int AS ended, count(*) FILTER (WHERE status = 'found') AS found,
                   COALESCE(sum(credits), 0) AS credits
              FROM kept
        ), counted AS (
            UPDATE campaigns
               SET ended = campaigns.ended + total.ended, found = campaigns.found + total.found,
                   credits = campaigns.credits + total.credits
              FROM total
             WHERE campaigns.id = $1
               AND total.ended > 0
        )
        SELECT ended FROM total
"""
