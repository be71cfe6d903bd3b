"""What every provider is to us: requests we can build and responses we can read, with no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from enrichment.contact import Contact
from enrichment.outcome import Outcome


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to a provider. Headers carry secrets and bodies carry people: neither is ever shown."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A provider's response; header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most *allowance* requests in any *window* of seconds."""

    allowance: int
    window: int


@dataclass(frozen=True, slots=True)
class LimitNews:
    """What a response's headers say about a limit: the allowance in force, and a rest to keep, in seconds."""

    allowance: int | None = None
    window: int = 60
    rest: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What a provider's free endpoint says: *well* when questions can be asked; *balance* in credits if told."""

    well: bool
    balance: Decimal | None = None
    reason: str | None = None


class Provider(Protocol):
    """Everything we know about one provider."""

    name: str
    price: Decimal  # credits reserved before each question
    calls_back: bool  # answers later, by callback or poll
    limits: tuple[Limit, ...]  # POST and GET together

    def can_ask(self, contact: Contact) -> bool:
        """Whether this contact carries an identifier the provider can use."""

    def submit(self, contact: Contact, callback_url: str | None) -> HttpRequest:
        """The paid question."""

    def read_submit(self, response: HttpResponse) -> Outcome:
        """What the answer to the question says. Never raises, whatever the bytes."""

    def poll(self, request_id: str) -> HttpRequest:
        """The free question about a question; LookupError where the provider never answers later."""

    def read_poll(self, response: HttpResponse) -> Outcome:
        """What the answer to a poll says. Never raises."""

    def read_callback(self, body: bytes) -> Outcome:
        """What a callback says. Never raises; Unreadable for what is not one."""

    def health(self) -> HttpRequest:
        """The free question about the account."""

    def read_health(self, response: HttpResponse) -> Health:
        """What the account's state is. Never raises."""

    def read_limits(self, response: HttpResponse) -> LimitNews | None:
        """What the response's headers say about our allowance; None when they say nothing new."""
