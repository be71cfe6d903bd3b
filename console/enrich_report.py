"""What `ringback enrich` says: the columns, the counts, the quote, the question, and the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer

from console.asking import confirm
from console.enrich_progress import progress_words
from enrichment.files.table import FileProblem, Table
from store.campaigns import LIMIT_REACHED, STOPPED, Campaign

IDENTIFYING = ("profile_url", "work_email", "personal_email", "name", "first_name", "last_name")


def confirm_columns(table: Table, columns: Mapping[str, str], *, asks: bool, err: bool) -> None:
    """Show what the columns hold, and ask at a terminal whether it is right. Raise FileProblem if none identifies."""
    if not set(columns.values()) & set(IDENTIFYING):
        shown = ", ".join(repr(column[:60]) for column in table.columns[:20])
        raise FileProblem(f"no column seems to hold a profile, an e-mail or a name; say which with --map: {shown}")
    for column, field in columns.items():
        typer.echo(f"  {column} = {field}", err=err)
    ignored = [column for column in table.columns if column not in columns]
    if ignored:
        typer.echo(f"  not used: {', '.join(ignored[:20])}{' ...' if len(ignored) > 20 else ''}", err=err)
    if asks and sys.stdin.isatty() and not confirm("Are these columns right?", err=err):
        raise FileProblem('say what the columns hold with --map, for example --map "E-Mail=work_email, Notes=ignore"')


def counted(campaign: Campaign, reasons: Sequence[tuple[str, int]], *, err: bool) -> None:
    """Print what is in the file, and the most that it can cost."""
    typer.echo(
        f"{campaign.read_to:,} rows: {campaign.fresh:,} new, {campaign.known:,} known already, "
        f"{campaign.duplicate:,} duplicates, {campaign.unusable:,} unusable.",
        err=err,
    )
    for reason, rows in reasons:
        typer.echo(f"  {rows:,} unusable: {reason}", err=err)
    typer.echo(f"At most {credits(campaign.most_credits)} credits.", err=err)


def resumed(campaign: Campaign, *, err: bool) -> None:
    """Say that the file was begun before."""
    typer.echo(f"Goes on: {campaign.begun:,} rows were asked before; {progress_words(campaign)}.", err=err)


def quoted(campaign: Campaign, *, err: bool) -> None:
    """Print what the sample says about the whole file."""
    quote = campaign.quote or {}
    if not quote:
        typer.echo("No row of the sample is left: they were erased or cancelled.", err=err)
        return
    typer.echo(f"Of {quote['sampled']:,} asked at random, {campaign.found:,} have a number: "
               f"{credits(campaign.credits)} credits. For all {quote['population']:,} new rows, with 95 % "
               "confidence:", err=err)  # fmt: skip
    typer.echo(f"  match rate        {_interval(quote['rate'], percent)}", err=err)
    typer.echo(f"  credits           {_interval(quote['cost'], credits)}", err=err)
    typer.echo(f"  credits a number  {_interval(quote['cost_per_number'], credits)}", err=err)


def ask(campaign: Campaign, most: Decimal, path: Path, as_json: bool) -> bool:
    """Ask whether to ask the rest. Without a terminal, say how to."""
    rest = campaign.usable - campaign.begun
    if as_json or not sys.stdin.isatty():
        typer.echo(
            f"The other {rest:,} rows are not approved. Remedy: the same command with --yes, "
            f"for at most {credits(most)} credits in all.",
            err=as_json,
        )
        return False
    return confirm(f"Ask the other {rest:,} rows of {path.name}, for at most {credits(most)} credits in all?")


def ended(campaign: Campaign, output: Path | None, *, dry_run: bool, err: bool) -> None:
    """Say how it ended, and what to do next."""
    if output is not None:
        typer.echo(f"{campaign.ended:,} rows: {progress_words(campaign)}. Written to {output}", err=err)
    if campaign.state == "stopped" and campaign.reason == STOPPED:
        typer.echo("Stopped. What is being asked is still answered. The same command goes on from here.", err=err)
    elif campaign.state == "stopped" and campaign.reason == LIMIT_REACHED:
        typer.echo(f"Stopped: {LIMIT_REACHED}. Remedy: the same command with a higher --max-credits.", err=err)
    elif campaign.state == "stopped":
        typer.echo(f"Stopped: {campaign.reason}.", err=err)
    elif campaign.state in ("read", "quoted") and not dry_run:
        typer.echo("Nothing more is asked. The same command goes on from here.", err=err)


def not_written(output: Path, why: str) -> None:
    """Say why there is no enriched file, and what to do; nothing that was found is lost."""
    typer.echo(
        f"{output.name} is not written: {why}. Remedy: the same command again, perhaps with another --output; "
        "no row is asked twice.",
        err=True,
    )


def summary(campaign: Campaign, output: Path | None) -> dict[str, Any]:
    """Return the summary for programs."""
    return {
        "id": str(campaign.id), "state": campaign.state, "reason": campaign.reason, "rows": campaign.read_to,
        "new": campaign.fresh, "known": campaign.known, "duplicate": campaign.duplicate,
        "unusable": campaign.unusable, "most_credits": float(campaign.most_credits), "sample": campaign.sample,
        "quote": campaign.quote, "asked": campaign.begun, "ended": campaign.ended, "found": campaign.found,
        "credits": float(campaign.credits), "output": str(output) if output else None,
    }  # fmt: skip


def credits(amount: float | Decimal) -> str:
    """Write an amount of credits."""
    return f"{amount:,.2f}".removesuffix(".00")


def percent(share: float) -> str:
    """Write a share of 1."""
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def _interval(estimate: Mapping[str, Any], write: Any) -> str:
    value = "unknown" if estimate["value"] is None else write(estimate["value"])
    high = "no upper limit" if estimate["high"] is None else write(estimate["high"])
    return f"{value}  ({write(estimate['low'])} to {high})"
