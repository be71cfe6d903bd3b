"""Campaigns: one for each file of contacts. Make them, find them, and take them from one state to the next.

Every change names the states that it may leave, and returns False in others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.campaign import SLACK, CampaignState
from enrichment.files.table import Table
from store import audit
from store.database import Db, transaction
from store.partitions import NEWEST

LIMIT_REACHED = "the approved credits do not cover another row"
STOPPED = "a person stopped it"


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign, as stored; nothing in it is personal."""

    id: UUID
    name: str
    who: str
    state: CampaignState
    is_uploaded: bool
    layout: Table | None
    mapping: Mapping[str, str]
    read_to: int
    fresh: int
    duplicate: int
    known: int
    unusable: int
    most_credits: Decimal
    sample: int | None
    quote: Mapping[str, Any] | None
    approved_credits: Decimal | None
    approved_at: datetime | None
    begun: int
    ended: int
    found: int
    credits: Decimal
    reason: str | None
    created_at: datetime
    done_at: datetime | None

    @property
    def usable(self) -> int:
        """Return how many rows can be looked up, as they were read."""
        return self.fresh + self.duplicate + self.known


async def open_campaign(pool: asyncpg.Pool[Any], *, name: str, who: str, digest: bytes, mapping: Mapping[str, str],
                        anew: bool = False) -> Campaign:  # fmt: skip
    """Return the newest campaign of this file on disk with this mapping; make one if there is none.

    *anew*: also if it is done. One of which nothing was asked is read again after a day.
    """
    async with transaction(pool) as db:
        # Two commands with one file at once: the second finds what the first makes.
        await db.execute("SELECT pg_advisory_xact_lock(hashtextextended('campaign of ' || $1, 0))", digest.hex())
        row = await db.fetchrow(
            f"{_SELECT} WHERE digest = $1 AND mapping = $2::jsonb AND NOT is_uploaded ORDER BY id DESC LIMIT 1",
            digest,
            json.dumps(dict(mapping)),
        )
        if row is None or (anew and row["state"] == "done") or _is_stale(row):
            id = uuid7()
            await db.execute(
                "INSERT INTO campaigns (id, name, who, digest, mapping) VALUES ($1, $2, $3, $4, $5::jsonb)",
                id,
                name,
                who,
                digest,
                json.dumps(dict(mapping)),
            )
            row = await db.fetchrow(f"{_SELECT} WHERE id = $1", id)
    assert row is not None  # noqa: S101  it was just written
    return _campaign(row)


async def find(db: Db, id: UUID) -> Campaign | None:
    """Return the campaign, or None if there is none with this id."""
    row = await db.fetchrow(f"{_SELECT} WHERE id = $1", id)
    return _campaign(row) if row else None


async def page(db: Db, before: UUID | None, limit: int) -> list[Campaign]:
    """Return up to *limit* campaigns older than *before*, newest first."""
    rows = await db.fetch(f"{_SELECT} WHERE id < $1 ORDER BY id DESC LIMIT $2", before or NEWEST, limit)
    return [_campaign(row) for row in rows]


async def begin_sample(pool: asyncpg.Pool[Any], id: UUID, *, size: int, most: Decimal | None, who: str) -> bool:
    """Choose up to *size* rows at random, of those that may cost something, and let them be asked (read -> sampling).

    *most*: credits that a person allows for all of the campaign; by default what the sample costs at most.
    """
    async with transaction(pool) as db:
        row = await db.fetchrow(
            """
            WITH counted AS MATERIALIZED (
                SELECT id FROM campaigns WHERE id = $1 AND state = 'read' FOR NO KEY UPDATE
            ), chosen AS MATERIALIZED (
                SELECT number, most
                  FROM counted
                  JOIN campaign_rows ON campaign_id = counted.id
                 WHERE verdict = 'new'
                 ORDER BY random()
                 LIMIT $2
            ), marked AS (
                UPDATE campaign_rows
                   SET is_sampled = true
                  FROM chosen
                 WHERE campaign_rows.campaign_id = $1
                   AND campaign_rows.number = chosen.number
            ), total AS (
                SELECT count(*) AS rows, COALESCE(sum(most), 0) AS most FROM chosen
            )
            UPDATE campaigns
               SET state = 'sampling', sample = total.rows, approved_credits = LEAST(total.most, $3), due_at = now()
              FROM total
             WHERE id = $1
               AND state = 'read'
               AND total.rows > 0
            RETURNING sample, approved_credits
            """,
            id,
            size,
            most,
        )
        if row is None:
            return False
        detail = {"sample": row["sample"], "most_credits": float(row["approved_credits"])}
        await audit.record(db, who=who, action="enrich", subject=id, detail=detail)
    return True


async def approve(pool: asyncpg.Pool[Any], id: UUID, *, most: Decimal, who: str) -> bool:
    """Let all rows be asked for *most* credits, the sample included (read or quoted -> running)."""
    async with transaction(pool) as db:
        row = await db.fetchrow(
            """
            UPDATE campaigns
               SET state = 'running', approved_credits = $2, approved_at = now(), due_at = now()
             WHERE id = $1
               AND state IN ('read', 'quoted')
            RETURNING fresh
            """,
            id,
            most,
        )
        if row is not None:
            detail = {"rows": row["fresh"], "most_credits": float(most)}
            await audit.record(db, who=who, action="enrich", subject=id, detail=detail)
    return row is not None


async def go_on(pool: asyncpg.Pool[Any], id: UUID, *, most: Decimal | None, who: str) -> bool:
    """Let a stopped campaign go on where it was (stopped -> ...), for *most* credits, or those approved before.

    With *most*, one that is not stopped goes on for these credits.
    """
    async with transaction(pool) as db:
        row = await db.fetchrow(
            """
            UPDATE campaigns
               SET state = CASE WHEN approved_at IS NOT NULL THEN 'running'
                                WHEN quote IS NOT NULL       THEN 'quoted'
                                WHEN sample IS NOT NULL      THEN 'sampling'
                                WHEN read_at IS NOT NULL     THEN 'read'
                                WHEN is_uploaded AND layout IS NULL THEN 'uploaded'
                                ELSE 'reading' END::campaign_state,
                   approved_credits = CASE WHEN approved_credits IS NOT NULL
                                           THEN COALESCE($2::numeric, approved_credits) END,
                   reason = NULL, due_at = now()
             WHERE id = $1
               AND (state = 'stopped' AND digest IS NOT NULL
                    OR $2::numeric IS NOT NULL AND state IN ('sampling', 'running'))
            RETURNING approved_credits
            """,
            id,
            most,
        )
        if row is not None and row["approved_credits"] is not None:
            detail = {"most_credits": float(row["approved_credits"])}
            await audit.record(db, who=who, action="enrich", subject=id, detail=detail)
    return row is not None


async def stop(db: Db, id: UUID, reason: str = STOPPED) -> bool:
    """Begin no more rows, for this reason (a state under way -> stopped); those that are open go on."""
    row = await db.fetchrow(
        """
        UPDATE campaigns
           SET state = 'stopped', reason = $2
         WHERE id = $1
           AND (state IN ('reading', 'sampling', 'running') OR state = 'uploaded' AND layout IS NULL)
        RETURNING id
        """,
        id,
        reason,
    )
    return row is not None


async def under_way(db: Db, limit: int, after: UUID) -> list[UUID]:
    """Return campaigns for the reconciler, the oldest after *after* first: uploads to go on with, and open rows."""
    rows = await db.fetch(
        """
        SELECT id
          FROM (SELECT id
                  FROM campaigns
                 WHERE state IN ('uploaded', 'reading', 'sampling', 'running')
                   AND (state <> 'uploaded' OR layout IS NULL)
                   AND is_uploaded
                   AND due_at <= now()
                 UNION
                SELECT campaign_id
                  FROM campaign_rows
                 WHERE lookup_id IS NOT NULL AND status IS NULL) AS campaign
         ORDER BY id <= $2, id
         LIMIT $1
        """,
        limit,
        after,
    )
    return [row["id"] for row in rows]


async def claim(db: Db, id: UUID, lease: timedelta) -> Campaign | None:
    """Claim an upload that is due and under way, and return it; another process may have it after *lease*."""
    row = await db.fetchrow(
        """
        UPDATE campaigns
           SET due_at = clock_timestamp() + $2
         WHERE id = $1
           AND is_uploaded
           AND (state IN ('reading', 'sampling', 'running') OR state = 'uploaded' AND layout IS NULL)
           AND due_at <= now()
        RETURNING id
        """,
        id,
        lease,
    )
    return await find(db, id) if row else None


async def leave(db: Db, id: UUID) -> None:
    """Give the claim back: the next process may have the campaign now."""
    await db.execute("UPDATE campaigns SET due_at = now() WHERE id = $1", id)


def _is_stale(row: asyncpg.Record) -> bool:
    """Tell whether rows were judged so long ago, before any was asked, that they have to be judged again."""
    return row["approved_credits"] is None and row["created_at"] < datetime.now(UTC) - SLACK


_SELECT = """
        SELECT id, name, who, state::text, is_uploaded, layout, mapping, read_to, fresh, duplicate, known, unusable,
               most_credits, sample, quote, approved_credits, approved_at, begun, ended, found, credits, reason,
               created_at, done_at
          FROM campaigns
"""


def _campaign(row: asyncpg.Record) -> Campaign:
    given = dict(row)
    given["mapping"] = json.loads(row["mapping"])
    given["layout"] = _table(json.loads(row["layout"])) if row["layout"] else None
    given["quote"] = json.loads(row["quote"]) if row["quote"] else None
    return Campaign(**given)


def _table(layout: dict[str, Any]) -> Table:
    return Table(**layout | {"columns": tuple(layout["columns"])})
