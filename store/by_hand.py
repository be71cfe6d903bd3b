"""What a person decides: ask once more, or stop."""

from __future__ import annotations

from uuid import UUID

from store.database import Db
from store.finish import drop_unasked


async def unhold(db: Db, lookup_id: UUID) -> bool:
    """held -> queued: the lookup is tried now; it is held again if it must be.  False when it was not held."""
    row = await db.fetchrow(
        "UPDATE jobs SET held = NULL, due_at = now() WHERE lookup_id = $1 AND held IS NOT NULL RETURNING id",
        lookup_id,
    )
    return row is not None


async def cancel(db: Db, lookup_id: UUID) -> tuple[bool, bool]:
    """queued, held, failed or unresolved -> cancelled.  Returns whether it was, and whether it has followers.

    A lookup whose question is on its way is not: the answer will be paid for, so it is waited for.
    """
    row = await db.fetchrow(
        """
        WITH dropped AS (
            DELETE FROM jobs
             WHERE lookup_id = $1
               AND state = 'queued'
            RETURNING lookup_id, spent
        )
        UPDATE lookups
           SET final_status = 'cancelled', finished_at = now(), reason = 'cancelled by a person',
               credits = credits + COALESCE((SELECT spent FROM dropped), 0)
         WHERE id = $1
           AND (final_status IN ('failed', 'unresolved')
                OR final_status IS NULL
                   AND (EXISTS (SELECT FROM dropped) OR NOT EXISTS (SELECT FROM jobs WHERE lookup_id = $1)))
        RETURNING followers > 0 AS has_followers
        """,
        lookup_id,
    )
    if row is not None:
        # A follower that took its own turn at this instant has a question that the statement could not see yet.
        await drop_unasked(db, lookup_id)
    return row is not None, bool(row and row["has_followers"])


async def possibly_charged(db: Db, lookup_id: UUID) -> list[str]:
    """The providers that were perhaps paid for this lookup without an answer: asking again may charge again."""
    rows = await db.fetch(
        """
        SELECT DISTINCT provider
          FROM finished_jobs
         WHERE lookup_id = $1
           AND possible > 0
         ORDER BY provider
        """,
        lookup_id,
    )
    return [row["provider"] for row in rows]
