"""`ringback migrate`: the release phase."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from enrichment.settings import Settings
    from store.plan import Lock, Plan, Size
    from store.steps import Step

LETS_WRITE = ("ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE")
LONGEST_STATEMENT = 100  # characters of a statement that are shown; --json has all


def migrate(
    *,
    plan: Annotated[
        bool, typer.Option("--plan", "--dry-run", help="Show what is missing, and what it would lock; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --json: not only plan.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; without --yes, the plan only.")] = False,
    leave_running: Annotated[bool, typer.Option("--leave-running", hidden=True)] = False,
) -> None:
    """Bring the database to the newest step of schema.sql, and repair invalid indexes.

    Safe to run at every deploy, while everything works, and by several machines at once: they take turns. It may be
    interrupted and run again.

    \b
      ringback migrate --plan
      DATABASE_URL=postgres://user:password@db/ringback ringback migrate
    """
    from enrichment.settings import Settings

    settings = Settings.load("console")
    if plan or (as_json and not yes):
        planned = asyncio.run(_plan(settings, leave_running=leave_running))
        typer.echo(json.dumps(_shown(planned), indent=2) if as_json else "\n".join(_lines(planned)))
        return
    steps = asyncio.run(_migrate(settings, leave_running=leave_running, quiet=as_json))
    if as_json:
        applied = [{"step": step.number, "title": step.title} for step in steps]
        typer.echo(json.dumps({"applied": applied}, indent=2))
        return
    for step in steps:
        typer.echo(f"Applied: step {step.number}, {step.title}.")
    if not steps:
        typer.echo("Nothing was missing: the schema is current.")


async def _plan(settings: Settings, *, leave_running: bool) -> Plan:
    from console.database import connected, embedded_exists
    from store.installation import read_identity_key
    from store.plan import Plan, plan
    from store.steps import read_steps

    if not embedded_exists(settings):
        typer.echo(
            f"No DATABASE_URL: the embedded PostgreSQL under {settings.ringback_home.resolve()} would be made.",
            err=True,
        )
        return Plan(read_steps(), {}, {}, [])
    async with connected(settings, leave_running=leave_running) as connection:
        planned = await plan(connection)
        if not planned.steps:
            await read_identity_key(connection, _identity_key(settings))
        return planned


async def _migrate(settings: Settings, *, leave_running: bool, quiet: bool) -> list[Step]:
    """Apply the missing steps, and return them. *quiet*: keep stdout for programs."""
    from console.database import beside, connected
    from store import migrations

    if settings.database_url is None:
        typer.echo(
            f"No DATABASE_URL: the embedded PostgreSQL under {settings.ringback_home.resolve()} is used.", err=quiet
        )
    async with connected(settings, leave_running=leave_running) as connection:
        key = _identity_key(settings)
        return await migrations.migrate(connection, identity_key=key, beside=partial(beside, settings))


def _identity_key(settings: Settings) -> str | None:
    return settings.identity_key.get_secret_value() if settings.identity_key else None


def _lines(plan: Plan) -> Iterator[str]:
    """Yield the lines of the plan, for people."""
    if not plan.steps:
        yield "Nothing is missing: the schema is current."
    for step in plan.steps:
        yield f"Missing: step {step.number}, {step.title}."
        if step.number in plan.locks:
            yield (
                "  each statement by itself, outside a transaction:" if step.is_concurrent else "  in one transaction:"
            )
        for statement, locks in plan.locks.get(step.number, ()):
            line = " ".join(statement.split())
            yield f"  {line if len(line) <= LONGEST_STATEMENT else line[:LONGEST_STATEMENT] + ' ...'}"
            for lock in locks:
                yield f"      {described(lock, plan.sizes.get(lock.table))}"
    for name in plan.invalid_indexes:
        yield f"Invalid: index {name} would be built again."


def described(lock: Lock, size: Size | None) -> str:
    """Say what a lock holds up, and on how large a table."""
    table = f"{lock.table} ({size.rows:,} rows, {size.bytes / 1e6:,.1f} MB)" if size else lock.table
    does = "rewrites the table" if lock.rewrites_it else "reads the whole table" if lock.reads_it else "for a moment"
    others = "reads and writes go on" if lock.mode in LETS_WRITE else "writes wait"
    if lock.mode == "ACCESS EXCLUSIVE":
        others = "reads and writes wait"
    return f"{lock.mode} on {table}: {does}; {others}"


def _shown(plan: Plan) -> dict[str, Any]:
    """Return the plan for programs."""
    return {
        "missing": [
            {
                "step": step.number,
                "title": step.title,
                "in_one_transaction": not step.is_concurrent,
                "statements": [
                    {"sql": statement, "locks": [asdict(lock) | _size(plan, lock) for lock in locks]}
                    for statement, locks in plan.locks.get(step.number, ())
                ],
            }
            for step in plan.steps
        ],
        "invalid_indexes": list(plan.invalid_indexes),
    }


def _size(plan: Plan, lock: Lock) -> dict[str, int]:
    return asdict(plan.sizes[lock.table]) if lock.table in plan.sizes else {}
