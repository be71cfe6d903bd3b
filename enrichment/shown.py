"""A lookup as it is shown: the API's answer, and the data of the result webhook."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, PlainSerializer, WithJsonSchema

from enrichment.states import AnsweredBy, DeliveryState, JobState, LookupStatus


def in_utc(at: datetime) -> str:
    """Write a moment in UTC, with milliseconds and Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(credits: Decimal) -> int | float:
    return int(credits) if credits == credits.to_integral_value() else float(credits)


Time = Annotated[
    datetime,
    PlainSerializer(in_utc, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
Credits = Annotated[
    Decimal,
    PlainSerializer(_number, return_type=int | float),
    WithJsonSchema({"type": "number"}, mode="serialization"),
]


class WrongField(BaseModel):
    """One field that cannot be used."""

    path: str = Field(description="like contacts[2].profile_url; empty for the whole body", examples=["work_email"])
    message: str


class Person(BaseModel):
    """The person to find, each identifier in its normal form."""

    profile_url: str | None
    work_email: str | None
    personal_email: str | None
    name: str | None
    company: str | None


class Job(BaseModel):
    """One question asked of one provider."""

    id: UUID
    provider: str
    state: JobState
    answered_by: AnsweredBy | None
    request_id: str | None
    credits: Credits
    possibly_charged: Credits
    polls: int
    attempt: int
    submitted_at: Time | None
    finished_at: Time | None
    error: str | None
    raw: str | None = Field(description="the provider's words, where they could not be read")


class LookupDelivery(BaseModel):
    """One result on its way out."""

    id: UUID = Field(description="the webhook-id of every try")
    channel: str = Field(description="`webhook`, or the CRM")
    status: DeliveryState
    attempts: int = Field(description="tries begun")
    next_at: Time | None = Field(description="when the next try is due")
    reason: str | None = Field(description="why it was refused, given up or skipped")
    last_error: str | None


class Lookup(BaseModel):
    """One wish for one person's mobile number."""

    id: UUID
    status: LookupStatus
    mobile: str | None = Field(description="E.164")
    mobile_raw: str | None = Field(description="as the provider wrote it")
    region: str | None
    line_type: str | None
    provider: str | None = Field(description="whose number it is")
    credits: Credits
    source: str
    record_id: str | None
    search_id: UUID = Field(description="the search that it waits for, or whose answer it took")
    reused_from: UUID | None = Field(description="the lookup for which that search began, if it is another one")
    reason: str | None = Field(description="why there is no number")
    person: Person
    problems: list[WrongField] = Field(description="fields of the event that could not be used")
    created_at: Time
    finished_at: Time | None
    jobs: list[Job]
    deliveries: list[LookupDelivery] = Field(description="newest first: each end of the lookup has its own")


def show_lookup(row: Mapping[str, Any]) -> Lookup:
    """Shape a lookup that store/reports.py read."""
    return Lookup.model_validate({**row, "person": {field: row[field] for field in Person.model_fields}})
