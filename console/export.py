"""`ringback export`: lookups as csv or ndjson, streamed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.completing import complete_columns, complete_formats
from console.selecting import Provider, Reason, RecordId, Since, Source, Status, Until

if TYPE_CHECKING:
    from console.export_output import Output
    from enrichment.export import Format
    from enrichment.selection import Filter
    from enrichment.settings import Settings


def export(
    *,
    id: Annotated[str | None, typer.Option("--id", metavar="ID", help="One lookup.")] = None,
    status: Status = None,
    source: Source = None,
    provider: Provider = None,
    since: Since = None,
    until: Until = None,
    record_id: RecordId = None,
    reason: Reason = None,
    format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="csv or ndjson.", autocompletion=complete_formats)
    ] = "csv",
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Which, by comma; without it, all.", autocompletion=complete_columns),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout; yours alone to read.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The summary for programs: on stderr, with --output on stdout.")
    ] = False,
) -> None:
    """Write lookups with their contacts and numbers, newest first.

    It is streamed, so it may be as long as the history; lookups that begin meanwhile are left out. A text in a csv
    that a spreadsheet would calculate gets an apostrophe before it; a number in E.164 stays as it is, and so does
    everything in ndjson. A file is there once it is whole. Every export is written to the audit.

    \b
      ringback export --status found --since 2026-11-01 --output november.csv
      ringback export --source hubspot --columns record_id,status,mobile
      ringback export --format ndjson | jq 'select(.credits > 3)'
    """
    from console.export_output import NotWritten, file, stdout
    from console.selecting import read_filter
    from enrichment.settings import Settings

    kind, names = _format(format), _columns(columns)
    wanted = read_filter(
        id=id, status=status, source=source, provider=provider, since=since, until=until, record_id=record_id,
        reason=reason,
    )  # fmt: skip
    settings = Settings.load("console")
    try:
        with file(output) if output else stdout() as out:
            lookups = asyncio.run(_export(settings, wanted, kind, names, out))
    except NotWritten as why:
        if words := str(why):
            typer.echo(words, err=True)
        raise typer.Exit(1) from None
    told: dict[str, Any] = {"lookups": lookups, "format": kind, "output": str(output) if output else None}
    if as_json:
        typer.echo(json.dumps(told), err=output is None)
    else:
        typer.echo(f"{lookups:,} lookups exported{f' to {output}' if output else ''}.", err=True)


def _format(text: str) -> Format:
    from console.suppress import refuse
    from enrichment.export import FORMATS

    format = next((one for one in FORMATS if one == text), None)
    if format is None:
        refuse(f"--format: one of {', '.join(FORMATS)}")
    return format


def _columns(text: str | None) -> tuple[str, ...]:
    """Read the names of the columns. Exit with 2, naming each unknown one."""
    from console.suppress import refuse
    from enrichment.export import COLUMNS

    if text is None:
        return COLUMNS
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not names:
        told = f"there is no {', '.join(map(repr, unknown))}" if unknown else "name one or more"
        refuse(f"--columns: {told}. Remedy: of {', '.join(COLUMNS)}")
    return names


async def _export(settings: Settings, wanted: Filter, format: Format, columns: tuple[str, ...], out: Output) -> int:
    """Write the lookups that the filter finds; return how many. The audit has it before the first of them leaves."""
    from console.database import embedded_exists, pooled
    from console.export_output import progressing
    from console.who import user
    from enrichment.export import header, lines
    from store import audit
    from store.export import pages

    exported = 0
    if not embedded_exists(settings):
        out.write(header(format, columns))
        return exported
    async with pooled(settings) as pool:
        # The filter's fields are not nested: an erasure looks for the person in the reason there.
        detail = {"format": format, "columns": columns} | wanted.model_dump(mode="json", exclude_none=True)
        await audit.record(pool, who=user(), action="export", detail=detail)
        out.write(header(format, columns))
        with progressing(to_file=out.is_file) as advance:
            async for rows in pages(pool, wanted):
                out.write(lines(format, columns, rows))
                exported += len(rows)
                advance(len(rows))
    return exported
