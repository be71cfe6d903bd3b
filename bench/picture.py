"""The results as a picture: for every row with a limit or peers, our bar beside theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT = 10.0, 1.8  # inches, of one row
MOST = 3.0  # times the next bar; a longer one is cut off


def size(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the inches that these rows need."""
    return WIDTH, HEIGHT * max(1, len(compared(rows)))


def draw(figure: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the rows one below the other, each on a scale of its own."""
    shown = compared(rows)
    for number, row in enumerate(shown, 1):
        axes = figure.add_subplot(len(shown), 1, number)
        axes.set_title(f"{row['name']}, {row['unit']}", fontsize=10, loc="left")
        values = _bars(row)
        bars = axes.barh(list(values), list(values.values()), color=[f"C{place}" for place in range(len(values))])
        axes.bar_label(bars, fmt="{:,.3g}", padding=3)
        axes.set_xlim(right=1.2 * _longest(list(values.values())))
        axes.invert_yaxis()


def compared(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows that have anything to compare with."""
    return [row for row in rows if len(_bars(row)) > 1]


def _bars(row: Mapping[str, Any]) -> dict[str, float]:
    every = {"Ringback": row["ours"], "limit": row["limit"], **row["peers"]}
    return {name: value for name, value in every.items() if value is not None}


def _longest(values: Sequence[float]) -> float:
    second, first = sorted(values)[-2:]
    return (first if first <= MOST * second else 1.2 * second) or 1
