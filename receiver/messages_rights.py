"""The models of suppressions and of erasure."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from enrichment.selection import WITHOUT_NUL
from enrichment.shown import Time
from enrichment.suppression import KINDS, LONGEST_NOTE

TEXT: dict[str, Any] = {"type": ["string", "integer", "null"]}


class SuppressionBody(BaseModel):
    """A person never to be asked about, or a number never to be passed on: exactly one of the values. Or a list."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"email": "jane@acme.co", "note": "by phone"},
            "oneOf": [{"required": [kind], "properties": {kind: {"type": ["string", "integer"]}}} for kind in KINDS],
        },
    )

    email: Any = Field(None, description="an e-mail address", json_schema_extra=TEXT)
    profile: Any = Field(
        None, description="a LinkedIn profile, in any form that an event may have", json_schema_extra=TEXT
    )
    domain: Any = Field(None, description="a domain of e-mail addresses, and those below it", json_schema_extra=TEXT)
    number: Any = Field(None, description="a phone number with its country code", json_schema_extra=TEXT)
    note: Any = Field(
        None,
        description=f"why; at most {LONGEST_NOTE} characters, and nothing personal",
        json_schema_extra={"type": ["string", "null"], "maxLength": LONGEST_NOTE, "pattern": WITHOUT_NUL},
    )


class SuppressionShown(BaseModel):
    """A suppression. Its value is stored only as a hash and cannot be read back."""

    id: UUID
    kind: Literal["email", "profile", "domain", "number"]
    note: str | None
    created_at: Time


class SuppressionsMade(BaseModel):
    """The suppressions, in the order of the request; existing ones are returned unchanged."""

    id: UUID | None = Field(None, description="of the suppression, if it is the only one")
    suppressions: list[SuppressionShown]
    ended: int = Field(description="waiting lookups that are suppressed now; no provider was asked")


class SuppressionPage(BaseModel):
    """Suppressions, newest first."""

    suppressions: list[SuppressionShown]
    next_cursor: str | None = Field(description="send it as `cursor` for the next page; null on the last")


class ErasedAnswer(BaseModel):
    """How much was erased."""

    lookups: int
    events: int = Field(description="events whose bodies were emptied, or lost this person's contacts")
    numbers: int
    searches: int
    jobs: int = Field(description="of which only hashed tombstones are left")
    callbacks: int
    readings: int
    deliveries: int
    suppressions: int = Field(description="made with it")
