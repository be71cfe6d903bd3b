"""The results as a table, as a file and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import picture
from bench.measure import Row
from rig.picture import save as write_picture

FOLDER = Path(__file__).parent
MARKS = {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}
PICTURE = Path("build") / "bench.svg"


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print the rows side by side, with the least and the most of the rounds below each number."""
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
    """Write results.json, in which rows that were not measured this time stay as they were."""
    path = folder / "results.json"
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    new = {row.name: row.as_json() | {"busy": facts.get("busy")} for row in rows}
    kept = [new.pop(old["name"], old) for old in before]
    everything = [*kept, *new.values()]
    path.write_text(json.dumps({"rows": everything, "machine": facts}, indent=2, ensure_ascii=False) + "\n", "utf-8")


def draw(folder: Path = FOLDER) -> None:
    """Draw all that was measured."""
    rows = json.loads((folder / "results.json").read_text(encoding="utf-8"))["rows"]
    if write_picture(PICTURE, picture.size(rows), lambda figure: picture.draw(figure, rows)):
        print(f"The picture is {PICTURE}.")


def _spread(row: Row, name: str) -> str:
    if name not in row.spread:
        return ""
    low, high = row.spread[name]
    return f"\n[dim]{_number(low)} to {_number(high)}[/]"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
