"""Who pays: a search that is held because of its source goes on when a lookup of another source waits for it, too.

Held because of its source means: that source's budget is used up, a person paused it, or it began too many searches
within an hour. The other source pays only if nothing would hold its own searches.

Jobs are locked after the searches here, against the order of locks, but nothing waits for them: a job that another
session has is left out. `pass_on` finds those later, and the jobs that were held after the other lookup had come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.guards import Guards
from store.budgets import Room, read_room
from store.database import Db, transaction
from store.floods import let_through


@dataclass(frozen=True, slots=True)
class Payer:
    """The *source* that can pay for a held job, which is locked."""

    job_id: UUID
    source: str


async def find_payers(db: Db, waiting: Sequence[tuple[UUID, str]], guards: Guards) -> list[Payer]:
    """Lock the held jobs of the searches that lookups are *waiting* for, if the lookup's source can pay.

    *waiting*: search and source of each lookup. The flood guard of the sources is up to the caller. Call inside a
    transaction.
    """
    if not waiting:
        return []
    rows = await db.fetch(
        """
        SELECT jobs.id, jobs.provider, jobs.source, jobs.held, waiting.source AS payer
          FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS waiting (search_id, source, place)
          JOIN jobs ON jobs.search_id = waiting.search_id
         WHERE jobs.held IN ('budget', 'flood', 'brake')
           AND jobs.source <> waiting.source
           AND NOT EXISTS (SELECT FROM pauses WHERE pauses.source = waiting.source)
           AND (jobs.held <> 'brake' OR EXISTS (SELECT FROM pauses WHERE pauses.source = jobs.source))
         ORDER BY waiting.place
           FOR UPDATE OF jobs SKIP LOCKED
        """,
        [search for search, _ in waiting],
        [source for _, source in waiting],
    )
    rooms = {name: await _room(db, name, guards) for name in sorted({row["provider"] for row in rows})}
    payers: dict[UUID, Payer] = {}
    paid: Counter[tuple[str, str]] = Counter()
    for row in rows:
        room, payer = rooms[row["provider"]], row["payer"]
        is_because_of_its_source = row["held"] != "budget" or room.of(row["source"]) == 0
        if row["id"] in payers or not is_because_of_its_source or room.of(payer) <= paid[row["provider"], payer]:
            continue
        paid[row["provider"], payer] += 1
        payers[row["id"]] = Payer(row["id"], payer)
    return list(payers.values())


async def _room(db: Db, provider: str, guards: Guards) -> Room:
    """Return what the sources may pay for at *provider*; the claim checks it again, under the budgets' lock."""
    price = guards.prices.get(provider)
    return Room() if price is None else await read_room(db, price, guards.budgets)


async def pay(db: Db, payers: Sequence[Payer]) -> int:
    """Let these sources pay for the jobs, which are locked, and queue them; return how many."""
    if not payers:
        return 0
    rows = await db.fetch(
        """
        UPDATE jobs
           SET source = payer.source, held = NULL
          FROM unnest($1::uuid[], $2::text[]) AS payer (job_id, source)
         WHERE jobs.id = payer.job_id
           AND jobs.state = 'queued'
           AND jobs.held IS NOT NULL
        RETURNING jobs.id
        """,
        [payer.job_id for payer in payers],
        [payer.source for payer in payers],
    )
    return len(rows)


def share(payers: Sequence[Payer], through: dict[str, int]) -> list[Payer]:
    """Return the first payers of each source, as many as its flood guard lets *through*."""
    left = Counter(through)
    chosen = []
    for payer in payers:
        if left[payer.source] > 0:
            left[payer.source] -= 1
            chosen.append(payer)
    return chosen


@dataclass(frozen=True, slots=True)
class Passed:
    """The effect of one pass: lookups *looked* at, jobs that go on, and the lookup after which the next pass begins."""

    looked: int
    jobs: int
    last: UUID | None


async def pass_on(pool: asyncpg.Pool[Any], after: UUID, limit: int, guards: Guards) -> Passed:
    """Let other sources pay for the held searches that their lookups wait for, among *limit* lookups after *after*."""
    async with transaction(pool) as connection:
        rows = await connection.fetch(
            """
            SELECT joined.id, joined.source, jobs.search_id
              FROM (SELECT id, source, search_id
                      FROM lookups
                     WHERE reused_from IS NOT NULL AND final_status IS NULL
                       AND id > $1
                     ORDER BY id
                     LIMIT $2) AS joined
              LEFT JOIN jobs ON jobs.search_id = joined.search_id
                            AND jobs.held IN ('budget', 'flood', 'brake')
                            AND jobs.source <> joined.source
             ORDER BY joined.id
            """,
            after,
            limit,
        )
        waiting = [(row["search_id"], row["source"]) for row in rows if row["search_id"] is not None]
        payers = await find_payers(connection, waiting, guards)
        through = await let_through(connection, Counter(payer.source for payer in payers), guards.floods)
        jobs = await pay(connection, share(payers, through))
    return Passed(len(rows), jobs, rows[-1]["id"] if len(rows) == limit else None)
