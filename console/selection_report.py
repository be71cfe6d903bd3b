"""Show a selection: the preview as a table, the question, and the result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from console.asking import confirm

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from store.selections import Selection

DONE = {"retry": "queued again", "cancel": "cancelled", "release": "released", "replay": "queued to be sent again",
        "erase": "erased"}  # fmt: skip


def show(selection: Selection, sample: Sequence[asyncpg.Record]) -> None:
    """Print the preview: the count, the most credits, and a sample."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not selection.found:
        return
    table = Table("id", "status", "reason")
    for row in sample:
        table.add_row(str(row["id"]), row["status"], escape(row["reason"] or ""))
    console = Console(highlight=False)
    console.print(table)
    if len(sample) < selection.found:
        console.print(f"... and {selection.found - len(sample):,} more")
    console.print(_cost(selection))


def ask(selection: Selection) -> bool:
    """Ask whether to apply the selection."""
    return confirm(f"{selection.wanted.action.capitalize()} {_count(selection.found, selection)}?")


def report(selection: Selection, sample: Sequence[asyncpg.Record], *, as_json: bool) -> None:
    """Print how much of the selection is applied, and what to do next."""
    action, again = selection.wanted.action, f"ringback {selection.wanted.action} --resume {selection.id}"
    if as_json:
        typer.echo(json.dumps(_jsonable(selection, sample), indent=2))
    elif not selection.found and selection.state != "previewing":
        typer.echo(f"Found nothing to {action}.")
    elif selection.state == "applied":
        passed = f"; {selection.passed:,} had changed meanwhile and were left alone" if selection.passed else ""
        typer.echo(f"{_count(selection.applied, selection)} {DONE[action]}{passed}.")
    elif selection.state == "previewed":
        typer.echo(f"Nothing was changed. To do exactly this: {again}")
    else:
        typer.echo(f"Not all is done yet, and another process holds the rest. To look again: {again}")


def _cost(selection: Selection) -> str:
    cost = f", at most {selection.most_credits:,.2f} credits".replace(".00 ", " ") if selection.most_credits else ""
    return f"{_count(selection.found, selection)}{cost}"


def _count(number: int, selection: Selection) -> str:
    one, many = ("delivery", "deliveries") if selection.wanted.action == "replay" else ("lookup", "lookups")
    return f"{number:,} {one if number == 1 else many}"


def _jsonable(selection: Selection, sample: Sequence[asyncpg.Record]) -> dict[str, Any]:
    return {
        "id": str(selection.id),
        "action": selection.wanted.action,
        "filter": selection.wanted.filter.model_dump(mode="json", exclude_none=True),
        "state": selection.state,
        "count": selection.found,
        "most_credits": float(selection.most_credits),
        "applied": selection.applied,
        "passed": selection.passed,
        "sample": [{"id": str(row["id"]), "status": row["status"], "reason": row["reason"]} for row in sample],
    }
