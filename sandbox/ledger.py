"""The vendor's own books: charges, questions and callbacks. Tests compare Ringback's ledger with them."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.wire import Answer

COUNTS = (
    "posts",
    "polls",
    "limited",  # 429s by the rate limit itself, not by a fault or a word
    "answers_429",
    "callbacks_sent",
    "callbacks_accepted",
    "callbacks_refused",
    "callbacks_failed",
    "callbacks_dropped",
    "forged_sent",
    "forged_accepted",
    "forged_refused",
    "forged_failed",
)


class Charge(NamedTuple):
    """Credits taken for one number."""

    at: float
    person: str
    asked: bytes  # the question as received; kept as bytes because benchmarks make millions of them
    reference: str
    credits: float
    number: str

    def as_json(self) -> dict[str, Any]:
        """Return the charge as the admin shows it."""
        return {
            "at": _iso(self.at),
            "person": self.person,
            "identifiers": _identifiers(self.asked),
            "request_id": self.reference,
            "credits": self.credits,
            "number": self.number,
        }


class Question(NamedTuple):
    """One paid POST and its outcome."""

    at: float
    person: str | None
    status: int | None  # None where no answer left
    ending: str
    wait: float
    credits: float
    reference: str

    def as_json(self) -> dict[str, Any]:
        """Return the question as the admin shows it."""
        return {
            "at": _iso(self.at),
            "person": self.person,
            "status": self.status,
            "ending": self.ending,
            "wait_seconds": round(self.wait, 3),
            "charged": self.credits,
            "request_id": self.reference or None,
        }


class Callback(NamedTuple):
    """One callback and the status it got; *error* where it got none."""

    at: float
    person: str
    reference: str
    kind: str
    forged: bool
    status: int | None
    error: str | None

    @property
    def accepted(self) -> bool:
        """Tell whether the receiver said 2xx."""
        return self.status is not None and 200 <= self.status < 300

    def as_json(self) -> dict[str, Any]:
        """Return the callback as the admin shows it."""
        return {
            "at": _iso(self.at),
            "person": self.person,
            "request_id": self.reference,
            "kind": self.kind,
            "forged": self.forged,
            "status": self.status,
            "error": self.error,
        }


class Ledger:
    """Every charge, question and callback since the start or the last reset."""

    def __init__(self, balance: float, file: Path | None = None) -> None:
        """Begin with *balance* credits; append charges also to *file*, one JSON line each."""
        self._file = file
        self._opening = balance
        self._lines = file.open("a", encoding="utf-8") if file else None
        self._start_over()

    def reset(self) -> None:
        """Forget every question and charge, and empty the file."""
        self._start_over()
        if self._lines is not None:
            self._lines.truncate(0)

    def keep(self, person: str, asked: bytes, reference: str, credits: float, number: str) -> None:
        """Charge *credits* for *number*. The line is on disk before the answer leaves."""
        charge = Charge(time.time(), person, asked, reference, credits, number)
        self.charges.append(charge)
        self.balance -= credits
        self.charged += credits
        if self._lines is not None:
            self._lines.write(json.dumps(charge.as_json()) + "\n")
            self._lines.flush()

    def note(self, person: str | None, answer: Answer) -> None:
        """Record a paid POST and its outcome."""
        status = answer.status if answer.leaves else None
        self.questions.append(
            Question(time.time(), person, status, answer.ending, answer.wait, answer.credits, answer.reference)
        )
        self.counts["posts"] += 1
        self.statuses[str(answer.status) if answer.leaves else answer.ending] += 1
        if answer.status == 429:
            self.counts["answers_429"] += 1

    def called_back(self, callback: Callback) -> None:
        """Record a callback and the status it got."""
        self.callbacks.append(callback)
        if callback.kind == "dropped":
            self.counts["callbacks_dropped"] += 1
            return
        sort = "forged" if callback.forged else "callbacks"
        self.counts[f"{sort}_sent"] += 1
        fate = "failed" if callback.status is None else "accepted" if callback.accepted else "refused"
        self.counts[f"{sort}_{fate}"] += 1

    def stats(self) -> dict[str, Any]:
        """Return the counts, zeros included."""
        return {name: self.counts[name] for name in COUNTS} | {
            "charges": len(self.charges),
            "credits": self.charged,
            "balance": self.balance,
            "by_status": dict(sorted(self.statuses.items())),
        }

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()

    def _start_over(self) -> None:
        self.balance: float = self._opening
        self.charged: float = 0
        self.charges: list[Charge] = []
        self.questions: list[Question] = []
        self.callbacks: list[Callback] = []
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _identifiers(asked: bytes) -> Any:
    question = json.loads(asked, strict=False)
    return {name: value for name, value in question.items() if value is not None and name != "callback_url"}
