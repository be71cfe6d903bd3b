"""The models of /v1/pauses."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from enrichment.settings import PROVIDER_NAMES, SOURCE_NAMES
from enrichment.shown import Time

LONGEST_REASON = 500  # characters
_BLANK = r"\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
NOT_BLANK = rf"^[^\u0000]*[^{_BLANK}][^\u0000]*$"  # and without NUL, which PostgreSQL cannot store


class PauseBody(BaseModel):
    """What to pause: one provider, one source, or without either all paid questions."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"provider": "nyne", "reason": "audit"},
            # Not of both at once.
            "anyOf": [{"properties": {name: {"type": "null"}}} for name in ("provider", "source")],
        },
    )

    provider: str | None = Field(
        None,
        strict=True,
        description=f"one of {', '.join(PROVIDER_NAMES)}",
        json_schema_extra={"enum": [*PROVIDER_NAMES, None]},
    )
    source: str | None = Field(
        None,
        strict=True,
        description=f"one of {', '.join(SOURCE_NAMES)}: who pays",
        json_schema_extra={"enum": [*SOURCE_NAMES, None]},
    )
    reason: str = Field(
        strict=True,
        min_length=1,
        max_length=LONGEST_REASON,
        description="why; shown to people",
        json_schema_extra={"pattern": NOT_BLANK},
    )


class Pause(BaseModel):
    """A pause of paid questions: to one provider, of one source, or of all (both null)."""

    id: UUID
    provider: str | None
    source: str | None
    reason: str
    who: str = Field(description="the token's name in API_TOKENS, or the user of the command line")
    created_at: Time


class PauseList(BaseModel):
    """The pauses in force, oldest first."""

    pauses: list[Pause]
