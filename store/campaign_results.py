"""What a campaign found, row by row, for the enriched file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg

from enrichment.files.enriched import Result, write_enriched
from enrichment.files.table import Table
from store.database import Db

PAGE = 2000  # rows of one statement
PATIENCE = 60.0  # seconds for one page


async def results(db: Db, id: UUID) -> AsyncIterator[list[tuple[int, Result]]]:
    """Yield (number of the row, result) of all rows that were read, in order, some thousand at a time."""
    after = 0
    while True:
        rows = await db.fetch(_PAGE, id, after, PAGE)
        if not rows:
            return
        yield [(row["number"], _result(row)) for row in rows]
        after = rows[-1]["number"]


def _result(row: asyncpg.Record) -> Result:
    if row["lookup_id"] is None:
        status = row["verdict"] if row["verdict"] in ("unusable", "erased") else "not_asked"
        return Result(status=status, reason=row["reason"])
    if row["status"] is None:  # erased or pruned since
        return Result(status=row["settled"] or "erased", credits=row["credits"])
    return Result(
        mobile=row["mobile"], status=row["status"], reason=row["lookup_reason"], line_type=row["line_type"],
        provider=row["provider"], credits=row["credits"] or Decimal(0), lookup=str(row["lookup_id"]),
    )  # fmt: skip


_PAGE = """
        SELECT row.number, row.verdict, row.reason, row.lookup_id, row.status::text AS settled, row.credits,
               COALESCE(lookup.final_status::text, CASE WHEN lookup.id IS NOT NULL THEN 'open' END) AS status,
               lookup.mobile, lookup.line_type, lookup.provider, lookup.reason AS lookup_reason
          FROM (SELECT number, verdict, reason, lookup_id, status, credits
                  FROM campaign_rows
                 WHERE campaign_id = $1
                   AND number > $2
                 ORDER BY number
                 LIMIT $3) AS row
          LEFT JOIN LATERAL (
               SELECT id, final_status, mobile, line_type, provider, reason
                 FROM lookups
                WHERE lookups.id = row.lookup_id   -- each in its month
               OFFSET 0) AS lookup ON true
         ORDER BY row.number
"""


async def write_results(
    db: Db, id: UUID, source: Path, table: Table, target: Path, check: Callable[[], None] = lambda: None
) -> None:
    """Write the rows of *source* with their results to *target*, whole or not at all. Raise FileProblem or OSError.

    *check* raises FileProblem if *source* has changed since its rows were read.
    """
    loop = asyncio.get_running_loop()
    pages = results(db, id)

    def one_by_one() -> Iterator[tuple[int, Result]]:
        while page := asyncio.run_coroutine_threadsafe(anext(pages, None), loop).result(PATIENCE):
            yield from page

    await asyncio.to_thread(write_enriched, source, table, one_by_one(), target, check)
