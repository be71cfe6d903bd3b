"""The interface of a CRM: verify and read its events, build its calls, read their answers. Without I/O.

An event is a hint: it names contacts, and Ringback reads each again before it spends anything. So an adapter takes only
the ids from an event, and everything else from the contact as the CRM shows it now.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

from enrichment.crms.ways import Way
from enrichment.event import LONGEST_ID
from enrichment.outcome import Pause, Refused, Retry, Unclear
from enrichment.providers.base import HttpRequest, HttpResponse, Limit, LimitNews
from enrichment.settings import Settings

Headers = Sequence[tuple[str, str]]  # names in lower case; a header that came twice is there twice
Failure = Retry | Pause | Refused | Unclear  # Unclear: perhaps done; read before doing it again
Purpose = Literal["any", "search"]  # which limits a call spends; a search spends those of "any" as well


@dataclass(frozen=True, slots=True)
class Named:
    """A contact that a body of events names.

    *events*: the number of events counted for this contact; an event that names several counts for the first.
    *account*: None if the events do not name it. *erases*: erase the person. *is_request*: a person's workflow asks for
    the number, however old the contact is.
    """

    record_id: str
    account: str | None = None
    erases: bool = False
    events: int = 1
    is_request: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """The contacts to read, and the number of events in the body that name none."""

    named: tuple[Named, ...]
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class Edit:
    """One value that a field had, and when it was set; *value* is empty where the field was cleared.

    *is_typed*: the CRM says that a person set it by hand.
    """

    value: str = field(repr=False)
    at: datetime
    is_typed: bool = False


@dataclass(frozen=True, slots=True)
class CrmContact:
    """A contact as the CRM shows it now."""

    record_id: str  # after a merge, another id than the one asked for
    fields: Mapping[str, Any] = field(repr=False)  # as in an event: work_email, name, company, profile_url, ...
    mobile: str | None = field(repr=False)  # what stands in the mobile field, however it is written
    phone: str | None = field(repr=False)
    edits: tuple[Edit, ...] = field(repr=False)  # of the mobile field, the newest first
    modified_at: datetime
    news_at: datetime | None  # its creation, or the last time an identifier or a property of ONLY_IF was set
    is_wanted: bool = True  # it meets every condition of ONLY_IF
    absorbed: tuple[str, ...] = ()  # ids of contacts that were merged into it
    emails: tuple[str, ...] = field(default=(), repr=False)  # further addresses, in lower case, beyond those in fields
    body: bytes = field(default=b"", repr=False)  # verbatim


@dataclass(frozen=True, slots=True)
class Gone:
    """The CRM does not have this contact: it was deleted or erased."""


@dataclass(frozen=True, slots=True)
class Change:
    """A contact that a sweep or a walk saw, and its last modification. *is_gone*: it was deleted."""

    record_id: str
    modified_at: datetime | None
    absorbed: tuple[str, ...] = ()
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a sweep or a walk. *after*: the cursor of the next, None at the end. *total*: None if not named."""

    changes: tuple[Change, ...]
    after: str | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Writing:
    """The values to write onto a contact: the number into *number_in*, the rest into our own properties, if any."""

    status: str
    number: str | None = field(default=None, repr=False)
    number_in: Literal["mobile", "phone"] = "mobile"
    provider: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The CRM accepted the write. *record_id* is the contact written to: after a merge, another than the one named."""

    record_id: str


@dataclass(frozen=True, slots=True)
class Account:
    """The account of our token: its id, and the scopes that the token lacks."""

    id: str | None
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Property:
    """A field of contacts, as the CRM defines it."""

    name: str
    label: str
    type: str


@dataclass(frozen=True, slots=True)
class CrmLimit:
    """A limit of the CRM, for calls of one *purpose*."""

    purpose: Purpose
    limit: Limit


class Crm(ABC):
    """Everything we know about one CRM. The read_ methods never raise, except read_event for a body without events."""

    name: str  # the source of its events
    label: str  # as its vendor writes it
    limits: tuple[CrmLimit, ...]
    most_per_read: int  # contacts of one read_many
    ways: tuple[Way, ...]  # in which a person connects it
    has_own_properties: bool  # `ringback connect` created properties for status, source and date

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Settings, learned: Mapping[str, Any]) -> Self:
        """Build the adapter; *learned* is what `ringback connect` stored. Settings of the environment win."""

    def is_record_id(self, text: str) -> bool:
        """Tell whether *text* can be the id of a contact, before it becomes part of an address."""
        return 0 < len(text) <= LONGEST_ID and text not in (".", "..")

    @property
    @abstractmethod
    def can_call(self) -> bool:
        """Tell whether there is a token to call the CRM with."""

    # Events in.

    @property
    def can_verify(self) -> bool:
        """Tell whether there is a secret to verify signatures with."""
        return True

    def may_be_signed(self, headers: Headers) -> bool:
        """Tell whether the headers carry a signature, so that the body is worth reading."""
        return True

    @abstractmethod
    def verify(self, *, method: str, url: str, headers: Headers, body: bytes, now: float) -> bool:
        """Tell whether the CRM signed this request to *url*, our public one, at about *now* (seconds)."""

    def clocks_apart(self, *, method: str, url: str, headers: Headers, body: bytes, now: float) -> float | None:
        """Return by how many seconds *now* is ahead of a request that `verify` refuses for its time alone; else None.

        A replayed request looks the same.
        """
        return None

    @abstractmethod
    def read_event(self, body: bytes) -> Heard:
        """Read a body of the CRM's own events. Raise NotJson or NotAnEvent."""

    # Contacts.

    @abstractmethod
    def read_many(self, record_ids: Sequence[str]) -> HttpRequest:
        """Build the request for up to `most_per_read` contacts."""

    @abstractmethod
    def read_contacts(self, response: HttpResponse) -> Mapping[str, CrmContact] | Failure:
        """Read those contacts by id. A missing one may be gone or merged: `read_one` tells which."""

    @abstractmethod
    def read_one(self, record_id: str) -> HttpRequest:
        """Build the request for one contact."""

    @abstractmethod
    def read_contact(self, response: HttpResponse) -> CrmContact | Gone | Failure:
        """Read that contact, or the one that it was merged into."""

    @abstractmethod
    def write(self, contact: CrmContact, writing: Writing) -> HttpRequest:
        """Build the request that writes onto *contact*, which was just read: some CRMs replace a whole list."""

    @abstractmethod
    def read_write(self, response: HttpResponse) -> Written | Gone | Failure:
        """Read the answer to a write."""

    # Missed contacts.

    @abstractmethod
    def sweep(self, *, since: datetime, until: datetime, after: str | None, news_only: bool = True) -> HttpRequest:
        """Build the request for a page of the contacts that changed from *since* to *until*.

        *news_only* leaves out contacts that need no number; a backfill asks for all that were created in that time.
        """

    @abstractmethod
    def walk(self, after: str | None) -> HttpRequest:
        """Build the request for a page of all contacts, to find what sweeps cannot show."""

    @abstractmethod
    def read_page(self, response: HttpResponse) -> Page | Failure:
        """Read a page of a sweep or of a walk."""

    # Connecting.

    @abstractmethod
    def account(self) -> HttpRequest:
        """Build the free request that tells which account the token belongs to."""

    @abstractmethod
    def read_account(self, response: HttpResponse) -> Account | Failure:
        """Read the account."""

    @abstractmethod
    def properties(self) -> HttpRequest:
        """Build the request for the definitions of contacts' fields."""

    @abstractmethod
    def read_properties(self, response: HttpResponse) -> tuple[Property, ...] | Failure:
        """Read the definitions."""

    @abstractmethod
    def create_properties(self) -> tuple[HttpRequest, ...]:
        """Build the requests that create our own properties; each may find that its property exists."""

    @abstractmethod
    def read_limits(self, response: HttpResponse) -> LimitNews | None:
        """Read the allowance and rest from the headers; None if they name neither."""
