"""Everything that is stored about one lookup, as store/timeline.py reads it and enrichment/timeline.py tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from enrichment.states import AnsweredBy, DeliveryState, JobState, LookupStatus, SearchStatus, Verdict

SHOWN = 16 * 1024  # bytes of a body, or characters of a text, that are shown


@dataclass(frozen=True, slots=True)
class Verbatim:
    """What others sent: its first SHOWN bytes if they may be seen, and how many bytes it has."""

    size: int
    text: str | None = field(default=None, repr=False)

    @property
    def is_cut(self) -> bool:
        """Tell whether there is more than is shown."""
        return self.size > SHOWN


@dataclass(frozen=True, slots=True)
class Arrived:
    """The event that the lookup came from."""

    source: str
    at: datetime
    body: Verbatim
    contacts: int = 1  # in it; known once its body may be seen


@dataclass(frozen=True, slots=True)
class Read:
    """The reading of the CRM's contact, as it was named last."""

    source: str
    named_by: str
    state: str
    named_at: datetime
    ended_at: datetime | None
    due_at: datetime
    tries: int
    reason: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Searched:
    """A search that the lookup waited for, or took its answer from."""

    id: UUID
    begun_for: UUID
    providers: Sequence[str]
    is_retry: bool
    is_doubtful: bool
    status: SearchStatus | None
    reason: str | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Question:
    """One question to one provider: an open or a finished job."""

    id: UUID
    search_id: UUID
    lookup_id: UUID  # the lookup that it was asked for
    provider: str
    state: JobState
    attempt: int
    polls: int
    request_id: str | None
    submitted_at: datetime | None
    error: str | None
    raw: Verbatim | None
    # of an open one
    held: str | None = None
    due_at: datetime | None = None
    lease_expires_at: datetime | None = None
    callback_expected: bool = False
    reserved: Decimal = Decimal(0)
    # of a finished one
    answered_by: AnsweredBy | None = None
    credits: Decimal = Decimal(0)
    possible: Decimal = Decimal(0)
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CalledBack:
    """A callback, or the count of those whose bodies are not kept."""

    job_id: UUID
    provider: str
    at: datetime
    times: int
    verdict: Verdict
    flag: str | None
    is_count: bool
    body: Verbatim


@dataclass(frozen=True, slots=True)
class Delivered:
    """The result on its way to the webhook or the CRM."""

    id: UUID
    channel: str
    state: DeliveryState
    attempt: int
    tries: int
    due_at: datetime
    ended_at: datetime | None
    reason: str | None
    error: str | None
    answer: Verbatim | None


@dataclass(frozen=True, slots=True)
class Act:
    """What a person did: to the lookup, to one of its deliveries, or to a selection that both were in."""

    at: datetime
    who: str
    action: str
    subject: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trail:
    """A lookup, and everything that led to its end and followed from it."""

    id: UUID
    status: LookupStatus
    search_id: UUID
    reused_from: UUID | None
    providers: Sequence[str]
    problems: Sequence[tuple[str, str]]
    created_at: datetime
    finished_at: datetime | None
    provider: str | None
    reason: str | None
    refused: int  # numbers that a person called wrong
    event: Arrived | None
    reading: Read | None
    searches: Sequence[Searched]
    questions: Sequence[Question]
    callbacks: Sequence[CalledBack]
    deliveries: Sequence[Delivered]
    acts: Sequence[Act]
