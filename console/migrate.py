"""`ringback migrate`: the release phase."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from store.migrations import Step


def migrate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which steps are missing; change nothing.")] = False,
    leave_running: Annotated[bool, typer.Option("--leave-running", hidden=True)] = False,
) -> None:
    """Bring the database to the newest step of schema.sql.

    Safe to run at every deploy, and by several machines at once: they take turns.

    \b
      ringback migrate --dry-run
      DATABASE_URL=postgres://user:password@db/ringback ringback migrate
    """
    steps = asyncio.run(_migrate(dry_run=dry_run, leave_running=leave_running))
    if not steps:
        typer.echo("Nothing was missing: the schema is current.")
    for step in steps:
        typer.echo(f"{'Missing' if dry_run else 'Applied'}: step {step.number}, {step.title}.")


async def _migrate(*, dry_run: bool, leave_running: bool) -> list[Step]:
    from console.database import connected, embedded_exists
    from enrichment.settings import Settings
    from store import migrations

    settings = Settings.load("console")
    if dry_run and not embedded_exists(settings):
        home = settings.ringback_home.resolve()
        typer.echo(f"No DATABASE_URL: the embedded PostgreSQL under {home} would be made.")
        return migrations.read_steps()
    if settings.database_url is None:
        typer.echo(f"No DATABASE_URL: the embedded PostgreSQL under {settings.ringback_home.resolve()} is used.")
    async with connected(settings, leave_running=leave_running) as connection:
        key = settings.identity_key.get_secret_value() if settings.identity_key else None
        return await migrations.migrate(connection, identity_key=key, dry_run=dry_run)
