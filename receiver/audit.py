"""GET /v1/audit: who did what."""

from __future__ import annotations

from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from receiver.api import as_json
from receiver.messages_audit import AuditEntry, AuditPage
from receiver.pages import read_place
from store import audit


class Audit:
    """The handler that lists what people did."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def page(self, request: Request) -> Response:
        """Answer with a page of entries, newest first."""
        place = read_place(request.query_params)
        rows, after = place.cut(await audit.page(self._pool, place.before, place.one_more), lambda row: row["id"])
        return as_json(AuditPage(entries=[AuditEntry.model_validate(row) for row in rows], next_cursor=after))
