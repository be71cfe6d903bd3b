"""GET /v1/audit: who did what."""

from __future__ import annotations

from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from receiver.api import DEFAULT_LIMIT, LARGEST_LIMIT, as_json, whole_number
from receiver.cursors import read_cursor, write_cursor
from receiver.messages_audit import AuditEntry, AuditPage
from receiver.problems import wrong_fields
from store import audit


class Audit:
    """The handler that lists what people did."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def page(self, request: Request) -> Response:
        """Answer with a page of entries, newest first."""
        cursor = request.query_params.get("cursor")
        before = read_cursor(cursor) if cursor is not None else None
        if cursor is not None and before is None:
            raise wrong_fields([("cursor", "a next_cursor from the page before")])
        limit = whole_number(request.query_params, "limit", default=DEFAULT_LIMIT, most=LARGEST_LIMIT)
        rows = await audit.page(self._pool, before, limit + 1)  # one more shows whether there is a next page
        shown = rows[:limit]
        return as_json(
            AuditPage(
                entries=[AuditEntry.model_validate(row) for row in shown],
                next_cursor=write_cursor(shown[-1]["id"]) if len(rows) > len(shown) else None,
            )
        )
