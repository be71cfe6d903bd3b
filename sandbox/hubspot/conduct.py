"""How each answer turns out: right, or as the faults in force and the contact's words say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from sandbox.behaviours import UnknownWordError
from sandbox.hubspot.answers import failure, invalid, missing_scopes
from sandbox.hubspot.behaviours import Behaviour, Moment, chosen
from sandbox.hubspot.calls import WRITE
from sandbox.hubspot.definitions import Fault
from sandbox.hubspot.faults import Chaos
from sandbox.hubspot.limits import Limits
from sandbox.hubspot.records import Contact
from sandbox.hubspot.times import now
from sandbox.wire import FOR_EVER, HTML, Answer

STALE = 2.0  # seconds, for hs-stale
GARBAGE = b"<!-- upstream said nothing -->"


class Conduct:
    """The faults and the words in force; *words* are the admin's by contact id, added to those in identifiers."""

    def __init__(self, chaos: Chaos, limits: Limits, slow_seconds: float) -> None:
        """Start without any."""
        self.chaos = chaos
        self.limits = limits
        self.words: dict[int, tuple[Behaviour, ...]] = {}
        self._slow_seconds = slow_seconds
        self._had_their_turn: set[tuple[str, int]] = set()

    def has(self, contact: Contact, word: str) -> bool:
        """Tell whether the contact has this word."""
        return any(row.word == word for row in self._rows(contact))

    def due(self, contact: Contact, on: Moment) -> Behaviour | None:
        """Return the first row that is due on such a request, and note its use."""
        return next((row for row in self._rows(contact) if row.on == on and self.turn(row, contact)), None)

    def meddling(self, contact: Contact) -> list[Behaviour]:
        """Return what people do to this contact between our read and our write; the caller notes the uses."""
        return [row for row in self._rows(contact) if row.meddling]

    def turn(self, row: Behaviour, contact: Contact) -> bool:
        """Tell whether the row is due: always, or only the first time."""
        if row.meddling or not row.once:
            return not row.meddling
        return self.first_time(row.word, contact)

    def first_time(self, word: str, contact: Contact) -> bool:
        """Tell whether this is the word's first time for the contact and those merged into it, and note it."""
        turns = {(word, id) for id in (contact.id, *contact.absorbed)}
        is_first = turns.isdisjoint(self._had_their_turn)
        self._had_their_turn |= turns
        return is_first

    def as_of(self, contact: Contact) -> int | None:
        """Return the time as of which a read shows the contact; None for now."""
        seconds = max(self.chaos.faults.stale_seconds, STALE if self.has(contact, "stale") else 0)
        return now() - round(seconds * 1000) if seconds else None

    def perform(self, on: Moment, contacts: Iterable[Contact], work: Callable[[], Answer]) -> Answer:
        """Do the work and answer, or do less: as the first due word of these contacts says."""
        row = next((row for contact in contacts if (row := self.due(contact, on))), None)
        if row is None:
            return work()
        if not row.done:
            return self._refusal(row)
        answer = work()
        if row.status != 200:
            answer = self._refusal(row)
        if row.garbage:
            answer.body = GARBAGE
        answer.wait = {"": 0.0, "slow": self._slow_seconds, "for_ever": FOR_EVER}[row.hold]
        answer.ending = row.ending
        return answer

    def mar(self, answer: Answer) -> None:
        """Make an answer late, cut, torn or unreadable, if the dice say so."""
        faults, strikes = self.chaos.faults, self.chaos.strikes
        if strikes(faults.hang_rate):
            answer.wait += faults.hang_seconds
        if answer.status < 300 and strikes(faults.garbage_answers):
            answer.body = GARBAGE
        if strikes(faults.disconnect_after_accept):
            answer.ending = "cut"
        if answer.leaves and strikes(faults.torn_answers):
            answer.ending = "torn"
        if answer.leaves and strikes(faults.slow_bytes):
            answer.ending = "trickle"
        if faults.bare_errors and answer.status >= 400 and answer.media_type != HTML:
            answer.body = b"{}"

    def moving(self) -> Answer:
        """Return the 477 of an account that is being moved to another data centre."""
        answer = failure(477)
        answer.headers.append((b"retry-after", b"%d" % self.chaos.faults.moving_seconds))
        return answer

    def _refusal(self, row: Behaviour) -> Answer:
        if row.ending != "whole":
            return Answer(0, ending=row.ending)
        match row.status:
            case 400:
                message = "Required properties are missing: company"
                return invalid([Fault("MISSING_CONDITIONAL_REQUIRED_PROPERTY", message, ("company",))])
            case 403:
                return missing_scopes([WRITE])
            case 429:
                return self.limits.throttle("TEN_SECONDLY_ROLLING", retry_after=self.chaos.faults.retry_after)
            case 477:
                return self.moving()
            case _:
                return failure(row.status)

    def _rows(self, contact: Contact) -> tuple[Behaviour, ...]:
        try:
            return self.words.get(contact.id, ()) + chosen(contact.person())
        except UnknownWordError:
            return self.words.get(contact.id, ())


def as_error(answer: Answer) -> dict[str, object]:
    """Return the error that a batch shows for one of its inputs."""
    document: dict[str, object] = json.loads(answer.body)
    return document
