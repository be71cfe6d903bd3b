"""The figures of docs/performance.md, written from results.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures of bench/results.json -->", "<!-- end of figures -->"
HEAD = """
| what | ours | limit | beside it | ratio | to reach | reached |
|---|---:|---:|---|---:|---|---|
"""
MARKS = {True: "yes", False: "no", None: ""}


def refresh(results: Path, page: Path = PAGE) -> None:
    """Write the figures of *results* between the marks of *page*."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + figures(json.loads(results.read_text(encoding="utf-8"))) + after, encoding="utf-8")


def figures(results: dict[str, Any]) -> str:
    """Return the table of *results*, between its marks."""
    rows = "".join(_row(row) for row in results["rows"])
    notes = "".join(f"* {row['name']}: {row['note']}\n" for row in results["rows"] if row["note"])
    return f"{BEGIN}\n{HEAD}{rows}\n{notes}\n{END}"


def _row(row: dict[str, Any]) -> str:
    peers = "; ".join(f"{name} {_number(value)}" for name, value in row["peers"].items())
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    ours = f"{_number(row['ours'])} {row['unit']}"
    cells = (row["name"], ours, _number(row["limit"]), peers, ratio, row["reach"], MARKS[row["reached"]])
    return f"| {' | '.join(cells)} |\n"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
