"""Record who did what. Call inside the transaction of what is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from store.database import Db
from store.partitions import NEWEST, first_id

RECORDED_WITHIN = timedelta(minutes=5)  # of a suppression: a list of them has its entries one after the other
# What people do. The CHECK of the table names them too.
ACTIONS = (
    "retry", "cancel", "release", "replay", "suppress", "unsuppress", "erase", "pause", "resume", "connect",
    "disconnect", "backfill", "reveal", "reconcile", "enrich", "export",
)  # fmt: skip


async def record(
    db: Db, *, who: str, action: str, subject: object = None, detail: Mapping[str, Any] | None = None
) -> None:
    """Record that *who* did *action* to *subject*, an id or a name of ours; no personal data in *detail*."""
    await db.execute(
        """
        INSERT INTO audit (id, who, action, subject, detail)
        VALUES ($1, $2, $3, $4, $5::jsonb)
        """,
        uuid7(),
        who,
        action,
        None if subject is None else str(subject),
        json.dumps(dict(detail or {})),
    )


async def page(
    db: Db, before: UUID | None, limit: int, *, action: str | None = None, who: str | None = None
) -> list[dict[str, Any]]:
    """Return up to *limit* entries older than *before*, of this *action* and by *who*, newest first."""
    rows = await db.fetch(
        """
        SELECT id, at, who, action, subject, detail
          FROM audit
         WHERE id < $1
           AND ($3::text IS NULL OR action = $3)
           AND ($4::text IS NULL OR who = $4)
         ORDER BY id DESC
         LIMIT $2
        """,
        before or NEWEST,
        limit,
        action,
        who,
    )
    return [dict(row) | {"detail": json.loads(row["detail"])} for row in rows]


async def lookups_of(db: Db, subjects: Iterable[UUID]) -> dict[str, UUID]:
    """Return by subject the lookup that it is, or is a delivery of; leave out the others."""
    rows = await db.fetch(
        """
        SELECT id AS subject, id AS lookup_id FROM lookups WHERE id = ANY($1::uuid[])
         UNION ALL
        SELECT id, lookup_id FROM deliveries WHERE id = ANY($1::uuid[])
        """,
        sorted(subjects),
    )
    return {str(row["subject"]): row["lookup_id"] for row in rows}


async def who_suppressed(db: Db, made: Sequence[tuple[UUID, datetime]]) -> dict[UUID, str]:
    """Return who made these suppressions, each given with its id and its time; an erasure's are recorded as that.

    The audit has no index by subject. A suppression's entry follows it in the same transaction, so it is among those
    of a few minutes.
    """
    rows = await db.fetch(
        """
        SELECT made.id, entry.who
          FROM unnest($1::uuid[], $2::uuid[]) AS made (id, soon)
         CROSS JOIN LATERAL (
               SELECT who
                 FROM audit
                WHERE audit.id > made.id
                  AND audit.id < made.soon
                  AND action = 'suppress'
                  AND subject = made.id::text
                LIMIT 1) AS entry
        """,
        [id for id, _ in made],
        [first_id(at + RECORDED_WITHIN) for _, at in made],
    )
    return {row["id"]: row["who"] for row in rows}
