"""`ringback suppress`: forbid every question about a person, and every use of a number."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from enrichment.settings import Settings
    from enrichment.suppression import Identifier

AT_ONCE = 500  # suppressions of one commit

Email = Annotated[list[str] | None, typer.Option("--email", metavar="ADDRESS", help="A person's e-mail.")]
Profile = Annotated[list[str] | None, typer.Option("--profile", metavar="URL", help="A person's LinkedIn profile.")]
Number = Annotated[list[str] | None, typer.Option("--number", metavar="NUMBER", help="With its country code.")]


def suppress(
    *,
    email: Email = None,
    profile: Profile = None,
    domain: Annotated[
        list[str] | None, typer.Option("--domain", metavar="NAME", help="All addresses of a domain, and below it.")
    ] = None,
    number: Number = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="CSV", help="With the columns email, profile, domain, number; and note."),
    ] = None,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why; nothing personal.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Never ask about a person again, and never give a number: each option may be repeated.

    Only hashes are stored. Lookups that wait end at once; of a question that is under way the answer is not kept. A
    number that was found before stays where it is: `ringback erase --suppress` removes it too. Exit code 2 if a value
    cannot be used: then nothing is suppressed.

    \b
      ringback suppress --email jane@acme.co --note "asked by phone"
      ringback suppress --file opted-out.csv
    """
    from enrichment.settings import Settings

    given = {"email": email, "profile": profile, "domain": domain, "number": number}
    rows = [(kind, value, note, f"--{kind}") for kind, values in given.items() for value in values or ()]
    rows += read_file(file, note) if file else []
    if not rows:
        refuse("Give one of --email, --profile, --domain, --number or --file.")
    wanted = read_values(rows)
    made, ended = asyncio.run(_suppress(Settings.load("console"), wanted))
    if as_json:
        typer.echo(json.dumps({"suppressions": made, "ended": ended}, indent=2))
    else:
        new = sum(one["new"] for one in made)
        typer.echo(f"{new:,} suppressed, {len(made) - new:,} already were. {ended:,} waiting lookups ended.")


def refuse(words: str) -> NoReturn:
    """Print what is wrong with the options, and exit with 2."""
    typer.echo(words, err=True)
    raise typer.Exit(2)


def read_values(rows: list[tuple[str, str, str | None, str]]) -> list[tuple[Identifier, str | None]]:
    """Read (kind, value, note, place). Exit with 2, naming each unusable value by its place."""
    from enrichment.suppression import KINDS, LONGEST_NOTE, read_identifier
    from enrichment.texts import Unusable, tidy

    wanted: list[tuple[Identifier, str | None]] = []
    wrong: list[str] = []
    for kind, value, note, where in rows:
        if note is not None and len(note) > LONGEST_NOTE:
            wrong.append(f"{where}: a note of at most {LONGEST_NOTE} characters")
            continue
        try:
            tidied = tidy(note) if note is not None else None
        except Unusable as error:
            wrong.append(f"{where}: its note must be {error}")
            continue
        try:
            wanted.append((read_identifier(next(one for one in KINDS if one == kind), value), tidied))
        except Unusable as error:
            wrong.append(f"{where}: {error}")
    if wrong:
        refuse("\n".join(wrong))
    return wanted


def read_file(path: Path, note: str | None) -> list[tuple[str, str, str | None, str]]:
    """Read the values of a CSV file with a header line. Exit with 2 if it cannot be read."""
    from enrichment.suppression import KINDS

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            columns = [(kind, names[kind]) for kind in KINDS if kind in names]
            if not columns:
                refuse(f"{path}: its first line must name one or more of the columns {', '.join(KINDS)}.")
            found: list[tuple[str, str, str | None, str]] = [
                (kind, row[column], (row.get(names.get("note", "")) or "").strip() or note,
                 f"{path}, line {reader.line_num}, {kind}")
                for row in reader
                for kind, column in columns
                if (row[column] or "").strip()
            ]  # fmt: skip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else "no CSV in UTF-8"
        refuse(f"{path} cannot be read: {why}. Remedy: a CSV file in UTF-8, with commas.")
    if not found:
        refuse(f"{path} has no values below its first line.")
    return found


async def _suppress(
    settings: Settings, wanted: list[tuple[Identifier, str | None]]
) -> tuple[list[dict[str, Any]], int]:
    from console.database import pooled
    from console.who import user
    from store import audit, notify, suppressions
    from store.database import transaction
    from store.installation import Installation

    made: list[dict[str, Any]] = []
    async with pooled(settings) as pool:
        policy = await Installation(pool, settings).policy()
        for note in sorted({note for _, note in wanted}, key=lambda note: note or ""):
            these = [identifier for identifier, its in wanted if its == note]
            for start in range(0, len(these), AT_ONCE):
                async with transaction(pool) as connection:
                    stored = await suppressions.suppress(connection, these[start : start + AT_ONCE], policy, note)
                    for one in {one.id: one for one in stored if one.is_new}.values():
                        await audit.record(
                            connection, who=user(), action="suppress", subject=one.id, detail={"kind": one.kind}
                        )
                made += [{"id": str(one.id), "kind": one.kind, "new": one.is_new} for one in stored]
        ended = await suppressions.end_waiting(pool, [identifier for identifier, _ in wanted], policy)
        await notify.hint(pool)
    return made, ended
