"""Record the rows of a campaign's file, a chunk at a time, each with a verdict: what it may cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.campaign import SOURCE, RowRead, Verdict, forecasting, most_of, most_of_stranger, strangers
from enrichment.decide import Seeker, World, decide
from enrichment.wish import Policy, facts_of
from store.database import Db, transaction
from store.searches import read_known_keys, read_number

COLUMNS = ("campaign_id", "number", "verdict", "reason", "keys", "content", "most")


@dataclass(frozen=True, slots=True)
class _Judged:
    row: RowRead
    verdict: Verdict
    most: Decimal = Decimal(0)


async def record(pool: asyncpg.Pool[Any], id: UUID, after: int, rows: Sequence[RowRead], policy: Policy) -> bool:
    """Record the rows that follow row *after*. Return False if another process did, or the campaign is not read now."""
    judged = await _judge(pool, id, rows, policy)
    counts = {name: sum(one.verdict == name for one in judged) for name in ("new", "duplicate", "known", "unusable")}
    async with transaction(pool) as db:
        moved = await db.fetchval(
            """
            UPDATE campaigns
               SET read_to = $3, fresh = fresh + $4, duplicate = duplicate + $5, known = known + $6,
                   unusable = unusable + $7, most_credits = most_credits + $8
             WHERE id = $1
               AND state = 'reading'
               AND read_to = $2
            RETURNING id
            """,
            id,
            after,
            rows[-1].number,
            *counts.values(),
            sum((one.most for one in judged), Decimal(0)),
        )
        if moved is None:
            return False
        records = [_record(id, one, policy) for one in judged]
        await db.copy_records_to_table("campaign_rows", records=records, columns=COLUMNS)
    return True


async def end_reading(db: Db, id: UUID) -> bool:
    """Record that row `read_to` was the last (reading -> read)."""
    row = await db.fetchrow(
        "UPDATE campaigns SET state = 'read', read_at = now() WHERE id = $1 AND state = 'reading' RETURNING id", id
    )
    return row is not None


async def map_columns(db: Db, id: UUID, mapping: Mapping[str, str]) -> bool:
    """Keep a person's word on which column holds what, and let the rows be read (uploaded -> reading)."""
    row = await db.fetchrow(
        """
        UPDATE campaigns
           SET state = 'reading', mapping = $2::jsonb, due_at = now()
         WHERE id = $1
           AND state = 'uploaded'
           AND layout IS NOT NULL
        RETURNING id
        """,
        id,
        json.dumps(dict(mapping)),
    )
    return row is not None


async def reasons(db: Db, id: UUID, limit: int) -> list[asyncpg.Record]:
    """Return the commonest reasons why rows cannot be used, with their counts."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT reason, count(*) AS rows
          FROM campaign_rows
         WHERE campaign_id = $1
           AND verdict = 'unusable'
         GROUP BY reason
         ORDER BY rows DESC, reason
         LIMIT $2
        """,
        id,
        limit,
    )
    return rows


async def _judge(db: Db, id: UUID, rows: Sequence[RowRead], policy: Policy) -> list[_Judged]:
    """Tell of each row what it may cost. Nothing is locked: what changes until it is begun, intake decides."""
    seen = await _seen(db, id, [row.content for row in rows if row.content])
    world = await read_known_keys(db, {key for row in rows for key in row.own})
    suppressed = await _suppressed(db, {hash for row in rows for hash in row.asked})
    alone = strangers(rows, world, suppressed)
    cautious, now = forecasting(policy), datetime.now(UTC)
    judged = []
    for row in rows:
        if row.content is None:
            judged.append(_Judged(row, "unusable"))
        elif row.content in seen:
            judged.append(_Judged(row, "duplicate"))
        else:
            seen.add(row.content)
            judged.append(
                _Judged(row, "new", most_of_stranger(row, policy.guards.prices, policy.providers))
                if row.number in alone
                else _forecast(row, world, suppressed, now, cautious)
            )
    return judged


def _forecast(row: RowRead, world: World, suppressed: frozenset[bytes], now: datetime, policy: Policy) -> _Judged:
    """Decide the row as intake would, in a world of its own."""
    assert row.wish is not None and row.keys is not None  # noqa: S101, PT018  it is usable
    seeker = Seeker(
        row.wish.id, row.keys, facts_of(row.wish.contact, policy.hash), row.wish.providers, SOURCE,
        row.wish.contact.region, is_suppressed=not suppressed.isdisjoint(row.keys.asked),
    )  # fmt: skip
    fate = decide(seeker, world, now, policy, read_number)
    most = most_of(row, fate, policy.guards.prices, policy.providers)
    return _Judged(row, "new" if most or (fate.search.is_new and not fate.status) else "known", most)


async def _seen(db: Db, id: UUID, contents: Sequence[bytes]) -> set[bytes]:
    rows = await db.fetch(
        """
        SELECT content
          FROM campaign_rows
         WHERE campaign_id = $1
           AND content = ANY($2::bytea[])
           AND content IS NOT NULL   -- as campaign_rows_by_content has it
        """,
        id,
        contents,
    )
    return {row["content"] for row in rows}


async def _suppressed(db: Db, hashes: set[bytes]) -> frozenset[bytes]:
    rows = await db.fetch("SELECT hash FROM suppressions WHERE hash = ANY($1::bytea[])", list(hashes))
    return frozenset(row["hash"] for row in rows)


def _record(id: UUID, one: _Judged, policy: Policy) -> tuple[Any, ...]:
    keys = sorted(one.row.stored_keys(policy.hash))
    return id, one.row.number, one.verdict, one.row.reason, keys, one.row.content, one.most


async def spoil(db: Db, id: UUID, rows: Sequence[RowRead]) -> None:
    """Mark rows that were usable when they were read, and are not by today's settings."""
    await db.execute(
        """
        UPDATE campaign_rows
           SET verdict = 'unusable', reason = spoilt.reason, keys = '{}', content = NULL, most = 0
          FROM unnest($2::integer[], $3::text[]) AS spoilt (number, reason)
         WHERE campaign_id = $1
           AND campaign_rows.number = spoilt.number
           AND lookup_id IS NULL
           AND verdict IN ('new', 'duplicate', 'known')
        """,
        id,
        [row.number for row in rows],
        [row.reason for row in rows],
    )
