"""Delete the campaigns that were made before a date, with their rows and uploads, unless they are under way."""

from __future__ import annotations

from datetime import datetime

from store.partitions import Connection, first_id

CHUNK = 10_000  # rows of one commit
PRUNED = "it is being deleted: it is as old as `ringback prune` was told"


async def drop_campaigns(connection: Connection, cutoff: datetime) -> int:
    """Delete the campaigns from before *cutoff*; return how many. Those that are being read or asked stay."""
    dropped = 0
    while (id := await connection.fetchval(_OLDEST, first_id(cutoff))) is not None:
        if not await connection.fetchval(_CLOSE, id, PRUNED):
            continue  # a person went on with it
        while await connection.fetchval(_DROP_ROWS, id, CHUNK):
            pass
        await connection.execute(_DROP, id)
        dropped += 1
    return dropped


# Nobody goes on with a stopped campaign without a digest: it would go on without the rows that are deleted by then.
_CLOSE = """
        UPDATE campaigns
           SET state = 'stopped', reason = $2, digest = NULL, done_at = NULL
         WHERE id = $1
           AND state NOT IN ('reading', 'sampling', 'running')
        RETURNING true
"""
_OLDEST = """
        SELECT id
          FROM campaigns
         WHERE id < $1
           AND state NOT IN ('reading', 'sampling', 'running')
         ORDER BY id
         LIMIT 1
"""
_DROP_ROWS = """
        WITH gone AS (
            DELETE FROM campaign_rows
             WHERE campaign_id = $1
               AND number IN (SELECT number FROM campaign_rows WHERE campaign_id = $1 ORDER BY number LIMIT $2)
            RETURNING number
        )
        SELECT count(*) FROM gone
"""
_DROP = """
        WITH files AS (
            DELETE FROM campaign_files WHERE campaign_id = $1
        )
        DELETE FROM campaigns
         WHERE id = $1
           AND state NOT IN ('reading', 'sampling', 'running')
"""
