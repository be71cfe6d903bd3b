"""The brake: people stop paid questions, of all providers, of one, or those that one source pays for.

The claim reads the pauses in the statement that it begins with, and holds the jobs that they concern. Adding and
removing a pause tells the processes by a hint; without it they see it within half a second (submitter/brake.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from store import audit
from store.database import Db
from store.notify import CHANNEL, PAUSES

RELEASED_AT_ONCE = 500  # jobs, when a pause is removed; the reconciler releases the rest


@dataclass(frozen=True, slots=True)
class Brake:
    """The pauses at one moment."""

    all: bool = False
    providers: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()

    @classmethod
    def of(cls, providers: Iterable[str | None], sources: Iterable[str]) -> Brake:
        """Return the brake of these pauses; a provider that is None means all of them."""
        named = frozenset(providers)
        return cls(None in named, frozenset(name for name in named if name is not None), frozenset(sources))

    def stops(self, provider: str, source: str | None = None) -> bool:
        """Tell whether *provider* may not be asked: any question, or one that *source* pays for."""
        return self.all or provider in self.providers or source in self.sources


@dataclass(frozen=True, slots=True)
class Scope:
    """What a pause stops: one provider's questions, one source's, or all when both are None."""

    provider: str | None = None
    source: str | None = None

    def __str__(self) -> str:
        """Name it for people."""
        return self.provider or self.source or "all providers"


async def read_brake(db: Db) -> Brake:
    """Return the pauses in force."""
    rows = await db.fetch("SELECT provider, source FROM pauses")
    return Brake.of(
        (row["provider"] for row in rows if row["source"] is None),
        (row["source"] for row in rows if row["source"] is not None),
    )


async def find_pauses(db: Db) -> list[dict[str, Any]]:
    """Return the pauses, oldest first."""
    rows = await db.fetch("SELECT id, provider, source, reason, who, created_at FROM pauses ORDER BY id")
    return [dict(row) for row in rows]


async def add_pause(db: Db, scope: Scope, *, reason: str, who: str) -> dict[str, Any] | None:
    """Stop the questions of *scope*, and record it. Return the pause, or None when they are stopped already.

    Call inside a transaction.
    """
    row = await db.fetchrow(
        """
        INSERT INTO pauses (id, provider, source, reason, who)
        VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (provider, source) DO NOTHING
        RETURNING id, provider, source, reason, who, created_at
        """,
        uuid7(),
        scope.provider,
        scope.source,
        reason,
        who,
    )
    if row is None:
        return None
    detail = {"provider": scope.provider, "source": scope.source, "reason": reason}
    await audit.record(db, who=who, action="pause", subject=row["id"], detail=detail)
    await _hint(db)
    return dict(row)


async def remove_pause(db: Db, id: UUID, *, who: str) -> dict[str, Any] | None:
    """Let go of the pause *id*, release the first of its jobs, and record it. Return the pause, None if unknown.

    Call inside a transaction.
    """
    row = await db.fetchrow(
        "DELETE FROM pauses WHERE id = $1 RETURNING id, provider, source, reason, who, created_at", id
    )
    return await _removed(db, row, who)


async def remove_pause_of(db: Db, scope: Scope, *, who: str) -> dict[str, Any] | None:
    """Let go of the pause of *scope*, release the first of its jobs, and record it. Return the pause, if any.

    Call inside a transaction.
    """
    row = await db.fetchrow(
        """
        DELETE FROM pauses
         WHERE provider IS NOT DISTINCT FROM $1
           AND source IS NOT DISTINCT FROM $2
        RETURNING id, provider, source, reason, who, created_at
        """,
        scope.provider,
        scope.source,
    )
    return await _removed(db, row, who)


async def _removed(db: Db, pause: asyncpg.Record | None, who: str) -> dict[str, Any] | None:
    if pause is None:
        return None
    detail = {"provider": pause["provider"], "source": pause["source"]}
    await audit.record(db, who=who, action="resume", subject=pause["id"], detail=detail)
    await release_braked(db, RELEASED_AT_ONCE)
    await _hint(db)
    return dict(pause)


async def _hint(db: Db) -> None:
    """Tell the submitters, at the commit, that the pauses have changed."""
    await db.execute("SELECT pg_notify($1, $2)", CHANNEL, PAUSES)


async def release_braked(db: Db, limit: int) -> int:
    """Queue up to *limit* jobs that no pause concerns any more, oldest first at each provider; return how many.

    Jobs that stay are not read: the sources of each provider's held jobs are found by jumps through the index.
    """
    rows = await db.fetch(
        """
        WITH RECURSIVE payer AS (
            SELECT providers.name AS provider,
                   (SELECT min(source) FROM jobs WHERE provider = providers.name AND held = 'brake') AS source
              FROM providers
             WHERE NOT EXISTS (SELECT
                                 FROM pauses
                                WHERE source IS NULL AND (provider IS NULL OR provider = providers.name))
            UNION ALL
            SELECT payer.provider,
                   (SELECT min(jobs.source)
                      FROM jobs
                     WHERE jobs.provider = payer.provider AND held = 'brake' AND jobs.source > payer.source)
              FROM payer
             WHERE payer.source IS NOT NULL
        ), going_on AS MATERIALIZED (
            SELECT braked.id
              FROM payer
             CROSS JOIN LATERAL (
                   SELECT jobs.id
                     FROM jobs
                    WHERE jobs.provider = payer.provider AND jobs.held = 'brake' AND jobs.source = payer.source
                    ORDER BY jobs.due_at, jobs.id
                    LIMIT $1
                      FOR UPDATE SKIP LOCKED) AS braked
             WHERE payer.source IS NOT NULL
               AND NOT EXISTS (SELECT FROM pauses WHERE pauses.source = payer.source)
             LIMIT $1
        )
        UPDATE jobs
           SET held = NULL
          FROM going_on
         WHERE jobs.id = going_on.id
           AND jobs.held = 'brake'
        RETURNING jobs.id
        """,
        limit,
    )
    return len(rows)
