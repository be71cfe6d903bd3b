"""A retry of many lookups among millions, as `ringback retry` and the API do it: previewed, then applied in chunks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg

from bench.measure import Row
from enrichment.providers import PROVIDERS
from enrichment.selection import Wanted
from enrichment.wish import Policy
from store import selections
from store.lookups import decide_again
from store.reopened import to_decide

RETRIED = 100_000
REACH = 10.0  # seconds
LOOK_EVERY = 0.02  # seconds, at the statement that runs longest
PRICES = {name: Decimal(5) for name in PROVIDERS}

# Makes lookups without a number fail, spread evenly over all the months.
FAILED = """
WITH chosen AS (
    SELECT id, search_id
      FROM (SELECT id, search_id, row_number() OVER (ORDER BY id) AS place, count(*) OVER () AS all_of_them
              FROM lookups
             WHERE final_status = 'not_found') AS numberless
     WHERE place % greatest(1, all_of_them / $1) = 0
     LIMIT $1
), searched AS (
    UPDATE searches SET status = 'failed', said = '{"leadmagic": "failed"}'
      FROM chosen WHERE searches.id = chosen.search_id
)
UPDATE lookups SET final_status = 'failed', reason = 'leadmagic: failed'
  FROM chosen WHERE lookups.id = chosen.id
"""


async def retry_many(pool: asyncpg.Pool[Any], watcher: asyncpg.Connection[Any], policy: Policy, among: int) -> Row:
    """Retry RETRIED of the lookups; measure the application, and the statement that ran longest."""
    await watcher.execute(FAILED, RETRIED)
    await watcher.execute("VACUUM (ANALYZE) lookups")
    wanted = Wanted.model_validate({"action": "retry", "filter": {"status": "failed"}})
    began = time.perf_counter()
    async with _watched(watcher) as longest:
        id = await selections.create(pool, wanted, "bench")
        await _work(pool, id, policy)
        previewed = time.perf_counter()
        assert await selections.begin(pool, id, "bench")
        await _work(pool, id, policy)
        applied = time.perf_counter()
        first = await _decide(pool, policy)
        decided = time.perf_counter()
    took = applied - previewed
    done = await selections.find(pool, id)
    assert done is not None
    assert (done.state, done.applied, done.passed) == ("applied", RETRIED, 0), done
    assert await pool.fetchval("SELECT count(*) FROM jobs WHERE state = 'queued' AND place = 0") >= RETRIED
    return Row(
        name=f"retry of {RETRIED:,} among {among:,} finished",
        unit="s",
        ours=took,
        reach=f"≤ {REACH:.0f} s until all are queued",
        reached=took <= REACH,
        note=f"previewed in {previewed - began:.1f} s; the first jobs {first - applied:.1f} s later, the last "
        f"{decided - applied:.1f} s; the longest statement ran for {1e3 * max(longest):.0f} ms",
    )


async def _decide(pool: asyncpg.Pool[Any], policy: Policy) -> float:
    """Decide the reopened lookups, as the reconciler does; return when the first had their jobs."""
    first = 0.0
    while (found := await to_decide(pool)).lookups:
        assert await decide_again(pool, found.lookups, policy) == len(found.lookups)
        first = first or time.perf_counter()
    return first


async def _work(pool: asyncpg.Pool[Any], id: Any, policy: Policy) -> None:
    while (selection := await selections.find(pool, id)) is not None and selection.is_under_way:
        await selections.work(pool, id, policy, PRICES, seconds=3600, after_each=lambda: None)


@asynccontextmanager
async def _watched(connection: asyncpg.Connection[Any]) -> AsyncIterator[list[float]]:
    """Look at the other sessions' statements inside the block; yield how long the longest had run, in seconds."""
    longest = [0.0]

    async def look() -> None:
        while True:
            ran = await connection.fetchval(
                """
                SELECT COALESCE(max(extract(epoch FROM clock_timestamp() - query_start)), 0)::float8
                  FROM pg_stat_activity
                 WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
                """
            )
            longest.append(ran)
            await asyncio.sleep(LOOK_EVERY)

    looking = asyncio.create_task(look())
    try:
        yield longest
    finally:
        looking.cancel()
        await asyncio.wait([looking])
