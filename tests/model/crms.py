"""CRMs, in a run of the model: they send events about the same few people, and send them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from enrichment.contact import read_contact
from tests.model.promises import Wanted
from tests.model.run import PICK, Run, chosen

PEOPLE = 2
MOST_OPEN = 5  # lookups; the fewer there are, the more happens to each
IDENTIFIERS = st.sampled_from(
    [("in",), ("work",), ("home",), ("in", "work"), ("work", "home"), ("in", "work", "home"), ("name",)]
)
ORDERS = st.sampled_from([None, None, ["nyne", "leadmagic"], ["nyne", "leadmagic"], ["leadmagic"], ["nyne"]])


class Crms(Run):
    """What CRMs do."""

    @precondition(lambda self: len(self.now.open_lookups) < MOST_OPEN)
    @rule(person=st.integers(0, PEOPLE - 1), by=IDENTIFIERS, order=ORDERS)
    def event(self, person: int, by: tuple[str, ...], order: list[str] | None) -> None:
        """Somebody is to be looked up."""
        self._send_event([(person, by)], order)

    @precondition(lambda self: len(self.now.open_lookups) < MOST_OPEN and self._now_and_then(3))
    @rule(people=st.lists(st.tuples(st.integers(0, PEOPLE - 1), IDENTIFIERS), min_size=2, max_size=3))
    def batch(self, people: list[tuple[int, tuple[str, ...]]]) -> None:
        """Several at the same instant, perhaps the same person."""
        self._send_event(people, None)

    @precondition(lambda self: self.events and self._now_and_then(6))
    @rule(pick=PICK)
    def same_event_again(self, pick: int) -> None:
        """A CRM sends what it sent before: the same lookups, and nothing new."""
        body, ids = chosen(self.events, pick)
        answer = self._do(self.world.post("/events/generic", body))
        assert [(UUID(one["id"]), one["duplicate"]) for one in answer.json()["lookups"]] == [(id, True) for id in ids]

    def _send_event(self, people: Sequence[tuple[int, tuple[str, ...]]], order: list[str] | None) -> None:
        contacts = [_contact(person, by, order) for person, by in people]
        body = {"event_id": f"evt-{next(self.numbers)}", "contacts": contacts}
        answer = self._do(self.world.post("/events/generic", body))
        assert answer.status == 202, answer.body
        ids = [UUID(one["id"]) for one in answer.json()["lookups"]]
        self.events.append((body, ids))
        for id, contact, (person, _) in zip(ids, contacts, people, strict=True):
            known = {name: value for name, value in contact.items() if name != "providers"}
            read, _ = read_contact(**known)
            assert read is not None
            self.wanted[id] = Wanted(id, person, read.keys())


def _contact(person: int, by: tuple[str, ...], order: list[str] | None) -> dict[str, Any]:
    """Somebody as a CRM knows them, by some of their identifiers."""
    identifiers = {
        "in": {"profile_url": f"https://www.linkedin.com/in/jane-{person}"},
        "work": {"work_email": f"jane{person}@acme.co"},
        "home": {"personal_email": f"jane{person}@home.org"},
        "name": {"name": f"Jane {person}", "company": "Acme"},
    }
    contact: dict[str, Any] = {}
    for one in by:
        contact |= identifiers[one]
    if order and not (by == ("name",) and "nyne" not in order):
        contact["providers"] = order
    return contact
