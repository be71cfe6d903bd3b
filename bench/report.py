"""The results as a table, as a file and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.measure import Row

FOLDER = Path(__file__).parent
MARKS = {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}
COLOURS = ("#1a7f64", "#b8c4c2", "#c9a27c", "#a9a1c4", "#c79aa6", "#9ab0c4", "#c4c19a")
WIDTH, LEFT, BAR, GAP = 860, 250, 18, 30


def show(console: Console, rows: Sequence[Row]) -> None:
    """The rows side by side, the least and the most of the rounds below each number."""
    table = Table(title="Numbers to reach", show_lines=True)
    for column in ("row", "ours", "limit", "peers", "unit", "ratio", "reach", "reached"):
        table.add_column(column, justify="right" if column in ("ours", "limit", "ratio") else "left")
    for row in rows:
        peers = "\n".join(f"{name} {_number(value)}{_spread(row, name)}" for name, value in row.peers.items())
        table.add_row(
            row.name,
            _number(row.ours) + _spread(row, "ours"),
            _number(row.limit) + _spread(row, "limit"),
            peers,
            row.unit,
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.reach,
            MARKS[row.reached],
        )
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.name}: [dim]{row.note}[/]", highlight=False)


def save(rows: Sequence[Row], facts: dict[str, Any], folder: Path = FOLDER) -> None:
    """results.json and results.svg; rows that were not measured this time stay as they were."""
    path = folder / "results.json"
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    new = {row.name: row.as_json() | {"busy": facts.get("busy")} for row in rows}
    kept = [new.pop(old["name"], old) for old in before]
    everything = [*kept, *new.values()]
    path.write_text(json.dumps({"rows": everything, "machine": facts}, indent=2, ensure_ascii=False) + "\n", "utf-8")
    (folder / "results.svg").write_text(draw(everything), encoding="utf-8")


def draw(rows: Sequence[dict[str, Any]]) -> str:
    """Bars: for every row with a limit or peers, ours beside theirs."""
    parts: list[str] = []
    y = 40
    for row in rows:
        bars = [("Ringback", row["ours"]), ("limit", row["limit"]), *row["peers"].items()]
        bars = [(name, value) for name, value in bars if value is not None]
        if len(bars) < 2:
            continue
        most = _longest([value for _, value in bars])
        parts.append(f'<text x="12" y="{y}" class="row">{escape(row["name"])}, {escape(row["unit"])}</text>')
        y += 10
        for (name, value), colour in zip(bars, COLOURS, strict=False):
            width = max(1, (WIDTH - LEFT - 150) * min(1, value / most))
            cut = " (cut off)" if value > most else ""
            parts.append(
                f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
                f'<rect x="{LEFT}" y="{y}" width="{width:.0f}" height="{BAR - 3}" fill="{colour}"/>'
                f'<text x="{LEFT + width + 6:.0f}" y="{y + 13}">{_number(value)}{cut}</text>'
            )
            y += BAR
        y += GAP
    style = "text{font:13px system-ui,sans-serif;fill:#222}.row{font-weight:600}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">'
        f"<title>Ringback beside its limits and what people use instead</title><style>{style}</style>"
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _longest(values: Sequence[float]) -> float:
    """What the whole width stands for: a bar that is more than three times the next one is cut off."""
    second, first = sorted(values)[-2:]
    return (first if first <= 3 * second else 1.2 * second) or 1


def _spread(row: Row, name: str) -> str:
    if name not in row.spread:
        return ""
    low, high = row.spread[name]
    return f"\n[dim]{_number(low)} to {_number(high)}[/]"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
