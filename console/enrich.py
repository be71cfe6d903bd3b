"""`ringback enrich`: numbers for a file of contacts, after a count, a sample and a quote."""

from __future__ import annotations

import asyncio
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enrichment.money import MOST_CREDITS

if TYPE_CHECKING:
    from console.enrich_run import Manner, Wanted
    from enrichment.files.table import Table
    from enrichment.settings import Settings

SAMPLE = 50
MOST_SAMPLED = 1_000_000
GUESSED_FROM = 200  # rows


def enrich(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="csv or xlsx, with a header.")],
    *,
    mapping: Annotated[
        str, typer.Option("--map", metavar="COLUMNS", help="`E-Mail=work_email, Firma=company`; beats the guess.")
    ] = "",
    sheet: Annotated[str | None, typer.Option(metavar="NAME", help="Of a workbook; by default its first.")] = None,
    sample: Annotated[
        int, typer.Option(min=0, max=MOST_SAMPLED, metavar="N", help="Ask N at random first; 0: no sample.")
    ] = SAMPLE,
    max_credits: Annotated[
        float | None,
        typer.Option(
            "--max-credits", min=0, max=MOST_CREDITS, metavar="N", help="For all of the file, the sample included."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default FILE.enriched.csv beside it.")
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Begin again with a file that is done.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count; ask nobody.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the rest.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; without --yes, up to the quote.")] = False,
) -> None:
    """Look up the numbers of the contacts in FILE, and write them beside its columns.

    First the rows are counted: what is new, what is known already, what cannot be used, and the most that it can cost.
    Then a random sample is asked, and a quote says what the whole file will come to. Then it asks you before the rest.
    Ctrl-C stops cleanly, and the same command goes on; nothing is paid for twice. The processes have to run, for
    example by `ringback up`. Exit code 1 if the file is not done.

    \b
      ringback enrich contacts.csv --dry-run
      ringback enrich contacts.csv --map "E-Mail=work_email, Firma=company"
      ringback enrich contacts.csv --sample 100 --max-credits 2000 --yes
    """
    from console.enrich_run import Manner
    from console.suppress import refuse
    from enrichment.files.table import FileProblem
    from enrichment.settings import Settings

    limit = None if max_credits is None else Decimal(str(max_credits))
    manner = Manner(sample, limit, output or file.with_name(f"{file.stem}.enriched.csv"), anew, dry_run, yes, as_json)
    settings = Settings.load("console")
    try:
        wanted = _read(file, mapping, sheet, manner)
        summary = asyncio.run(_enrich(settings, wanted))
    except FileProblem as problem:
        refuse(f"{problem}.")
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    raise typer.Exit(0 if dry_run or (summary["output"] and summary["state"] == "done") else 1)


def _read(path: Path, text: str, sheet: str | None, manner: Manner) -> Wanted:
    """Open the file, and find out what its columns hold. Raise FileProblem."""
    from console.enrich_report import confirm_columns
    from console.enrich_run import Wanted
    from enrichment.files import open_table
    from enrichment.files.known import KnownFile
    from enrichment.files.table import FileProblem

    try:
        known = KnownFile(path)  # before its columns are looked at: a person may take long to confirm them
        table = open_table(path, name=path.name, sheet=sheet)
        columns = _columns(path, table, text)
        if not manner.dry_run:
            _refuse_output(path, manner.output)
    except OSError as error:
        raise FileProblem(f"{path.name} cannot be read: {error.strerror or 'the system says no more'}") from None
    confirm_columns(table, columns, asks=not (text or manner.yes), err=manner.as_json)
    return Wanted(path, known, table, columns, manner)


def _refuse_output(path: Path, output: Path) -> None:
    """Raise FileProblem for an output that could not be written, before anything is paid."""
    from enrichment.files.table import FileProblem

    if not output.parent.is_dir() or output.is_dir() or not os.access(output.parent, os.W_OK):
        raise FileProblem(f"{output} cannot be written: name a file in a folder that you may write to with --output")
    if output.exists() and output.samefile(path):
        raise FileProblem(f"{output} is the file itself: name another one with --output")


def _columns(path: Path, table: Table, text: str) -> dict[str, str]:
    """Return which column holds what: as --map says, and the rest as it seems."""
    from itertools import islice

    from enrichment.event_fields import IGNORED
    from enrichment.files import read_rows
    from enrichment.files.columns import guess_mapping, read_mapping

    said = read_mapping(text, table) if text else {}
    seems = guess_mapping(table, list(islice(read_rows(path, table), GUESSED_FROM)))
    guessed = {column: field for column, field in seems.items() if column not in said and field not in said.values()}
    return {column: field for column, field in (said | guessed).items() if field != IGNORED}


async def _enrich(settings: Settings, wanted: Wanted) -> dict[str, object]:
    from console.database import embedded_exists, pooled
    from console.enrich_run import Run
    from rig.processes import NotRunning

    if not embedded_exists(settings):
        raise NotRunning("There is no database yet. Remedy: run `ringback up` beside this command.")
    async with pooled(settings) as pool:
        return await Run(pool, settings, wanted).to_its_end()
