"""Hunt with one target: draw, check, shrink, and keep what was found."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.inputs import read, written
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
AT_ONCE = 400  # cases of one hunt


@dataclass(frozen=True, slots=True)
class Found:
    """A case that a target cannot take; *case* is the smallest that was met."""

    target: str
    case: Any
    error: str

    def keep(self) -> Path:
        """Write the case into the corpus; return its file."""
        text = json.dumps(written(self.case), ensure_ascii=True)
        folder = CORPUS / self.target
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        path.write_text(text + "\n", encoding="utf-8")
        return path


def hunt(name: str, number: int, cases: int = AT_ONCE) -> Found | None:
    """Draw *cases* with the seed *number* for the target; return the smallest that breaks its rule."""
    target = TARGETS[name]
    last: list[Any] = []

    @seed(number)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(target.drawn)
    def run(case: Any) -> None:
        last[:] = [case]
        target.check(case)

    try:
        run()
    except Exception as error:  # noqa: BLE001  whatever a reader raises is what we hunt for
        return Found(name, last[0], f"{type(error).__name__}: {error}".split("\n", 1)[0][:200])
    return None


def hunt_for(seconds: float, first: int) -> tuple[int, list[Found]]:
    """Hunt with all targets in turn for so long, with seeds from *first* on; return how many cases there were.

    A target that has found something hunts no more.
    """
    until, cases, found = time.monotonic() + seconds, 0, dict[str, Found]()
    for number in itertools.count(first):
        for name in TARGETS:
            if time.monotonic() >= until:
                return cases, list(found.values())
            if name not in found:
                cases += AT_ONCE
                if one := hunt(name, number):
                    found[name] = one
    raise AssertionError("unreachable: the seeds do not end")


def kept() -> list[tuple[str, Path]]:
    """Return (target, file) of every case of the corpus."""
    return [(path.parent.name, path) for path in sorted(CORPUS.glob("*/*.json"))]


def replay(target: str, path: Path) -> None:
    """Check one case of the corpus. Raise what its reader raises."""
    TARGETS[target].check(read(json.loads(path.read_text(encoding="utf-8"))))
