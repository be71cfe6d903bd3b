"""The part of `ringback status` about pauses, floods, restores and budgets, and what to type about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg
    from rich.table import Table

    from enrichment.settings import Settings


@dataclass(frozen=True, slots=True)
class Guarded:
    """The pauses in force, the searches held by the flood guard or after a restore, and the budgets; JSON-able."""

    pauses: list[dict[str, Any]]
    floods: list[dict[str, Any]]
    restored: list[dict[str, Any]]
    budgets: list[dict[str, Any]]


NOTHING = Guarded([], [], [], [])


async def read_guarded(connection: asyncpg.Connection[Any], settings: Settings) -> Guarded:
    """Read it from the database; the budgets are those of this environment."""
    from console.pause import resume_option
    from enrichment.guards import read_budgets
    from store.budgets import read_budgets_left
    from store.floods import held_for_flood
    from store.pauses import Scope, find_pauses
    from store.restore_reports import held_by_source

    pauses = [
        {name: row[name] for name in ("provider", "source", "reason", "who")}
        | {"since": _time(row["created_at"])}
        | {"remedy": f"ringback resume {resume_option(Scope(row['provider'], row['source']))}"}
        for row in await find_pauses(connection)
    ]
    floods = [
        {"source": row["source"], "jobs": row["jobs"], "since": _time(row["since"])}
        | {"remedy": f"ringback release --source {row['source']}"}
        for row in await held_for_flood(connection)
    ]
    restored = [
        {"source": row["source"], "jobs": row["jobs"], "since": _time(row["since"])} | {"remedy": "ringback reconcile"}
        for row in await held_by_source(connection)
    ]
    budgets = [
        {name: row[name] for name in ("provider", "source", "period")}
        | {name: _number(row[name]) for name in ("credits", "used", "left")}
        for row in await read_budgets_left(connection, read_budgets(settings))
    ]
    return Guarded(pauses, floods, restored, budgets)


def guard_tables(guarded: Guarded) -> dict[str, Table]:
    """Return the tables, by title."""
    from rich.markup import escape
    from rich.table import Table

    pauses = Table("paused", "by", "since", "why", "to let go")
    for row in guarded.pauses:
        what = row["provider"] or row["source"] or "all providers"
        pauses.add_row(f"[red]{what}[/]", escape(row["who"]), row["since"], escape(row["reason"]), row["remedy"])
    floods, restored = (Table("source", "searches held", "since", word) for word in ("to let go", "what to do"))
    for table, rows in ((floods, guarded.floods), (restored, guarded.restored)):
        for row in rows:
            table.add_row(row["source"], f"{row['jobs']:,}", row["since"], row["remedy"])
    budgets = Table("of", "per", "credits", "used", "left")
    for row in guarded.budgets:
        colour = "red" if row["left"] <= 0 else "green"
        amounts = (f"{row['credits']:,g}", f"{row['used']:,g}", f"[{colour}]{row['left']:,g}[/]")
        budgets.add_row(row["provider"] or row["source"] or "all", row["period"], *amounts)
    return {
        "Paused by a person": pauses,
        "Held by the flood guard": floods,
        "Held after a restore": restored,
        "Budgets (UTC)": budgets,
    }


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
