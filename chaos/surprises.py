"""Unplanned events: processes that ended by themselves, errors in their logs, answers that a CRM cannot use."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from chaos.crm import Crm
from chaos.world import World

# Signs of a log line about an unplanned failure.
SIGNS = (
    "Traceback",
    "never retrieved",
    "never awaited",
    "outcome_not_written",
    '"event": "failed"',
    '"event": "broke"',
)
EXPECTED_EXIT = 2  # a process that finds no database when it starts says so, and is started again


def surprises(world: World, crm: Crm) -> list[str]:
    """Return all surprises, one line each."""
    found = [f"the CRM was answered {answer}" for answer in crm.strange]
    found += world.results.strange
    for process in world.processes:
        codes = Counter(end.code for end in process.ends if not end.ours)
        found += [
            f"{process.name} ended {times} times with {code} by itself"
            + (": it found no database when it started" if code == EXPECTED_EXIT else "")
            for code, times in codes.items()
        ]
        found += [
            f"{process.name} logged {times} times {line}"
            for line, times in _signs(world.log(process.name)).most_common()
        ]
    for name, book in world.overheard.items():
        if book.garbled:
            found.append(f"{book.garbled} connections to {name} could not be followed")
    return found


def _signs(log: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    with log.open(errors="replace") as lines:
        for line in lines:
            if any(sign in line for sign in SIGNS):
                found[_brief(line)] += 1
    return found


def _brief(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line.strip()[:200]
    return " ".join(f"{name}={entry[name]}" for name in ("event", "error", "route", "at") if name in entry)[:300]
