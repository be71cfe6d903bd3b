"""The interface of a provider: build requests and read responses, without I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from enrichment.contact import Contact
from enrichment.outcome import Outcome
from enrichment.settings import Settings


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to a provider. Headers hold secrets and bodies hold personal data: repr shows neither."""

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
    """The limits in a response's headers: the allowance in force, and a rest to keep, in seconds."""

    allowance: int | None = None
    window: int = 60
    rest: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The state of an account, from the provider's free endpoint. *well*: it can ask; None when the answer is silent.

    *balance* in credits, and the credits *used* in this month (UTC), if named.
    """

    well: bool | None
    balance: Decimal | None = None
    reason: str | None = None
    used: Decimal | None = None


class Provider(ABC):
    """Everything we know about one provider. No read_ method ever raises."""

    __slots__ = ()

    name: str
    price: Decimal  # credits reserved before each question, in cents
    limits: tuple[Limit, ...]  # POST and GET together

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the provider with the configured address, price and keys; the receiver has no keys."""

    @abstractmethod
    def can_ask(self, contact: Contact) -> bool:
        """Tell whether *contact* has an identifier that the provider can use."""

    @abstractmethod
    def submit(self, contact: Contact, callback_url: str | None) -> HttpRequest:
        """Build the paid question."""

    @abstractmethod
    def read_submit(self, response: HttpResponse) -> Outcome:
        """Read the answer to the question."""

    @abstractmethod
    def health(self) -> HttpRequest:
        """Build the free question about the account."""

    @abstractmethod
    def read_health(self, response: HttpResponse) -> Health:
        """Read the state of the account."""

    @abstractmethod
    def read_limits(self, response: HttpResponse) -> LimitNews | None:
        """Read the allowance and rest from the headers; None if they name neither."""


class CallsBack(Provider):
    """A provider that answers later: by callback, or when it is polled."""

    __slots__ = ()

    @abstractmethod
    def poll(self, request_id: str) -> HttpRequest:
        """Build the free request for the state of a question."""

    @abstractmethod
    def read_poll(self, response: HttpResponse) -> Outcome:
        """Read the answer to a poll."""

    @abstractmethod
    def read_callback(self, body: bytes) -> Outcome:
        """Read a callback; return Unreadable if it is not one."""
