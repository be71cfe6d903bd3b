"""The account's log: every request with its answer, every webhook with the answer that it got, and counts of both."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, NamedTuple

from sandbox.hubspot.times import iso
from sandbox.wire import Answer

KEPT = 10_000  # entries of each kind; older ones are dropped
LONGEST = 16_384  # bytes of a request's body, and of its answer's; the rest is cut off


class Received(NamedTuple):
    """One request and its answer."""

    at: int
    method: str
    target: str  # path and query
    token: str | None  # by its name
    asked: bytes
    status: int | None  # None where no answer left
    ending: str
    wait: float
    answered: bytes

    def as_json(self) -> dict[str, Any]:
        """Return the request as the admin shows it."""
        return {
            "at": iso(self.at),
            "method": self.method,
            "target": self.target,
            "token": self.token,
            "asked": _text(self.asked),
            "status": self.status,
            "ending": self.ending,
            "wait_seconds": round(self.wait, 3),
            "answered": _text(self.answered),
        }


class Sent(NamedTuple):
    """One POST of events and its answer; *error* where it got none."""

    at: int
    url: str
    events: int
    attempt: int
    body: bytes
    headers: dict[str, str]
    forged: bool = False
    status: int | None = None
    answer: bytes = b""
    error: str | None = None
    seconds: float = 0

    @property
    def accepted(self) -> bool:
        """Tell whether the receiver said 2xx."""
        return self.status is not None and 200 <= self.status < 300

    def as_json(self) -> dict[str, Any]:
        """Return the POST as the admin shows it."""
        return {
            "at": iso(self.at),
            "url": self.url,
            "events": self.events,
            "attempt": self.attempt,
            "forged": self.forged,
            "headers": self.headers,
            "body": _text(self.body),
            "status": self.status,
            "answer": _text(self.answer),
            "error": self.error,
            "seconds": round(self.seconds, 3),
        }


class Journal:
    """The log since the start or the last reset: all counts, and the last entries in full."""

    def __init__(self) -> None:
        """Begin empty."""
        self.received: deque[Received] = deque(maxlen=KEPT)
        self.sent: deque[Sent] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.policies: Counter[str] = Counter()  # 429s by the rate limits themselves, not by a fault
        self.endpoints: Counter[str] = Counter()

    def note_received(self, entry: Received, endpoint: str, answer: Answer) -> None:
        """Record a request."""
        self.received.append(entry._replace(asked=entry.asked[:LONGEST], answered=entry.answered[:LONGEST]))
        self.counts["requests"] += 1
        self.counts["answers_429"] += answer.status == 429
        self.statuses[str(answer.status) if answer.leaves else answer.ending] += 1
        self.endpoints[endpoint] += 1

    def note_sent(self, entry: Sent) -> None:
        """Record a POST of events."""
        self.sent.append(entry)
        sort = "forged" if entry.forged else "webhooks"
        fate = "failed" if entry.status is None else "accepted" if entry.accepted else "refused"
        self.counts[f"{sort}_sent"] += 1
        self.counts[f"{sort}_{fate}"] += 1
        if entry.accepted and not entry.forged:
            self.counts["events_accepted"] += entry.events

    def stats(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            "requests": self.counts["requests"],
            "answers_429": self.counts["answers_429"],
            "limited": sum(self.policies.values()),
            "limited_by": dict(sorted(self.policies.items())),
            **{
                f"{sort}_{fate}": self.counts[f"{sort}_{fate}"]
                for sort in ("webhooks", "forged")
                for fate in ("sent", "accepted", "refused", "failed")
            },
            "events": self.counts["events"],
            "events_dropped": self.counts["events_dropped"],
            "events_duplicated": self.counts["events_duplicated"],
            "events_accepted": self.counts["events_accepted"],
            "by_status": dict(sorted(self.statuses.items())),
            "by_endpoint": dict(sorted(self.endpoints.items())),
        }


def _text(body: bytes) -> str:
    return body.decode(errors="replace")
