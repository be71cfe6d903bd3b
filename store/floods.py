"""The flood guard: searches beyond what a source may begin within an hour are held until a person releases them.

`floods` counts the searches that were let through, by minute. A job is held for a flood only when it is inserted, so a
job that a person released is never held for it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import asyncpg
import structlog

from enrichment.decide import Search
from store.database import Db

log = structlog.get_logger()


async def let_through(db: Db, wanted: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, int]:
    """Count the searches that these sources begin; return how many of the *wanted* ones each may begin now.

    Call inside a transaction, after every other lock: it locks each source's counter until the end, so that two
    intakes at once cannot both take the last place. Sources without a limit cost no statement.
    """
    limited = sorted(source for source, count in wanted.items() if count and source in limits)
    if not limited:
        return dict(wanted)
    # One row of each source is its lock. The sums are read by the next statement, which sees what others committed.
    await db.execute(
        """
        INSERT INTO floods (source, minute, begun)
        SELECT source, '-infinity', 0 FROM unnest($1::text[]) AS limited (source)   -- sorted
            ON CONFLICT (source, minute) DO UPDATE SET begun = floods.begun
        """,
        limited,
    )
    rows = await db.fetch(
        """
        WITH begins AS MATERIALIZED (
            SELECT limited.source,
                   GREATEST(0, LEAST(limited.wanted, limited.most - (
                       SELECT COALESCE(sum(begun), 0)
                         FROM floods
                        WHERE floods.source = limited.source
                          AND minute > clock_timestamp() - interval '61 minutes'))) AS count   -- whole minutes
              FROM unnest($1::text[], $2::int[], $3::int[]) AS limited (source, wanted, most)
        ), counted AS (
            INSERT INTO floods (source, minute, begun)
            SELECT source, date_trunc('minute', clock_timestamp()), count
              FROM begins
             WHERE count > 0
                ON CONFLICT (source, minute) DO UPDATE SET begun = floods.begun + excluded.begun
        )
        SELECT source, count::int FROM begins
        """,
        limited,
        [wanted[source] for source in limited],
        [limits[source] for source in limited],
    )
    return dict(wanted) | {row["source"]: row["count"] for row in rows}


async def guard(db: Db, begun: Sequence[Search], limits: Mapping[str, int]) -> None:
    """Count these new searches, and hold those that their sources may not begin now. As `let_through`."""
    hold_beyond(begun, await let_through(db, Counter(search.source for search in begun), limits))


def hold_beyond(begun: Iterable[Search], through: Mapping[str, int]) -> Counter[str]:
    """Hold the new searches beyond those that are let *through*; return how many more of each source may pass."""
    left = Counter(through)
    held: Counter[str] = Counter()
    for search in begun:
        if left[search.source] > 0:
            left[search.source] -= 1
        else:
            search.held = "flood"
            held[search.source] += 1
    for source, jobs in held.items():
        log.warning("held_for_flood", source=source, jobs=jobs, remedy=f"ringback release --source {source}")
    return left


async def forget_floods(db: Db) -> int:
    """Remove the counts that no sliding hour reaches any more; return how many."""
    rows = await db.fetch(
        """
        DELETE FROM floods
         WHERE minute < now() - interval '2 hours'
           AND minute > '-infinity'   -- the lock of its source
        RETURNING source
        """
    )
    return len(rows)


async def held_for_flood(db: Db) -> list[asyncpg.Record]:
    """Return, by source, how many jobs wait until a person releases them, and since when."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT source, count(*) AS jobs, min(due_at) AS since
          FROM jobs
         WHERE held = 'flood'
         GROUP BY source
         ORDER BY source
        """
    )
    return rows
