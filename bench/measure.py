"""A row of the table: what was measured, round by round, and what it comes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rig.machine import parent, worked

BELIEVABLE = 1.05  # of a limit: what does more of the same work cannot be faster than what does less
Contestant = Callable[[], Awaitable[float]]


class Invalid(Exception):
    """A measurement that counts for nothing, because the work was not done; the message says what was missing."""


@dataclass(frozen=True, slots=True)
class Bench:
    """How the rows are to be measured, and on which server."""

    server: str
    rounds: int
    seconds: float
    quick: bool
    say: Callable[[str], None]
    work: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # microseconds: process, PostgreSQL

    def cost(self, key: str) -> str:
        """What one of these cost, in words; the middle of the rounds."""
        if not self.work.get(key):
            return ""
        process, postgres = (median(values) for values in zip(*self.work[key], strict=True))
        said = {f"{process:.0f} µs of a core": process, f"{postgres:.0f} µs of PostgreSQL's": postgres}
        return " and ".join(words for words, work in said.items() if work)

    def noted(self, key: str, work: tuple[float, float]) -> None:
        """What one cost in this round."""
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
        """The row as bench/results.json has it."""
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
    """What a contestant's process and PostgreSQL worked between two looks."""

    def __init__(self, pid: int, backend: int | None) -> None:
        """*backend* is any of PostgreSQL's own processes; None where no database takes part."""
        self._pid = pid
        self._postmaster = None if backend is None else parent(backend)
        self._before = self._look()

    def each(self, done: float) -> tuple[float, float]:
        """Microseconds of work for each of *done*: by the process, and by PostgreSQL."""
        now = self._look()
        process, postgres = (
            1e6 * (late - early) / max(1.0, done) for late, early in zip(now, self._before, strict=True)
        )
        return process, postgres

    def _look(self) -> tuple[float, float]:
        return worked(self._pid), 0.0 if self._postmaster is None else worked(self._postmaster, children=True)


@dataclass(slots=True)
class Rounds:
    """What each contestant reached in each round, and why some did not take part."""

    values: dict[str, list[float]]
    absent: dict[str, str]

    def middle(self, name: str) -> float | None:
        """The median of its rounds; None when it did not take part."""
        return median(self.values[name]) if self.values.get(name) else None

    def ratio(self, name: str, other: str) -> float | None:
        """How many times as much as *other* it reached: the median over the rounds, so that a slow minute cancels."""
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
    """Each contestant in each round, one after the other; one that cannot start is left out, and the reason kept."""
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
    """Our part of the limit; None when we beat it, which only a machine that others use can make look so."""
    ratio = rounds.ratio("ours", "limit")
    return None if ratio is None or ratio > BELIEVABLE else ratio


def reached(*conditions: tuple[float | None, float]) -> bool | None:
    """Whether every value is at least its mark; None when one is not known."""
    if any(value is None for value, _ in conditions):
        return None
    return all(value is not None and value >= mark for value, mark in conditions)


def _round(value: float | None) -> float | None:
    if value is None:
        return None
    return round(value, 3) if abs(value) < 100 else round(value)
