"""What `ringback reconcile` finds out, and how it says it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from enrichment.figures import Comparison, compare
from enrichment.outcome import Answered
from enrichment.providers import build_providers
from enrichment.providers.base import CallsBack, Health, HttpResponse, Provider
from store import figures, restore_reports
from store.pauses import find_pauses
from store.restores import Restore
from submitter.transport import open_session, send

if TYPE_CHECKING:
    import asyncpg
    from rich.table import Table

    from enrichment.settings import Settings

PATIENCE = 10.0  # seconds for one answer
SHOWN = 50  # rows of a table; --json has all of them
QUIET = timedelta(hours=1)  # without a row before --since: then it was mistyped, or nothing happened
FORGOTTEN = (
    "Erasures, suppressions and cancellations since then are forgotten, too: repeat them, from your own records.\n"
    "Events that other senders than CRMs sent since then are lost with the database: have them sent again."
)
REMEDY = "ringback release --reason restored"


@dataclass(frozen=True, slots=True)
class Report:
    """How things stand after a restore, all of it JSON-able. *newly_held*: jobs that this run has held."""

    since: str
    began_at: str
    dry_run: bool
    newly_held: int
    held: list[dict[str, Any]]
    providers: list[dict[str, Any]]
    callbacks: list[dict[str, Any]]
    asked_since: dict[str, int]
    sweeps_behind: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)
    is_done: bool = False
    refused: bool = False
    unread: int = 0  # contacts that were named and not read when the restore was closed


async def ask_providers(settings: Settings) -> dict[str, Health | str]:
    """Ask each provider's free endpoint about the account; return what it said, or why it said nothing."""
    providers = build_providers(settings).values()
    async with open_session(limit=10, timeout=PATIENCE) as session:

        async def ask(provider: Provider) -> Health | str:
            if settings.provider(provider.name).lacks():
                return "not asked: its credentials are not set here"
            answer = await send(session, provider.health())
            return provider.read_health(answer) if isinstance(answer, HttpResponse) else answer.reason

        told = await asyncio.gather(*map(ask, providers))
    return {provider.name: one for provider, one in zip(providers, told, strict=True)}


async def gather(
    db: asyncpg.Connection[Any],
    settings: Settings,
    restore: Restore,
    told: dict[str, Health | str],
    *,
    held: int = 0,
    dry_run: bool = False,
) -> Report:
    """Read how things stand."""
    providers = build_providers(settings)
    swept = [crm for crm, every in settings.sweep_seconds.items() if every > 0]
    asked = await restore_reports.asked_since(db, restore.since)
    return Report(
        since=_time(restore.since),
        began_at=_time(restore.began_at),
        dry_run=dry_run,
        newly_held=held,
        held=await list_held(db),
        providers=[await _figures(db, provider, restore, told[name]) for name, provider in providers.items()],
        callbacks=[
            {
                "job_id": str(row["job_id"]),
                "provider": row["provider"],
                "received_at": _time(row["received_at"]),
                "says": _said(providers.get(row["provider"]), row["body"]),
            }
            for row in await restore_reports.unknown_callbacks(db, restore.since)
        ],
        asked_since=asked,
        sweeps_behind=[
            {"crm": row["crm"], "swept_to": _time(row["swept_to"]), "error": row["error"]}
            for row in await restore_reports.behind(db, restore, swept)
        ],
        warnings=await _warnings(db, restore, asked),
    )


async def list_held(db: asyncpg.Connection[Any]) -> list[dict[str, Any]]:
    """Return the lookups that wait for a person after a restore."""
    return [
        row | {"id": str(row["id"]), "created_at": _time(row["created_at"])}
        for row in await restore_reports.held_lookups(db)
    ]


async def _figures(
    db: asyncpg.Connection[Any], provider: Provider, restore: Restore, told: Health | str
) -> dict[str, Any]:
    """Compare what *provider* says of its account with our ledger."""
    if isinstance(told, str) or (told.balance is None and told.used is None):
        why = told if isinstance(told, str) else told.reason or "it names no figure"
        return _compared(provider, Comparison("nothing"), why)
    now, this_month = await figures.figure_now(db, provider.name, told)
    before = await figures.figure_before(db, provider.name, restore.since)
    return _compared(provider, compare(before, now, this_month), None)


def _compared(provider: Provider, found: Comparison, why: str | None) -> dict[str, Any]:
    missing = found.unexplained
    if why is None and found.basis == "nothing":
        why = "no figure from before is kept: compare with the provider's own console"
    elif why is None and missing is None:
        why = "credits were bought meanwhile: compare with the provider's own console"
    return {
        "provider": provider.name,
        "by": found.basis,
        "since": None if found.since is None else _time(found.since),
        "provider_charged": None if found.by_vendor is None else float(found.by_vendor),
        "ledger_charged": None if found.by_ledger is None else float(found.by_ledger),
        "unexplained": None if missing is None else float(missing),
        "about_numbers": None if missing is None else max(0, round(missing / provider.price)),
        "why": why,
    }


def _said(provider: Provider | None, body: bytes) -> str:
    """Say what a callback brought, without the number."""
    outcome = provider.read_callback(body) if isinstance(provider, CallsBack) else None
    if not isinstance(outcome, Answered):
        return "something else"
    return "a number" if outcome.mobile or outcome.second_choice else "no number"


async def _warnings(db: asyncpg.Connection[Any], restore: Restore, asked: dict[str, int]) -> list[str]:
    warnings = []
    newest = await restore_reports.newest_before(db, restore.since)
    if newest is None or newest < restore.since - QUIET:
        last = "there is none" if newest is None else f"it is of {_time(newest)}"
        warnings.append(f"The last row before --since is long before it ({last}): is the time right?")
    if questions := sum(asked.values()):
        warnings.append(
            f"This database has asked {questions:,} questions since then, before they could be held: some of them may"
            " have been paid for twice. Pause before the processes start."
        )
    if not any(row["provider"] is None and row["source"] is None for row in await find_pauses(db)):
        warnings.append(
            "Not all providers are paused. That does no harm from here on: what may repeat a question is held."
        )
    return warnings


def show(told: Report) -> None:
    """Show it to a person."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    would, many = "would be" if told.dry_run else "is", "1 lookup"
    if len(told.held) != 1:
        would, many = would.replace("is", "are"), f"{len(told.held):,} lookups"
    console.print(f"The restored data ends at {told.since}. What may have been paid for since then is held.")
    console.print(f"[bold]{many} {would} held[/] until a person releases what was not paid for.")
    for title, table in _tables(told).items():
        if table.row_count:
            console.print(f"\n[bold]{title}[/]", table, sep="\n")
    if len(told.held) > SHOWN:
        console.print(f"... and {len(told.held) - SHOWN:,} more: --json lists all.")
    for warning in told.warnings:
        console.print(f"[yellow]Note:[/] {warning}")
    if not told.is_done:
        typer.echo(FORGOTTEN)
    typer.echo("\n".join(_next(told)))


def _tables(told: Report) -> dict[str, Table]:
    from rich.markup import escape
    from rich.table import Table

    charged = Table("provider", "since", "it charged", "our ledger", "not in our ledger", "")
    for row in told.providers:
        amounts = [_amount(row[name]) for name in ("provider_charged", "ledger_charged", "unexplained")]
        numbers = f"about {row['about_numbers']:,} numbers" if row["about_numbers"] else ""
        charged.add_row(row["provider"], row["since"] or "", *amounts, escape(row["why"] or numbers))
    held = Table("lookup", "source", "record", "asks next", "came")
    for row in told.held[:SHOWN]:
        held.add_row(row["id"], row["source"], escape(row["record_id"] or ""), row["provider"], row["created_at"])
    callbacks = Table("provider", "brought", "callbacks")
    for (provider, says), count in sorted(Counter((one["provider"], one["says"]) for one in told.callbacks).items()):
        callbacks.add_row(provider, says, f"{count:,}")
    sweeps = Table("CRM", "swept to", "what went wrong last")
    for row in told.sweeps_behind:
        sweeps.add_row(row["crm"], row["swept_to"], escape(row["error"] or ""))
    return {
        "What was charged, in credits": charged,
        "May have been paid for": held,
        "Callbacks for questions that this database does not know: each was asked before the restore": callbacks,
        "Sweeps that have yet to list what changed before the restore": sweeps,
    }


def _amount(value: float | None) -> str:
    return "" if value is None else f"{value:,g}"


def _next(told: Report) -> list[str]:
    """Return what to do next."""
    if told.refused:
        return ["Not done: the sweeps above are behind. Start the processes, and try again."]
    if told.is_done:
        unread = f", and so are {told.unread:,} contacts that are yet to be read" if told.unread else ""
        return [f"Done: later events are asked about as usual. What is held waits for you{unread}.", f"  {REMEDY}"]
    return [
        "Next:",
        "  ringback resume --all         lets go of the pause; what is listed stays held",
        "  ringback reconcile --done     when sweeps and senders have repeated what came since: later events pass",
        f"  {REMEDY}   asks for what was not paid (--source, --id and others choose)",
    ]


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
