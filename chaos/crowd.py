"""The people and the CRM's events: mostly new people, some twice, some under other names or one address."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# The sandbox acts on these words; a hash decides about people without one. No word makes a vendor charge for an
# unreadable answer: it could charge for such a person again, and that would prove nothing.
WORDS = (
    *("lm-none", "lm-404", "lm-absent", "lm-plain", "lm-national", "lm-503once", "lm-none--ny-none"),
    *("lm-none--ny-found", "lm-none--ny-failed", "lm-none--ny-double", "lm-none--ny-early", "lm-none--ny-silent"),
    *("lm-none--ny-forged", "lm-none--ny-instant", "lm-none--ny-otherid", "lm-none--ny-unreadable"),
    *("lm-none--ny-objects", "lm-none--ny-control", "lm-none--ny-503once", "lm-none--ny-lost202"),
)
SHARE_WITH_WORD = 0.15
# How people come, in percent of the arrivals.
PATTERNS = {
    "new": 62, "again": 8, "slug_first": 8, "mail_first": 4, "one_address": 4, "pair": 8, "name_only": 3, "batch": 3,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wish:
    """One contact of an event; *person* is its true identity."""

    person: int
    record_id: str
    identifiers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Event:
    """A message of the CRM, to be sent *at* this many seconds from the start."""

    id: str
    at: float
    wishes: tuple[Wish, ...]

    def body(self) -> dict[str, Any]:
        """Return the body to POST; the same every time."""
        contacts = [{"record_id": wish.record_id, "region": "US", **wish.identifiers} for wish in self.wishes]
        if len(contacts) == 1:
            return {"event_id": self.id, **contacts[0]}
        return {"event_id": self.id, "contacts": contacts}


@dataclass(slots=True)
class Crowd:
    """Events without end, in the order of their times, the same for the same *seed*; *rate* lookups a second."""

    seed: int
    rate: float
    odd: float = SHARE_WITH_WORD  # the share of people about whom a vendor does something odd
    _dice: random.Random = field(init=False)
    _people: int = 0
    _events: int = 0

    def __post_init__(self) -> None:
        """Make the dice from the seed."""
        self._dice = random.Random(f"crowd {self.seed}")

    def __iter__(self) -> Iterator[Event]:
        """Yield every event; one that is sent again comes again."""
        due: list[tuple[float, int, Event]] = []
        now, order = 0.0, 0
        while True:
            events = self._arrive(now)
            for event in events:
                order += 1
                heapq.heappush(due, (event.at, order, event))
            now += sum(len(event.wishes) for event in {event.id: event for event in events}.values()) / self.rate
            while due and due[0][0] <= now:
                yield heapq.heappop(due)[2]

    def _arrive(self, now: float) -> list[Event]:
        """Return the events of the next arrival, some of which are for later."""
        pattern = self._dice.choices(list(PATTERNS), list(PATTERNS.values()))[0]
        person, known = self._person()
        slug, mail, name = (
            {field: known[field] for field in fields}
            for fields in (("profile_url",), ("work_email",), ("name", "company"))
        )
        later = now + self._dice.uniform(0, 6)
        match pattern:
            case "again":
                first = self._event(now, (person, known))
                events = [first, Event(first.id, later, first.wishes)]
            case "slug_first":
                events = [self._event(now, (person, slug)), self._event(later, (person, slug | mail))]
            case "mail_first":
                events = [self._event(now, (person, mail)), self._event(later, (person, known))]
            case "one_address":  # of two people: neither may get the other's number
                other, theirs = self._person()
                events = [self._event(now, (person, known)), self._event(later, (other, theirs | mail))]
            case "pair":
                events = [self._event(now, (person, known)), self._event(now, (person, known))]
            case "name_only":
                events = [self._event(now, (person, name))]
            case "batch":
                events = [self._event(now, (person, known), self._person(), (person, slug))]
            case _:
                events = [self._event(now, (person, known))]
        return events

    def _person(self) -> tuple[int, dict[str, str]]:
        self._people += 1
        name = f"c{self.seed}-{self._people}"
        word = f"--{self._dice.choice(WORDS)}" if self._dice.random() < self.odd else ""
        return self._people, {
            "profile_url": f"https://www.linkedin.com/in/{name}{word}",
            "work_email": f"{name}@chaos.test",
            "name": f"Person {name}",
            "company": "Chaos",
        }

    def _event(self, at: float, *who: tuple[int, Mapping[str, str]]) -> Event:
        self._events += 1
        id = f"e{self.seed}-{self._events}"
        return Event(id, at, tuple(Wish(person, f"{id}:{n}", given) for n, (person, given) in enumerate(who)))
