"""`ringback status`: outstanding jobs, providers, credits, pauses, floods, and how lookups ended."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.guards import NOTHING, Guarded, guard_tables, read_guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

    import asyncpg
    from rich.table import Table
    from rich.text import Text

    from enrichment.settings import Settings

LOOKED_BACK = timedelta(hours=24)
EVERY = 2.0  # seconds between two looks of --watch
NOTHING_YET = """Nothing has come in yet. What to do first:
  ringback doctor      says whether everything is set up
  ringback up          runs the processes
  and send an event:   curl -X POST http://localhost:8000/events/generic -H "Authorization: Bearer $TOKEN" \\
                            -H "Content-Type: application/json" -d '{"profile_url": "linkedin.com/in/..."}'"""


@dataclass(frozen=True, slots=True)
class Report:
    """The content of `status`, all of it JSON-able."""

    outstanding: list[dict[str, Any]]
    providers: list[dict[str, Any]]
    connections: list[dict[str, Any]]
    usage_today: list[dict[str, Any]]
    lookups_24h: dict[str, int]
    readings: list[dict[str, Any]]
    guarded: Guarded

    @property
    def is_empty(self) -> bool:
        return not (self.outstanding or self.lookups_24h or self.readings)


def status(
    seconds: Annotated[
        float | None, typer.Argument(metavar="SECONDS", min=0.1, help="With --watch: between two looks.  [2]")
    ] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; with --watch, a line for each look.")] = False,
) -> None:
    """Show what is outstanding, how the providers are, today's credits, and how lookups ended.

    It only looks, and only at the database: it works wherever DATABASE_URL leads to it. --watch goes on while the
    database is away, and says since when.

    \b
      ringback status
      ringback status --watch 5
      ringback status --json | jq '.outstanding[] | select(.oldest_seconds > 600)'
    """
    from enrichment.settings import Settings

    if seconds is not None and not watch:
        raise typer.BadParameter("only with --watch", param_hint="SECONDS")
    settings = Settings.load("console")
    if watch:
        _watch(settings, seconds or EVERY, as_json=as_json)
        return
    report = asyncio.run(read_report(settings))
    if as_json:
        typer.echo(json.dumps(jsonable(report), indent=2))
        return
    if report.is_empty:
        typer.echo(NOTHING_YET)
    _show(report)


def _watch(settings: Settings, seconds: float, *, as_json: bool) -> None:
    from console.status_watch import watch

    with suppress(KeyboardInterrupt):  # the way to end it
        asyncio.run(watch(settings, seconds, as_json=as_json))


def jsonable(report: Report) -> dict[str, Any]:
    """Return the report for programs."""
    told = asdict(report)
    guarded: dict[str, Any] = told.pop("guarded")
    return told | guarded


async def read_report(settings: Settings) -> Report:
    """Return what `status` shows, which is nothing while there is no database. Raise DatabaseDown and SchemaError."""
    from console.database import connected, embedded_exists
    from store import readings, reports
    from store.migrations import require_current

    if not embedded_exists(settings):
        return Report(
            outstanding=[], providers=[], connections=[], usage_today=[], lookups_24h={}, readings=[], guarded=NOTHING
        )
    now = datetime.now(UTC)
    async with connected(settings) as connection:
        await require_current(connection)
        return Report(
            outstanding=[
                {"provider": row["provider"], "state": row["state"], "jobs": row["jobs"], "oldest_seconds": _age(row)}
                for row in await reports.outstanding(connection)
            ],
            providers=[_provider(row, now) for row in await reports.provider_states(connection)],
            connections=[_connection(row) for row in await reports.connections(connection)],
            usage_today=[
                {name: _number(row[name]) for name in ("provider", "reserved", "charged", "possibly_charged")}
                for row in await reports.usage_by_day(connection, now.date())
            ],
            lookups_24h={
                row["status"]: row["lookups"] for row in await reports.lookups_by_status(connection, now - LOOKED_BACK)
            },
            readings=[dict(row) for row in await readings.readings_by_status(connection, now - LOOKED_BACK)],
            guarded=await read_guarded(connection, settings),
        )


def _age(row: asyncpg.Record) -> float:
    oldest: timedelta = row["oldest"]
    return max(0.0, round(oldest.total_seconds(), 1))


def _number(value: Any) -> Any:
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)


def _provider(row: asyncpg.Record, now: datetime) -> dict[str, Any]:
    """Describe one provider: `state` says whether it can be asked, the time until when it cannot."""
    from store.present import provider_state

    breaker, rest = (row[name] if row[name] and row[name] > now else None for name in ("open_until", "rest_until"))
    return {
        "name": row["name"],
        "state": provider_state(row, now),
        "reason": row["paused_reason"],
        "until": (limit.isoformat(timespec="seconds") if (limit := breaker or rest) else None),
        "failures_in_a_row": row["failures"],
    }


def _connection(row: asyncpg.Record) -> dict[str, Any]:
    """Describe one connected CRM: how far its sweeps are behind, and its last error."""
    return {
        "crm": row["crm"],
        "account": row["account"],
        "connected_at": row["connected_at"].isoformat(timespec="seconds"),
        "swept_seconds_ago": round(row["behind"].total_seconds(), 1),
        "error": row["error"],
    }


def _show(report: Report) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for view in views(report):
        console.print(view)


def views(report: Report) -> Iterator[Text | Table]:
    """Yield each table that has rows, after its title."""
    from rich.text import Text

    for title, table in _tables(report).items():
        if table.row_count:
            yield Text(title, style="bold")
            yield table


def _tables(report: Report) -> dict[str, Table]:
    from rich.markup import escape
    from rich.table import Table

    outstanding = Table("provider", "state", "questions", "oldest")
    for row in report.outstanding:
        outstanding.add_row(row["provider"], row["state"], f"{row['jobs']:,}", duration(row["oldest_seconds"]))
    providers = Table("provider", "state", "why, or until when")
    for row in report.providers:
        colour = {"well": "green", "paused": "red"}.get(row["state"], "yellow")
        providers.add_row(row["name"], f"[{colour}]{row['state']}[/]", escape(row["reason"] or row["until"] or ""))
    connections = Table("CRM", "account", "swept", "what went wrong last")
    for row in report.connections:
        swept = f"{duration(row['swept_seconds_ago'])} ago"
        connections.add_row(row["crm"], row["account"] or "", swept, escape(row["error"] or ""))
    columns = ("provider", "reserved", "charged", "possibly charged")
    usage = Table(*columns)
    for row in report.usage_today:
        usage.add_row(row["provider"], *(f"{row[name]:,g}" for name in ("reserved", "charged", "possibly_charged")))
    lookups = Table("status", "lookups")
    for status, count in report.lookups_24h.items():
        lookups.add_row(status, f"{count:,}")
    contacts = Table("CRM", "state", "why", "contacts")
    for row in report.readings:
        contacts.add_row(row["source"], row["status"], escape(row["reason"] or ""), f"{row['readings']:,}")
    return {
        "Outstanding": outstanding,
        "Providers": providers,
        "CRMs": connections,
        "Credits today (UTC)": usage,
        "Lookups of the last 24 hours": lookups,
        "Contacts of CRMs: to be read, and read in the last 24 hours": contacts,
    } | guard_tables(report.guarded)


def duration(seconds: float) -> str:
    """Write *seconds* in the two largest units that matter."""
    whole = round(seconds)
    for size, unit, smaller, small_unit in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {small_unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
