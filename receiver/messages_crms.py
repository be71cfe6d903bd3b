"""The models of /events of a CRM, and of /v1/readings."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from enrichment.shown import Time, WrongField

ReadingStatus = Literal["queued", "reading", "done", "skipped"]


class CrmEventAnswer(BaseModel):
    """The number of a body's events that were stored; all of them are committed."""

    accepted: int = Field(description="events whose contacts are read next")
    ignored: int = Field(description="events that need nothing, or are of another account")
    problems: list[WrongField] = Field([], description="with a token: contacts without a usable record id")


class Reading(BaseModel):
    """A contact that a CRM named, and what became of it."""

    id: UUID
    source: str = Field(description="the CRM")
    record_id: str = Field(description="the CRM's id of the contact")
    status: ReadingStatus
    reason: str | None = Field(description="why it was skipped")
    named_by: Literal["event", "sweep", "walk", "backfill"]
    lookup_id: UUID | None = Field(description="the lookup that it became, now or earlier")
    named_at: Time
    ended_at: Time | None
    tries: int = Field(description="failures in a row")
    last_error: str | None


class ReadingPage(BaseModel):
    """Readings, newest first."""

    readings: list[Reading]
    next_cursor: str | None = Field(description="send it as `cursor` for the next page; null on the last")
