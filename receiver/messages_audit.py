"""The models of GET /v1/audit."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from enrichment.shown import Time


class AuditEntry(BaseModel):
    """An action of a person."""

    id: UUID
    at: Time
    who: str = Field(description="the token's name in API_TOKENS, or the user of the command line")
    action: str
    subject: str | None = Field(description="a lookup, delivery, selection, pause or suppression")
    detail: dict[str, Any]


class AuditPage(BaseModel):
    """Entries, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None = Field(description="send it as `cursor` for the next page; null on the last")
