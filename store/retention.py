"""Empty raw bodies and uploads older than RETAIN_DAYS; results stay until their month is pruned.

Each table is walked once, in the order of its ids, from where the last pass stopped.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from store.database import Db, transaction
from store.partitions import first_id

FIRST = UUID(int=0)

# Each statement empties up to $3 bodies between two ids, and returns their ids. It skips bodies that are empty already.
_EMPTY = {
    "events": """
        UPDATE events
           SET body = ''
         WHERE id IN (SELECT id FROM events WHERE id >= $1 AND id < $2 AND body <> '' ORDER BY id LIMIT $3)
           AND body <> ''
        RETURNING id
    """,
    "callbacks": """
        UPDATE callbacks
           SET body = ''
         WHERE (job_id, body_hash) IN (SELECT job_id, body_hash
                                         FROM callbacks
                                        WHERE job_id >= $1 AND job_id < $2 AND body <> ''
                                        ORDER BY job_id
                                        LIMIT $3)
           AND job_id >= $1
        RETURNING job_id AS id
    """,
    "finished_jobs": """
        UPDATE finished_jobs
           SET raw = NULL
         WHERE id IN (SELECT id FROM finished_jobs WHERE id >= $1 AND id < $2 AND raw IS NOT NULL ORDER BY id LIMIT $3)
           AND raw IS NOT NULL
        RETURNING id
    """,
    "campaign_files": """
        DELETE FROM campaign_files
         WHERE (campaign_id, place) IN (SELECT campaign_id, place
                                          FROM campaign_files
                                         WHERE campaign_id >= $1 AND campaign_id < $2
                                         ORDER BY campaign_id, place
                                         LIMIT $3)
        RETURNING campaign_id AS id
    """,
}


async def walk_again(db: Db, table: str, id: UUID) -> None:
    """Let the next pass begin at *id*: a body came to a row that was walked past, or is walked past now."""
    await db.execute("SELECT FROM retention WHERE name = $1 FOR UPDATE", table)  # a pass that cannot see the body yet
    await db.execute("UPDATE retention SET walked_to = $2 WHERE name = $1 AND walked_to > $2", table, id)


async def empty_bodies(pool: asyncpg.Pool[Any], older_than: timedelta, limit: int) -> int:
    """Empty up to *limit* raw bodies of each table that are older than *older_than*; return how many."""
    before = first_id(datetime.now(UTC) - older_than)
    emptied = 0
    for table, statement in _EMPTY.items():
        async with transaction(pool) as connection:
            row = await connection.fetchrow("SELECT walked_to FROM retention WHERE name = $1 FOR UPDATE", table)
            since = row["walked_to"] if row else FIRST
            ids = [row["id"] for row in await connection.fetch(statement, since, before, limit)]
            emptied += len(ids)
            await connection.execute(
                """
                INSERT INTO retention (name, walked_to) VALUES ($1, $2)
                    ON CONFLICT (name) DO UPDATE SET walked_to = GREATEST(retention.walked_to, excluded.walked_to)
                """,
                table,
                max(ids) if len(ids) == limit else before,
            )
    return emptied
