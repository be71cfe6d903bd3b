"""`ringback reconcile`: after a restore to an older moment, hold what may have been paid for already, and say so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import asyncpg

    from console.reconcile_report import Report
    from enrichment.settings import Settings
    from store.restores import Restore

NONE_OPEN = """No restore is being reconciled. After one, with the moment at which the restored data ends:
  ringback pause --reason "restored from a backup"
  ringback reconcile --since 2026-11-22T14:05:00Z"""


def reconcile(
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Where the restored data ends; UTC unless it says so.")
    ] = None,
    done: Annotated[
        bool, typer.Option("--done", help="What the lost database knew has come in again: hold no later event.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be held; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """After a restore from a backup, pay for nothing a second time.

    The restored database has forgotten every question since TIME, and each of them may have been paid for. --since
    holds all that wait to be asked, and every search that begins until --done; a person's retry is not held. It
    compares what the providers have charged with our ledger, and lists each lookup that may have been paid for. A
    person releases them, all or by source, and they are not held again. --done refuses while a CRM's sweeps have yet to
    list what changed before the restore. Without an option it shows how things stand.

    Running it twice changes nothing more. Exit code 1: --done was refused, or no restore was open.

    \b
      ringback pause --reason "restored from a backup"       before the processes start
      ringback reconcile --since 2026-11-22T14:05:00Z
      ringback resume --all
      ringback reconcile --done
      ringback release --reason restored --source hubspot
    """
    from console.suppress import refuse
    from enrichment.settings import Settings

    if done and (since is not None or dry_run):
        refuse("--done stands alone.")
    if dry_run and since is None:
        refuse("--dry-run needs --since.")
    moment = None if since is None else _read_moment(since)
    told = asyncio.run(_reconcile(Settings.load("console"), moment, done=done, dry_run=dry_run))
    if told is None:
        typer.echo(json.dumps({"restore": None}) if as_json else NONE_OPEN)
        raise typer.Exit(1 if done else 0)
    if as_json:
        typer.echo(json.dumps(asdict(told), indent=2))
    else:
        from console.reconcile_report import show

        show(told)
    raise typer.Exit(1 if told.refused else 0)


def _read_moment(text: str) -> datetime:
    from pydantic import TypeAdapter, ValidationError

    from console.suppress import refuse
    from enrichment.selection import Moment

    adapter: TypeAdapter[datetime] = TypeAdapter(Moment)
    try:
        moment = adapter.validate_python(text)
    except ValidationError:
        refuse("--since: not a time. Remedy: write it like 2026-11-22T14:05:00Z.")
    if moment > datetime.now(UTC):
        refuse("--since must not be in the future.")
    return moment


async def _reconcile(settings: Settings, since: datetime | None, *, done: bool, dry_run: bool) -> Report | None:
    """Do what the options say; return how things stand then, or None when no restore is open."""
    from console.database import connected, embedded_exists
    from console.reconcile_report import ask_providers, gather
    from rig.processes import NotRunning
    from store import restores
    from store.migrations import require_current

    if not embedded_exists(settings):
        if since is not None:
            raise NotRunning("There is no database to reconcile. Remedy: set DATABASE_URL")
        return None
    async with connected(settings) as connection:
        await require_current(connection)
        if since is None:
            restore = await restores.find_open(connection)
            if restore is None:
                return None
            told = await ask_providers(settings)
            await restores.hold_all(connection)  # also what a submitter has yet to come to: the list is whole
            report = await gather(connection, settings, restore, told)
            return await _close(connection, restore, report) if done else report
        told = await ask_providers(settings)
        if not dry_run:
            restore, held = await _begin(connection, since)
            return await gather(connection, settings, restore, told, held=held)
        changes = connection.transaction()
        await changes.start()
        try:
            restore, held = await _begin(connection, since)
            return await gather(connection, settings, restore, told, held=held, dry_run=True)
        finally:
            await changes.rollback()


async def _begin(connection: asyncpg.Connection[Any], since: datetime) -> tuple[Restore, int]:
    """Mark the lookups, and hold what waits; return the restore and how many jobs were not held before."""
    from console.who import user
    from store import restores

    async with connection.transaction():
        restore = await restores.begin(connection, since, who=user())
    return restore, await restores.hold_all(connection)


async def _close(connection: asyncpg.Connection[Any], restore: Restore, report: Report) -> Report:
    """Close the restore, unless sweeps have yet to list what changed before it."""
    from dataclasses import replace

    from console.reconcile_report import list_held
    from console.who import user
    from store import restores

    if report.sweeps_behind:
        return replace(report, refused=True)
    async with connection.transaction():
        unread = await restores.close(connection, restore, who=user())
    return replace(report, is_done=True, unread=unread, held=await list_held(connection))
