"""The rules that hold at every moment, checked by single statements during the run."""

from __future__ import annotations

from typing import Any

import asyncpg

# Each statement selects rows that must not exist.
NEVER = {
    "two open searches share a key": """
        SELECT key, array_agg(id)
          FROM searches
         CROSS JOIN LATERAL unnest(keys) AS own (key)
         WHERE ended_at IS NULL
         GROUP BY key
        HAVING count(*) > 1
    """,
    "an open search has no job": """
        SELECT searches.id
          FROM searches
          LEFT JOIN jobs ON jobs.search_id = searches.id
         WHERE searches.ended_at IS NULL
           AND jobs.id IS NULL
    """,
    "an ended search has a question that will be asked": """
        SELECT searches.id, searches.status, jobs.attempt
          FROM searches
          JOIN jobs ON jobs.search_id = searches.id
         WHERE searches.ended_at IS NOT NULL
           AND jobs.state = 'queued'
    """,
    "an open lookup waits for a search that is swept": """
        SELECT lookups.id, searches.id
          FROM lookups
          JOIN searches ON searches.id = lookups.search_id
         WHERE lookups.final_status IS NULL
           AND searches.ended_at IS NOT NULL
           AND NOT searches.unswept
           AND NOT lookups.insists   -- it was reopened
    """,
    "the sums are not the ledger's": """
        WITH entered AS (
            SELECT provider,
                   COALESCE(sum(credits) FILTER (WHERE kind = 'charged'), 0) AS charged,
                   COALESCE(sum(CASE kind WHEN 'possible' THEN credits WHEN 'settled' THEN -credits END), 0) AS possible
              FROM ledger
             GROUP BY provider
        ), summed AS (
            SELECT provider, sum(charged) AS charged, sum(possible) AS possible, sum(reserved) AS reserved
              FROM usage
             GROUP BY provider
        ), reserved AS (
            SELECT provider, sum(reserved) AS reserved
              FROM jobs
             GROUP BY provider
        )
        SELECT summed.*, entered.charged, entered.possible, reserved.reserved
          FROM summed
          LEFT JOIN entered USING (provider)
          LEFT JOIN reserved USING (provider)
         WHERE summed.charged <> COALESCE(entered.charged, 0)
            OR summed.possible <> COALESCE(entered.possible, 0)
            OR summed.reserved <> COALESCE(reserved.reserved, 0)
    """,
}


async def look(pool: asyncpg.Pool[Any]) -> list[str]:
    """Return every breach of these rules that there is now."""
    return [
        f"{rule}: {tuple(row)}"
        for rule, statement in NEVER.items()
        for row in (await pool.fetch(f"{statement} LIMIT 3"))
    ]
