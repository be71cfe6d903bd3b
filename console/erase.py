"""`ringback erase`: remove a person everywhere."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from console.suppress import Email, Number, Profile, read_values, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enrichment.settings import Settings
    from enrichment.suppression import Identifier
    from store.erasure import Erased


def erase(
    *,
    email: Email = None,
    profile: Profile = None,
    number: Number = None,
    suppress: Annotated[bool, typer.Option("--suppress", help="Also never ask about this person again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Preview only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; without --yes, a preview only.")] = False,
) -> None:
    """Erase every lookup that holds one of the values, and all that was kept for it: it cannot be undone.

    Events keep their other contacts; searches that others share go on for them; the sums of credits stay. What is
    found is shown first, and nothing is changed before you have said yes. After an interruption, run it again. Exit
    code 1 if you said no, 2 if a value cannot be used.

    \b
      ringback erase --email jane@acme.co --profile linkedin.com/in/janedoe --dry-run
      ringback erase --email jane@acme.co --suppress --yes
    """
    from enrichment.settings import Settings

    given = {"email": email, "profile": profile, "number": number}
    rows = [(kind, value, None, f"--{kind}") for kind, values in given.items() for value in values or ()]
    if not rows:
        refuse("Give one or more of --email, --profile and --number.")
    identifiers = [identifier for identifier, _ in read_values(list(rows))]
    if not (yes or dry_run or as_json or sys.stdin.isatty()):
        refuse("There is no terminal to ask on. Remedy: --yes, or --dry-run to see what would be erased")
    changing = not dry_run and (yes or not as_json)
    erased = asyncio.run(_erase(Settings.load("console"), identifiers, suppress, changing=changing, ask=not yes))
    if as_json and erased is not None:
        typer.echo(json.dumps({"erased": changing, **erased.counts()}, indent=2))
    raise typer.Exit(0 if erased is not None else 1)


async def _erase(
    settings: Settings, identifiers: Sequence[Identifier], suppress: bool, *, changing: bool, ask: bool
) -> Erased | None:
    """Preview, ask and erase. Return what was found or erased; None if the person said no."""
    from console.asking import confirm
    from console.database import embedded_exists, pooled
    from console.who import user
    from store import audit, erasure, notify
    from store.installation import Installation

    if not embedded_exists(settings) and not suppress:
        typer.echo("There is no database yet, and nothing to erase.", err=True)
        return erasure.Erased()
    async with pooled(settings) as pool:
        if ask or not changing:
            found = await erasure.preview_erasure(pool, identifiers)
            typer.echo(_found(found, suppress), err=True)
            if not changing:
                return found
            if not confirm("Erase this? It cannot be undone.", err=True):
                typer.echo("Nothing was erased.", err=True)
                return None
        policy = await Installation(pool, settings).policy()
        detail = {"by": sorted({identifier.kind for identifier in identifiers}), "suppress": suppress}
        await audit.record(pool, who=user(), action="erase", detail=detail)
        erased = await erasure.erase_person(pool, policy, identifiers, suppressing=suppress)
        await notify.hint(pool)
    typer.echo(_done(erased), err=True)
    return erased


def _found(found: Erased, suppress: bool) -> str:
    also = " Each value given would be suppressed." if suppress else ""
    return f"Found: {found.lookups:,} lookups, {found.events:,} events, {found.numbers:,} numbers.{also}"


def _done(erased: Erased) -> str:
    rows = {name: count for name, count in erased.counts().items() if count and name != "suppressions"}
    counts = ", ".join(f"{count:,} {name}" for name, count in rows.items())
    suppressed = f" {erased.suppressions:,} suppressed." if erased.suppressions else ""
    return f"Erased: {counts or 'nothing; there was nothing to erase'}.{suppressed}"
