"""The plan of the faults, drawn from a seed before anything starts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

Span = tuple[float, float]  # seconds, from and to

# A fault of one lane ends before the next one of that lane begins; the lanes are independent.
LANES = (
    *("processes", "database", "network", "leadmagic", "nyne", "callbacks"),
    *("hubspot", "events", "people", "results"),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault, and how long it lasts in a short run and in a long one."""

    name: str
    lane: str
    happens: str
    short: Span
    long: Span
    lingers: bool = False  # its effects last: a short run has it early, a long one every other round
    ends_all: bool = False  # its lane feels nothing else for a while: a short run has it last


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: *kind* begins at *at* and lasts *seconds*; *choice* decides between alternatives."""

    kind: Kind
    at: float
    seconds: float
    choice: int  # 0 to 11: which of two processes, of four statuses
    strength: float  # 0.3 to 1: the share of requests that it strikes

    @property
    def until(self) -> float:
        """Return when it is over."""
        return self.at + self.seconds


def _kinds() -> Iterator[Kind]:
    once, brief = (0.0, 0.0), (1.2, 1.8)
    for process in ("receiver", "submitter", "reconciler"):
        yield Kind(f"kill a {process}", "processes", "SIGKILL", once, once)
        # Longer than a lease, so that another process has its work when it wakes up.
        yield Kind(f"freeze a {process}", "processes", "SIGSTOP, and SIGCONT after a lease", (5.4, 5.9), (6.5, 14))
    yield Kind("PostgreSQL crash", "database", "immediate shutdown, and restart", (0.3, 1.2), (0.5, 6))
    yield Kind("sessions terminated", "database", "pg_terminate_backend on half of our sessions", once, once)
    yield Kind("connections refused", "database", "no connection to PostgreSQL, and none left", (1.5, 2.5), (2, 8))
    yield Kind("pool exhaustion", "database", "an outside session takes every connection", (2, 3), (4, 12))
    # Longer than our lock_timeout (10 s) in the long run.
    yield Kind("idle in transaction", "database", "an outside session holds locks on rows", (3, 4), (6, 14))
    for what in ("database", "leadmagic", "nyne", "callbacks"):
        yield Kind(f"{what} black hole", "network", "half-open: bytes are swallowed", brief, (3, 8), what == "database")
        yield Kind(f"{what} reset", "network", "an RST after the request was written", brief, (3, 10))
        yield Kind(f"{what} slow bytes", "network", "bytes trickle", brief, (3, 10))
    yield Kind("CRM reset", "network", "an RST in place of our 2xx", brief, (3, 10))
    for vendor in ("leadmagic", "nyne"):
        yield Kind(f"{vendor} 5xx storm", vendor, "answers 500, 502, 503 or 504", (2, 3), (4, 12))
        yield Kind(f"{vendor} 429 storm", vendor, "answers 429 below its limit", (2, 3), (4, 12))
        yield Kind(f"{vendor} hangs", vendor, "works and charges, answers after our timeout", (2.5, 3.5), (4, 10))
        yield Kind(f"{vendor} answers lost", vendor, "works and charges, closes without an answer", (2.5, 3.5), (4, 10))
        yield Kind(f"{vendor} byte by byte", vendor, "answers at fifty bytes a second", (2, 3), (4, 10))
        yield Kind(f"{vendor} 402", vendor, "is out of credits, then topped up", (2, 3), (4, 12), lingers=True)
    for what, happens in (
        ("dropped", "are never sent"),
        ("duplicated", "are sent twice"),
        ("late", "come after the polls, and minutes later"),
        ("early", "are answered before the 202 leaves"),
        ("forged", "under a wrong token come first, with a false number"),
        ("for another job", "name another request, with a false number"),
        ("unreadable", "are garbage"),
    ):
        yield Kind(f"callbacks {what}", "callbacks", happens, (2.0, 2.6), (6, 15), what == "late")
    yield Kind("requests forgotten", "callbacks", "accepted, then 404 to polls, no callback", (2.0, 2.6), (6, 15))
    yield from _kinds_of_the_crm()


def _kinds_of_the_crm() -> Iterator[Kind]:
    for name, happens in (
        ("5xx storm", "answers 500, 502, 503 or 504"),
        ("429 storm", "answers 429 below its limit"),
        ("423 storm", "says that a contact is locked, to writes"),
        ("hangs", "does it, and answers after our timeout"),
        ("answers lost", "does it, and closes without an answer"),
        ("answers torn", "does it, and closes in the middle of the answer"),
        ("lies", "200 with a body that is no JSON, and writes that it does not do"),
        ("black hole", "half-open: bytes are swallowed"),
        ("reset", "an RST after the request was written"),
        ("slow bytes", "bytes trickle"),
    ):
        yield Kind(f"hubspot {name}", "hubspot", happens, (1.0, 1.5), (3, 9))
    # Ringback looks every half a minute whether a token is good again.
    yield Kind(
        "hubspot token revoked", "hubspot", "401 to everything, then granted again", (0.8, 1.2), (3, 9), True, True
    )
    for name, happens in (
        ("dropped", "are never sent"),
        ("duplicated", "are sent twice"),
        ("reordered", "are overtaken by later ones"),
        ("late", "come seconds later"),
        ("forged", "come under a wrong signature first"),
        ("of another account", "come a second time in another account's name"),
    ):
        yield Kind(f"events {name}", "events", happens, (2.0, 2.6), (6, 15))
    for name, happens in (
        ("humans write", "a number, between our read and our write and at any other time"),
        ("humans clear", "the number, ours or another"),
        ("contacts merged", "one person's two contacts into one with a new id"),
        ("contacts deleted", "while they are asked about"),
        ("contacts erased", "a privacy deletion"),
        ("people suppressed", "through our API; then their events come again"),
    ):
        yield Kind(name, "people", happens, (2.0, 2.6), (4, 12))
    for name, happens in (
        ("refused", "500"),
        ("throttled", "429 with Retry-After"),
        ("slow", "answered after two seconds"),
        ("torn", "200, closed in the middle of the answer"),
        ("hung up", "taken, closed without an answer"),
    ):
        yield Kind(f"results {name}", "results", happens, (1.5, 2.5), (4, 12))


KINDS = tuple(_kinds())
# Where there is a standby. Drawn apart, so that a seed's other faults stay the same.
OF_A_STANDBY = (
    Kind("primary dies", "standby", "SIGKILL, and its standby is promoted after so long", (0.3, 1.0), (0.5, 3)),
    Kind("standby dies", "standby", "SIGKILL, and comes back", (1.0, 2.0), (3, 8)),
    Kind("standby is given up", "standby", "SIGKILL, commits wait for none, and a new one", (0.5, 1.0), (3, 8)),
)


def draw(seed: int, seconds: float, *, short: bool, standby: bool = False) -> list[Fault]:
    """Draw the faults of a run of *seconds*, by time: every kind once (*short*), or again and again."""
    dice = random.Random(f"plan {seed}")
    faults: list[Fault] = []
    for lane in LANES:
        kinds = [kind for kind in KINDS if kind.lane == lane]
        faults += _once(dice, kinds, seconds) if short else _again_and_again(dice, kinds, seconds)
    if standby:
        dice = random.Random(f"standby {seed}")
        kinds = list(OF_A_STANDBY)
        faults += _once(dice, kinds, seconds) if short else _again_and_again(dice, kinds, seconds)
    return sorted(faults, key=lambda fault: fault.at)


def _once(dice: random.Random, kinds: list[Kind], seconds: float) -> Iterator[Fault]:
    """Yield each of *kinds* once, spread over *seconds*: lingering ones in the first half, one that ends all last."""
    kinds.sort(key=lambda kind: 1.0 if kind.ends_all else dice.random() * (0.5 if kind.lingers else 1))
    lasting = [dice.uniform(*kind.short) for kind in kinds]
    free = seconds - sum(lasting)
    assert free > 0, "the short run is too short for every kind of fault"
    weights = [dice.uniform(1, 2) for _ in kinds]
    at = 0.0
    for kind, length, weight in zip(kinds, lasting, weights, strict=True):
        at += free * weight / (sum(weights) + 1)
        yield _fault(dice, kind, at, length)
        at += length


def _again_and_again(dice: random.Random, kinds: list[Kind], seconds: float) -> Iterator[Fault]:
    """Yield each of *kinds*, in any order, then again, with pauses in between."""
    at = dice.uniform(2, 6)
    for turn in count():
        dice.shuffle(kinds)
        for kind in kinds:
            if kind.lingers and turn % 2:
                continue
            length = dice.uniform(*kind.long)
            if at + length > seconds:
                return
            yield _fault(dice, kind, at, length)
            at += length + dice.uniform(2, 9)


def _fault(dice: random.Random, kind: Kind, at: float, length: float) -> Fault:
    return Fault(kind, round(at, 2), round(length, 2), dice.randrange(12), round(dice.uniform(0.3, 1.0), 2))
