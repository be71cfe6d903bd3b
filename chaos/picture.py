"""The run as a picture: lookups a second over time, and below it every fault as a bar in its lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chaos.journal import Happened
from chaos.plan import LANES

SIZE = (16.0, 10.0)  # inches
SHORTEST = 0.4  # seconds that a bar shows at least
NAME = 26  # characters
Curve = Sequence[tuple[float, float]]  # seconds from the start, lookups a second


@dataclass(frozen=True, slots=True)
class Course:
    """The data of the picture; *load* is when the events stopped, in seconds from *begun*."""

    title: str
    accepted: Curve
    ended: Curve
    happened: Sequence[Happened]
    begun: float
    load: float


def draw(figure: Any, course: Course) -> None:
    """Draw the curves above the lanes, over the same time."""
    figure.suptitle(course.title)
    curves, lanes = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    for label, curve in (("accepted", course.accepted), ("ended", course.ended)):
        curves.plot([at for at, _ in curve], [rate for _, rate in curve], label=label)
    curves.axvline(course.load, color="gray", linestyle="--", label="settling")
    curves.set_ylabel("lookups a second")
    curves.legend()
    _draw_faults(lanes, course)
    lanes.set_xlabel("seconds")


def _draw_faults(axes: Any, course: Course) -> None:
    for row, lane in enumerate(LANES):
        for place, one in enumerate(one for one in course.happened if one.lane == lane):
            began = one.began - course.begun
            seconds = max(SHORTEST, (one.ended or one.began) - one.began)
            y = row + 0.45 * (place % 2)  # two rows, in turn, leave room for the names
            axes.barh(y, seconds, left=began, height=0.4, color=f"C{row}", alpha=0.6)
            axes.text(began, y, one.name.removeprefix(f"{lane} ")[:NAME], fontsize=6, va="center")
    axes.set_yticks([row + 0.2 for row in range(len(LANES))], LANES)
    axes.invert_yaxis()


def per_second(counts: Sequence[tuple[float, int]], begun: float, smooth: int = 3) -> list[tuple[float, float]]:
    """Return how fast a count grew, as (seconds from *begun*, growth a second), over *smooth* samples."""
    return [
        (round((t0 + t1) / 2 - begun, 2), max(0.0, (n1 - n0) / (t1 - t0)))
        for (t0, n0), (t1, n1) in zip(counts, counts[smooth:], strict=False)
        if t1 > t0
    ]
