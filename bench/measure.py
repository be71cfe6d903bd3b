"""One row of the table: the measurements, round by round, and their result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rig.machine import parent, worked

BELIEVABLE = 1.05  # of a limit: doing more of the same work cannot be faster than doing less
Contestant = Callable[[], Awaitable[float]]


class Invalid(Exception):
    """A measurement that does not count because the work was not done; the message says what was missing."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The settings of the measurements, and the server."""

    server: str
    rounds: int
    seconds: float
    quick: bool
    say: Callable[[str], None]
    work: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # microseconds: process, PostgreSQL

    def cost(self, key: str) -> str:
        """Write what one item cost: the median over the rounds."""
        if not self.work.get(key):
            return ""
        process, postgres = (median(values) for values in zip(*self.work[key], strict=True))
        said = {f"{process:.0f} µs of a core": process, f"{postgres:.0f} µs of PostgreSQL's": postgres}
        return " and ".join(words for words, work in said.items() if work)

    def noted(self, key: str, work: tuple[float, float]) -> None:
        """Note what one item cost in this round."""
        self.work.setdefault(key, []).append(work)


@dataclass(slots=True)
class Row:
    """One number of ours beside its limit and its peers; *spread* has the least and the most of each."""

    name: str
    unit: str
    ours: float | None
    reach: str
    reached: bool | None
    limit: float | None = None
    peers: dict[str, float] = field(default_factory=dict)
    ratio: float | None = None
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the row as bench/results.json has it."""
        return {
            "name": self.name,
            "ours": _round(self.ours),
            "limit": _round(self.limit),
            "peers": {name: _round(value) for name, value in self.peers.items()},
            "unit": self.unit,
            "ratio": _round(self.ratio),
            "reach": self.reach,
            "reached": self.reached,
            "spread": {name: [_round(low), _round(high)] for name, (low, high) in self.spread.items()},
            "note": self.note,
        }


class Meter:
    """A meter of the work of a contestant's process and of PostgreSQL between two looks."""

    def __init__(self, pid: int, backend: int | None) -> None:
        """Take the first look. *backend* is any of PostgreSQL's processes; None where no database takes part."""
        self._pid = pid
        self._postmaster = None if backend is None else parent(backend)
        self._before = self._look()

    def each(self, done: float) -> tuple[float, float]:
        """Return the microseconds of work for each of *done*: by the process, and by PostgreSQL."""
        now = self._look()
        process, postgres = (
            1e6 * (late - early) / max(1.0, done) for late, early in zip(now, self._before, strict=True)
        )
        return process, postgres

    def _look(self) -> tuple[float, float]:
        return worked(self._pid), 0.0 if self._postmaster is None else worked(self._postmaster, children=True)


@dataclass(slots=True)
class Rounds:
    """The result of each contestant in each round, and the reasons why some did not take part."""

    values: dict[str, list[float]]
    absent: dict[str, str]

    def middle(self, name: str) -> float | None:
        """Return the median of its rounds; None when it did not take part."""
        return median(self.values[name]) if self.values.get(name) else None

    def ratio(self, name: str, other: str) -> float | None:
        """Return the ratio of *name* to *other*: the median over the rounds, so that a slow minute cancels out."""
        pairs = zip(self.values.get(name, []), self.values.get(other, []), strict=False)
        ratios = [one / two for one, two in pairs if two]
        return median(ratios) if ratios else None

    @property
    def spread(self) -> dict[str, tuple[float, float]]:
        return {name: (min(values), max(values)) for name, values in self.values.items() if values}

    @property
    def note(self) -> str:
        return "; ".join(f"{name}: {why}" for name, why in self.absent.items())


async def alternate(bench: Bench, contestants: Mapping[str, Contestant]) -> Rounds:
    """Run each contestant in each round, one after the other; leave out one that cannot start, and keep the reason."""
    rounds = Rounds({name: [] for name in contestants}, {})
    for number in range(1, bench.rounds + 1):
        for name, contestant in contestants.items():
            if name in rounds.absent:
                continue
            try:
                value = await contestant()
            except Exception as error:  # a peer's own errors are of any kind
                if name == "ours":
                    raise
                said = str(error).strip().splitlines() or [""]
                rounds.absent[name] = f"{type(error).__name__}: {said[-1][:200]}"
                bench.say(f"  {name}: left out, {rounds.absent[name]}")
                continue
            rounds.values[name].append(value)
            bench.say(f"  round {number}  {name:24} {value:12,.1f}")
    return rounds


def of_limit(rounds: Rounds) -> float | None:
    """Return our part of the limit; None when we beat it, which happens only on a machine with other load."""
    ratio = rounds.ratio("ours", "limit")
    return None if ratio is None or ratio > BELIEVABLE else ratio


def reached(*conditions: tuple[float | None, float]) -> bool | None:
    """Tell whether every value is at least its mark; None when one is not known."""
    if any(value is None for value, _ in conditions):
        return None
    return all(value is not None and value >= mark for value, mark in conditions)


def _round(value: float | None) -> float | None:
    if value is None:
        return None
    return round(value, 3) if abs(value) < 100 else round(value)
