"""The record of what the actors did and saw, with times of one clock; the promises are checked against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal
from uuid import UUID

Outcome = Literal["asked", "unknown", "lost", "failed", "nothing", "number", "requeued"]
# While the last of these is known, the provider is not asked the same by itself.
COVERING = ("asked", "unknown", "lost", "nothing")


@dataclass(slots=True)
class Telling:
    """An outcome on its way to the store; *done* is None when the process died meanwhile."""

    outcome: Outcome
    began: float
    done: float | None = None


@dataclass(slots=True)
class Question:
    """A paid question as the vendor's book has it."""

    job_id: UUID
    search_id: UUID
    provider: str
    number: str | None  # what the vendor knows
    charged: Decimal = Decimal(0)
    tellings: list[Telling] = field(default_factory=list)

    def known_during(self, begin: float, end: float) -> Outcome | None:
        """Return what the store surely knew all the time from *begin* to *end*, or None."""
        before = [telling for telling in self.tellings if telling.began <= end]
        last = max(before, key=lambda telling: telling.began, default=None)
        if last is None or last.done is None or last.done >= begin:
            return None
        return last.outcome


@dataclass(slots=True)
class Sent:
    """One event that was accepted."""

    number: int
    lookup_id: UUID
    is_duplicate: bool
    began: float
    done: float

    def overlaps(self, other: Sent) -> bool:
        """Tell whether both were sent at the same time."""
        return self.began < other.done and other.began < self.done


@dataclass
class Journal:
    """The record of one process or, merged, of all."""

    questions: dict[UUID, Question] = field(default_factory=dict)
    tellings: dict[UUID, list[Telling]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    aged: dict[UUID, float] = field(default_factory=dict)  # searches whose windows were moved, and when
    aged_lookups: set[UUID] = field(default_factory=set)
    retried: set[UUID] = field(default_factory=set)  # lookups
    wrong: dict[tuple[UUID, str], float] = field(default_factory=dict)  # by search and number, since when
    seen: Counter[str] = field(default_factory=Counter)  # what happened, how often
    violations: list[str] = field(default_factory=list)  # found along the way


def merged(journals: Iterable[Journal]) -> Journal:
    """Return one journal of all these; each question gets the tellings of every process."""
    whole = Journal()
    for journal in journals:
        for job_id, question in journal.questions.items():  # another process may have asked one that was sent back
            charged = whole.questions[job_id].charged if job_id in whole.questions else Decimal(0)
            whole.questions[job_id] = replace(question, charged=charged + question.charged)
        for job_id, tellings in journal.tellings.items():
            whole.tellings.setdefault(job_id, []).extend(tellings)
        whole.sent += journal.sent
        for search_id, at in journal.aged.items():
            whole.aged[search_id] = min(at, whole.aged.get(search_id, at))
        whole.aged_lookups |= journal.aged_lookups
        whole.retried |= journal.retried
        for called, at in journal.wrong.items():
            whole.wrong[called] = min(at, whole.wrong.get(called, at))
        whole.seen += journal.seen
        whole.violations += journal.violations
    for job_id, question in whole.questions.items():
        question.tellings = sorted(whole.tellings.get(job_id, []), key=lambda telling: telling.began)
    return whole
