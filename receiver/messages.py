"""The models of requests and answers: they validate, shape and describe them."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from enrichment.event import LONGEST_ID, MOST_CONTACTS
from enrichment.shown import Credits, Lookup, WrongField
from enrichment.states import LookupStatus


class EventContact(BaseModel):
    """One person to find. The answer names each field that cannot be used; unknown fields are ignored."""

    event_id: Any = Field(None, description="the event's own id: sent again with the same content, it is a duplicate")
    record_id: Any = Field(None, description=f"the CRM's id of the contact, at most {LONGEST_ID} characters")
    profile_url: Any = Field(None, description="LinkedIn profile; also linkedin_url, linkedin")
    work_email: Any = Field(None, description="e-mail at work; also email")
    personal_email: Any = Field(None, description="private e-mail")
    name: Any = Field(None, description="full name; also first_name and last_name, full_name")
    company: Any = Field(None, description="company's name; helps to tell namesakes apart")
    providers: Any = Field(None, description="who is asked, in this order; without it, all of PROVIDERS")
    region: Any = Field(None, description="country of numbers that are written without one; also country")


class EventBody(EventContact):
    """One contact; or up to 100 under `contacts`, which take `event_id`, `providers` and `region` from here
    if they have none of their own. A list of contacts is accepted as well.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "event_id": "evt-1",
                "record_id": "crm-42",
                "profile_url": "linkedin.com/in/janedoe",
                "work_email": "jane@acme.co",
                "name": "Jane Doe",
                "company": "Acme",
                "region": "US",
            }
        }
    )

    contacts: list[EventContact] | None = Field(None, min_length=1, max_length=MOST_CONTACTS)


class AcceptedLookup(BaseModel):
    """The lookup of one contact."""

    id: UUID | None = Field(description="null where nothing in the contact can be used")
    status: LookupStatus | None
    duplicate: bool = Field(description="the same event again: this is the lookup it made the first time")
    problems: list[WrongField] = Field(description="fields of this contact that were not used, and why")


class EventAnswer(BaseModel):
    """The lookups, in the order of the contacts; all of them are stored."""

    lookups: list[AcceptedLookup]


class LookupPage(BaseModel):
    """Lookups, newest first."""

    lookups: list[Lookup]
    next_cursor: str | None = Field(description="send it as `cursor` for the next page; null on the last")


class RetryBody(BaseModel):
    """The body of a retry; it may be left out."""

    wrong_number: bool = Field(
        False, strict=True, description="the number of a found lookup is another person's, or dead"
    )


class RetryAnswer(BaseModel):
    """The lookup that is tried again."""

    id: UUID
    status: LookupStatus
    warning: str | None = Field(description="set when asking again may be charged again")


class CancelAnswer(BaseModel):
    """The lookup that was cancelled."""

    id: UUID
    status: Literal["cancelled"] = "cancelled"


class ReleaseAnswer(BaseModel):
    """The lookup that was released; the next question may hold it again."""

    id: UUID
    status: LookupStatus


class UsageDay(BaseModel):
    """Credits of one provider on one UTC day, paid by one source."""

    provider: str
    source: str
    day: date
    reserved: Credits
    charged: Credits
    possibly_charged: Credits


class BudgetState(BaseModel):
    """A budget of the current UTC day or month: of one provider, of one source, or of all (both null)."""

    provider: str | None
    source: str | None
    period: Literal["day", "month"]
    credits: Credits
    used: Credits = Field(description="reserved, charged and possibly charged")
    left: Credits


class Usage(BaseModel):
    """The credits spent, newest day first, and the budgets."""

    days: list[UsageDay]
    budgets: list[BudgetState]


class ProblemBody(BaseModel):
    """A problem, as in RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[WrongField] | None = Field(None, description="with 422: one for each wrong field")
