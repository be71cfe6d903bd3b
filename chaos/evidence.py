"""The evidence that the checks examine: our API's answers, the vendors' books, the requests that were overheard."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from chaos.contacts import Contact
from chaos.crm import Sent
from chaos.hubspot import CrmBooks
from chaos.journal import Happened
from chaos.overheard import Exchange
from chaos.results import Got
from chaos.vendors import Books, Json
from chaos.watch import Takeover
from sandbox.people import Person, person, slug_of

PAID = {"leadmagic": "/v1/people/mobile-finder", "nyne": "/person/phone"}
FIELDS = {
    "leadmagic": {"profile_url": "profile_url", "work_email": "work_email", "personal_email": "personal_email"},
    "nyne": {"profile_url": "social_media_url", "work_email": "email", "name": "name", "company": "company"},
}


IDENTIFIERS = ("profile_url", "work_email", "personal_email")


@dataclass(frozen=True, slots=True)
class Asked:
    """One paid question, as overheard: the person, the job where the proxy can identify it, and the outcome."""

    provider: str
    key: str  # the person, as the vendor tells people apart
    job_id: str | None
    at: float
    status: int | None  # None: no complete answer arrived
    identifiers: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Evidence:
    """Everything that the checks examine."""

    sent: list[Sent] = field(default_factory=list)
    lookups: dict[str, Json] = field(default_factory=dict)
    usage: dict[str, Json] = field(default_factory=dict)  # by provider: reserved, charged, possibly_charged
    books: dict[str, Books] = field(default_factory=dict)
    overheard: dict[str, list[Exchange]] = field(default_factory=dict)
    stored: dict[tuple[str, bytes], str] = field(default_factory=dict)  # (job, hash of the body): our verdict
    unfinished: dict[str, int] = field(default_factory=dict)  # rows by kind
    takeovers: list[Takeover] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)
    contacts: list[Contact] = field(default_factory=list)  # as they were created
    hubspot: CrmBooks = field(default_factory=CrmBooks)
    results: list[Got] = field(default_factory=list)
    delivered: dict[str, float] = field(default_factory=dict)  # deliveries: when their 2xx was stored
    has_own_properties: bool = False  # the status of a lookup is written onto its contact
    holds: float = 8.0  # seconds for which a process may hold a contact between reading and writing it
    truth: Callable[[str, Person], Json] = lambda provider, subject: {}
    lies: list[str] = field(default_factory=list)  # where the sandbox's truth over HTTP differed from *truth*
    most_submitting: Callable[[float, float], int] = lambda begun, ended: 0

    @cached_property
    def people(self) -> dict[str, int]:
        """Return the person behind each vendor's key."""
        of_events = {
            of_identifiers(wish.identifiers).key: wish.person for sent in self.sent for wish in sent.event.wishes
        }
        return of_events | {of_identifiers(one.identifiers).key: one.person for one in self.contacts}

    @cached_property
    def lookups_of(self) -> dict[int, list[Json]]:
        """Return every lookup, by its person."""
        found: dict[int, list[Json]] = {}
        for lookup in self.lookups.values():
            found.setdefault(self.people[self.person_of(lookup).key], []).append(lookup)
        return found

    def of_person(self, lookup: Json) -> list[Json]:
        """Return all lookups of the person of this one."""
        return self.lookups_of[self.people[self.person_of(lookup).key]]

    @cached_property
    def asked(self) -> list[Asked]:
        """Return every paid question that was written, in the order of time."""
        found = [
            _asked(provider, exchange)
            for provider, path in PAID.items()
            for exchange in self.overheard.get(provider, [])
            if exchange.method == "POST" and exchange.path == path and exchange.written
        ]
        return sorted(found, key=lambda one: one.at)

    @cached_property
    def polls_404(self) -> set[str]:
        """Return the requests that the vendor answered with an unknown request_id."""
        return {
            parse_qs(urlsplit(exchange.path).query).get("request_id", [""])[0]
            for exchange in self.overheard.get("nyne", [])
            if exchange.method == "GET" and exchange.status == 404
        }

    @cached_property
    def accepted(self) -> set[str]:
        """Return the jobs whose 202 arrived whole: a callback that names another request is then recognized."""
        return {asked.job_id for asked in self.asked if asked.job_id and asked.status and asked.status < 300}

    @cached_property
    def flagged(self) -> set[str]:
        """Return the jobs with a callback that we did not believe, or believed only for a time."""
        return {job for (job, _), verdict in self.stored.items() if verdict == "flagged"}

    @cached_property
    def nyne_requests(self) -> set[tuple[str, str]]:
        """Return (person, request_id) of every question that Nyne took."""
        return {(entry["person"], entry["request_id"]) for entry in self.books["nyne"].requests if entry["request_id"]}

    @cached_property
    def erased(self) -> set[str]:
        """Return the people, by each vendor's key, whose contacts were erased: their rows may be gone."""
        return {of_identifiers(one.identifiers).key for one in self.contacts if (one.deed or "").startswith("erase")}

    @cached_property
    def erased_jobs(self) -> set[str]:
        """Return the jobs about those people, as far as the proxy can identify them."""
        return {asked.job_id for asked in self.asked if asked.job_id and asked.key in self.erased}

    @cached_property
    def suppressed(self) -> dict[str, float]:
        """Return when the suppression of each identifier was confirmed; infinity if it may have failed."""
        return {
            _plain(one.identifiers[key]): one.suppressed_at or math.inf
            for one in self.contacts
            if (one.deed or "").startswith("suppress")
            for key in IDENTIFIERS
            if key in one.identifiers
        }

    def suppressed_at(self, identifiers: Mapping[str, Any]) -> float | None:
        """Return when the first of these identifiers was suppressed; None if none was."""
        named = [_plain(identifiers[key]) for key in IDENTIFIERS if identifiers.get(key)]
        return min((self.suppressed[one] for one in named if one in self.suppressed), default=None)

    def jobs(self) -> Iterable[tuple[Json, Json]]:
        """Return every job with the lookup that its search began for: only that lookup shows it."""
        return ((lookup, job) for lookup in self.lookups.values() for job in lookup["jobs"])

    def person_of(self, lookup: Json) -> Person:
        """Return the person of a lookup, as a vendor tells people apart."""
        return of_identifiers(lookup["person"])

    def keep(self, path: Path) -> None:
        """Write all the evidence into a file: the CRM's log, our API's answers, the overheard requests."""
        kept = {
            "sent": [(s.event.id, s.tries, s.taken_at, s.answers, [dict(w.identifiers) for w in s.event.wishes])
                     for s in self.sent],
            "lookups": list(self.lookups.values()),
            "usage": self.usage,
            "books": {name: asdict(books) for name, books in self.books.items()},
            "overheard": {
                name: [(one.at, one.method, one.path, one.body.decode("latin-1"), one.status, one.answered_at)
                       for one in exchanges]
                for name, exchanges in self.overheard.items()
            },
            "contacts": [asdict(one) for one in self.contacts],
            "hubspot": asdict(self.hubspot),
            "results": [asdict(one) for one in self.results],
            "delivered": self.delivered,
        }  # fmt: skip
        with gzip.open(path, "wt") as file:
            json.dump(kept, file)


def _plain(identifier: str) -> str:
    """Return a profile's slug, or an address, so that it can be compared."""
    return identifier.lower() if "@" in identifier else slug_of(identifier)


def of_identifiers(identifiers: Mapping[str, Any]) -> Person:
    """Return the person that these identifiers name, as the vendors read them."""
    names = ("profile_url", "work_email", "personal_email", "name", "company")
    subject = person(**{name: identifiers.get(name) for name in names})
    assert subject is not None
    return subject


def _asked(provider: str, exchange: Exchange) -> Asked:
    question = json.loads(exchange.body)
    identifiers = {ours: question.get(theirs) for ours, theirs in FIELDS[provider].items()}
    callback_url = question.get("callback_url")
    job_id = callback_url.split("/")[-2] if callback_url else None
    return Asked(provider, of_identifiers(identifiers).key, job_id, exchange.at, exchange.status, identifiers)


def times(job: Json) -> tuple[float, float]:
    """Return when a job was asked last, and when it ended."""
    asked, ended = (datetime.fromisoformat(job[name]).timestamp() for name in ("submitted_at", "finished_at"))
    return asked, ended


def made_at(id: str) -> float:
    """Return the second in which this id was made: a UUIDv7 begins with milliseconds."""
    return int(id.replace("-", "")[:12], 16) / 1000
