"""Record who did what. Call inside the transaction of what is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from store.database import Db

NEWEST = UUID(int=2**128 - 1)  # no id is newer


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


async def page(db: Db, before: UUID | None, limit: int) -> list[dict[str, Any]]:
    """Return up to *limit* entries older than *before*, newest first."""
    rows = await db.fetch(
        """
        SELECT id, at, who, action, subject, detail
          FROM audit
         WHERE id < $1
         ORDER BY id DESC
         LIMIT $2
        """,
        before or NEWEST,
        limit,
    )
    return [dict(row) | {"detail": json.loads(row["detail"])} for row in rows]
