"""Selections: preview what a filter finds, then apply an action to exactly that.

Both go on in chunks, each one transaction, so that any process can continue after a crash. The preview stores the ids
of what it found; an item that has changed since, so that the action does not apply any more, is passed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.selection import Action, SelectionState, Wanted
from enrichment.wish import Policy
from store import audit, deliveries, lookups
from store.database import Db, transaction
from store.erased_rows import erase_within
from store.partitions import first_id
from store.reopened import reopen
from store.selection_pages import OLDEST, add_page

CHUNK = 500  # items of one transaction
AT_ONCE = 2  # chunks
SAMPLE = 10

Apply = Callable[[Db, Sequence[UUID], Policy, datetime], Awaitable[set[UUID]]]


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection, as stored. Shown to the holder of any token that may read: nothing in it is personal."""

    id: UUID
    who: str
    wanted: Wanted
    state: SelectionState
    found: int
    most_credits: Decimal
    applied: int
    passed: int
    created_at: datetime
    previewed_at: datetime | None
    applied_at: datetime | None

    @property
    def is_under_way(self) -> bool:
        """Whether there is another chunk."""
        return self.state in ("previewing", "applying")


async def create(db: Db, wanted: Wanted, who: str) -> UUID:
    """Insert a selection, whose preview begins with the next `advance`; return its id."""
    id = uuid7()
    await db.execute(
        "INSERT INTO selections (id, who, action, filter) VALUES ($1, $2, $3, $4::jsonb)",
        id,
        who,
        wanted.action,
        wanted.filter.model_dump_json(exclude_none=True),
    )
    return id


async def find(db: Db, id: UUID) -> Selection | None:
    """Return the selection, or None if there is none with this id."""
    row = await db.fetchrow(f"{_SELECT} WHERE id = $1", id)
    return _selection(row) if row else None


async def sample(db: Db, selection: Selection) -> list[asyncpg.Record]:
    """Return the first items, each with its lookup, its status now, and the reason."""
    of = "replay" if selection.wanted.action == "replay" else "lookups"
    rows: list[asyncpg.Record] = await db.fetch(_SAMPLES[of], selection.id, SAMPLE)
    return rows


async def begin(pool: asyncpg.Pool[Any], id: UUID, who: str) -> bool:
    """Begin to apply a selection, on behalf of *who* (previewed -> applying). Return False in other states."""
    async with transaction(pool) as db:
        row = await db.fetchrow(
            """
            UPDATE selections
               SET state = 'applying', seen_to = NULL
             WHERE id = $1
               AND state = 'previewed'
            RETURNING action, found, most_credits
            """,
            id,
        )
        if row is not None:
            detail = {"found": row["found"], "most_credits": float(row["most_credits"])}
            await audit.record(db, who=who, action=row["action"], subject=id, detail=detail)
    return row is not None


async def under_way(db: Db, limit: int, after: UUID = OLDEST) -> list[UUID]:
    """Return selections that have another chunk, the oldest after *after* first, then those before it."""
    rows = await db.fetch(
        """
        SELECT id
          FROM selections
         WHERE state IN ('previewing', 'applying')
         ORDER BY id <= $2, id
         LIMIT $1
        """,
        limit,
        after,
    )
    return [row["id"] for row in rows]


async def work(
    pool: asyncpg.Pool[Any],
    id: UUID,
    policy: Policy,
    prices: Mapping[str, Decimal],
    *,
    seconds: float,
    after_each: Callable[[], None],
) -> None:
    """Go on with the selection for about so many *seconds*, or until this process can do no more.

    Several chunks at once: while PostgreSQL writes one, Python decides another.
    """
    ends = time.monotonic() + seconds

    async def work_alone() -> None:
        while await advance(pool, id, policy, prices):
            after_each()
            if time.monotonic() > ends:
                break

    results = await asyncio.gather(*(work_alone() for _ in range(AT_ONCE)), return_exceptions=True)
    for error in filter(None, results):
        raise error


async def forget(db: Db, age: timedelta, limit: int) -> int:
    """Delete up to *limit* items of the oldest selection that was made so long ago; without items, the selection.

    Return how many rows were deleted.
    """
    rows = await db.fetch(
        """
        WITH old AS MATERIALIZED (
            SELECT id
              FROM selections
             WHERE id < $1
               AND state IN ('previewed', 'applied')
             ORDER BY id
             LIMIT 1
        ), item AS MATERIALIZED (
            SELECT selection_id, item_id
              FROM selected
             WHERE selection_id = (SELECT id FROM old)
             ORDER BY selection_id, item_id
             LIMIT $2
        ), gone AS (
            DELETE FROM selected
             USING item
             WHERE selected.selection_id = item.selection_id
               AND selected.item_id = item.item_id
            RETURNING selected.item_id AS id
        ), ended AS (
            DELETE FROM selections
             USING old
             WHERE selections.id = old.id
               AND selections.state IN ('previewed', 'applied')
               AND NOT EXISTS (SELECT FROM item)
            RETURNING selections.id
        )
        SELECT id FROM gone UNION ALL SELECT id FROM ended
        """,
        first_id(datetime.now(UTC) - age),
        limit,
    )
    return len(rows)


async def advance(pool: asyncpg.Pool[Any], id: UUID, policy: Policy, prices: Mapping[str, Decimal]) -> int:
    """Do one chunk of the selection; return how many rows it looked at or applied. *prices*: credits by provider.

    0: nothing is left, or another process is doing the rest at this moment.
    """
    async with transaction(pool) as db:
        row = await db.fetchrow(
            """
            SELECT action, filter, state::text, seen_to
              FROM selections
             WHERE id = $1
               AND state = 'previewing'
               FOR NO KEY UPDATE SKIP LOCKED
            """,
            id,
        )
        if row is not None:
            return await _preview(db, id, _wanted(row), row["seen_to"], policy, prices)
        row = await db.fetchrow(
            "SELECT action, seen_to, created_at FROM selections WHERE id = $1 AND state = 'applying'",
            id,
        )
        return await _apply(db, id, row["action"], row["seen_to"], row["created_at"], policy) if row is not None else 0


async def _preview(
    db: Db, id: UUID, wanted: Wanted, seen_to: UUID | None, policy: Policy, prices: Mapping[str, Decimal]
) -> int:
    page = await add_page(db, id, wanted, seen_to, policy, prices)
    await db.execute(
        """
        UPDATE selections
           SET found = found + $2, most_credits = most_credits + $3, seen_to = $4,
               state = CASE WHEN $4::uuid IS NULL THEN 'previewed' ELSE 'previewing' END::selection_state,
               previewed_at = CASE WHEN $4::uuid IS NULL THEN now() END
         WHERE id = $1
           AND state = 'previewing'
        """,
        id,
        page.found,
        page.most_credits,
        page.seen_to,
    )
    return page.seen


async def _apply(db: Db, id: UUID, action: Action, seen_to: UUID | None, created_at: datetime, policy: Policy) -> int:
    ids = await _take(db, id, seen_to)
    if not ids and seen_to is not None:  # what another process had taken and gave back
        ids = await _take(db, id, None)
    if not ids:
        await _end(db, id)
        return 0
    done = await APPLY[action](db, ids, policy, created_at)
    await db.execute(
        "UPDATE selected SET is_done = true WHERE selection_id = $1 AND item_id = ANY($2::uuid[])",
        id,
        ids,
    )
    await db.execute(
        """
        UPDATE selections
           SET applied = applied + $2, passed = passed + $3, seen_to = GREATEST(seen_to, $4)
         WHERE id = $1
           AND state = 'applying'
        """,
        id,
        len(done),
        len(ids) - len(done),
        ids[-1],
    )
    return len(ids)


async def _take(db: Db, id: UUID, after: UUID | None) -> list[UUID]:
    """Lock the next items that no other process is applying. *after* only spares the walk over those that are done."""
    rows = await db.fetch(
        """
        SELECT item_id
          FROM selected
         WHERE selection_id = $1
           AND NOT is_done
           AND item_id > COALESCE($2, '00000000-0000-0000-0000-000000000000'::uuid)
         ORDER BY selection_id, item_id
         LIMIT $3
           FOR UPDATE SKIP LOCKED
        """,
        id,
        after,
        CHUNK,
    )
    return [row["item_id"] for row in rows]


async def _end(db: Db, id: UUID) -> None:
    """End the selection (applying -> applied), unless another process has yet to commit its items."""
    await db.execute(
        """
        UPDATE selections
           SET state = 'applied', applied_at = now()
         WHERE id = $1
           AND state = 'applying'
           AND NOT EXISTS (SELECT FROM selected WHERE selection_id = $1 AND NOT is_done)
        """,
        id,
    )


async def _retry(db: Db, ids: Sequence[UUID], _: Policy, created_at: datetime) -> set[UUID]:
    return await reopen(db, ids, ended_by=created_at)


async def _cancel(db: Db, ids: Sequence[UUID], policy: Policy, _: datetime) -> set[UUID]:
    return await lookups.cancel_many(db, ids, policy)


async def _release(db: Db, ids: Sequence[UUID], _: Policy, __: datetime) -> set[UUID]:
    return await lookups.release_many(db, ids)


async def _replay(db: Db, ids: Sequence[UUID], _: Policy, __: datetime) -> set[UUID]:
    return await deliveries.replay(db, ids)


async def _erase(db: Db, ids: Sequence[UUID], policy: Policy, _: datetime) -> set[UUID]:
    """Erase these lookups, and their items of selections; the reconciler decides those anew that shared a search."""
    assert not isinstance(db, asyncpg.Pool)  # noqa: S101  a selection is applied in a transaction
    return set((await erase_within(db, ids, policy)).lookups)


APPLY: dict[Action, Apply] = {
    "retry": _retry, "cancel": _cancel, "release": _release, "replay": _replay, "erase": _erase,
}  # fmt: skip

_SELECT = """
        SELECT id, who, action, filter, state::text, found, most_credits, applied, passed, created_at, previewed_at,
               applied_at
          FROM selections
"""
_SAMPLES = {
    "lookups": """
        SELECT selected.item_id AS id, selected.item_id AS lookup_id, lookup_status.status,
               COALESCE(lookups.reason, jobs.held, jobs.error) AS reason
          FROM (SELECT item_id FROM selected WHERE selection_id = $1 ORDER BY item_id LIMIT $2) AS selected
          JOIN lookups ON lookups.id = selected.item_id
          JOIN lookup_status ON lookup_status.id = selected.item_id
          LEFT JOIN jobs ON jobs.search_id = lookups.search_id AND lookups.final_status IS NULL
         ORDER BY id
    """,
    "replay": """
        SELECT selected.item_id AS id, deliveries.lookup_id, deliveries.state::text AS status,
               COALESCE(deliveries.reason, deliveries.error) AS reason
          FROM (SELECT item_id FROM selected WHERE selection_id = $1 ORDER BY item_id LIMIT $2) AS selected
          JOIN deliveries ON deliveries.id = selected.item_id
         ORDER BY id
    """,
}


def _wanted(row: asyncpg.Record) -> Wanted:
    return Wanted.model_validate({"action": row["action"], "filter": json.loads(row["filter"])})


def _selection(row: asyncpg.Record) -> Selection:
    kept = ("id", "who", "state", "found", "most_credits", "applied", "passed", "created_at", "previewed_at",
            "applied_at")  # fmt: skip
    return Selection(wanted=_wanted(row), **{name: row[name] for name in kept})
