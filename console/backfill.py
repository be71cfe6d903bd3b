"""`ringback backfill`: buy numbers for contacts that are older than the connection, after a preview."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.completing import complete_crms

if TYPE_CHECKING:
    from collections.abc import Callable

    from console.crm_feed import Fed
    from console.crm_link import CrmLink
    from console.crm_rehearsal import Rehearsal
    from enrichment.setting_types import Condition
    from enrichment.settings import Settings

PREVIEWED_MOST = 2000  # contacts read for the preview; the rest is estimated


@dataclass
class Plan:
    """The preview's result, and what was done. Every value is JSON-able."""

    crm: str
    since: str
    contacts: int
    askable: int
    most_credits: float
    is_estimate: bool
    sample: int | None
    named: int | None = None  # None: a dry run, or not begun
    stopped: bool = False


def backfill(
    crm: Annotated[str, typer.Argument(metavar="CRM", help="hubspot", autocompletion=complete_crms)],
    *,
    since: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Created since then, UTC.")],
    where: Annotated[
        str, typer.Option(metavar="CONDITIONS", help="Besides ONLY_IF: `property=value,value; property=value`.")
    ] = "",
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="Buy for N contacts at most.")] = None,
    per_minute: Annotated[
        int | None, typer.Option("--per-minute", min=1, metavar="N", help="Contacts a minute.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Preview; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; needs --yes or --dry-run.")] = False,
) -> None:
    """Ask for the numbers of contacts without a mobile that were created since DATE, before the connection too.

    A preview says how many, and the most that it can cost; then it asks. At most 500 contacts wait at a time, and
    live events come first. Ctrl-C stops cleanly; the same command goes on, and skips contacts that were named before.
    Exit code 1 if it was stopped.

    \b
      ringback backfill hubspot --since 2026-01-01 --dry-run
      ringback backfill hubspot --since 2026-01-01 --where lifecyclestage=opportunity --sample 50
    """
    from console.crm_link import require_known
    from console.suppress import refuse
    from enrichment.settings import Settings

    require_known(crm)
    if as_json and not (yes or dry_run):
        refuse("--json needs --yes or --dry-run: without a terminal there is no one to ask.")
    if since.replace(tzinfo=UTC) >= datetime.now(UTC):
        refuse("--since must be a day that has begun.")
    say = (lambda text: typer.echo(text, err=True)) if as_json else typer.echo
    settings = Settings.load("console")
    conditions = _read_conditions(where)
    plan = asyncio.run(
        _backfill(
            settings, crm, since.replace(tzinfo=UTC), conditions, sample, per_minute, dry_run=dry_run, yes=yes, say=say
        )
    )
    if as_json:
        typer.echo(json.dumps(asdict(plan), indent=2))
    raise typer.Exit(1 if plan.stopped else 0)


def _read_conditions(where: str) -> tuple[Condition, ...]:
    from pydantic import TypeAdapter, ValidationError

    from console.suppress import refuse
    from enrichment.setting_types import Conditions

    try:
        conditions: tuple[Condition, ...] = TypeAdapter(Conditions).validate_python(where)
    except ValidationError as error:
        refuse(f"--where {error.errors()[0]['msg'].removeprefix('Value error, ')}.")
    return conditions


async def _backfill(
    settings: Settings, name: str, since: datetime, conditions: tuple[Condition, ...], sample: int | None,
    per_minute: int | None, *, dry_run: bool, yes: bool, say: Callable[[str], None],
) -> Plan:  # fmt: skip
    from console import crm_steps as steps
    from console.asking import confirm
    from console.crm_feed import Pace, feed
    from console.crm_link import linked
    from console.crm_rehearsal import rehearse

    steps.require_token(name, settings)
    async with linked(name, settings) as link:
        if link.connection is None:
            steps.stop(f"{link.crm.label} is not connected. Remedy: `ringback connect {name}` first.")
        await _require_fields(link, conditions)
        caller = link.caller(link.narrowed(conditions))
        until = datetime.now(UTC)
        rehearsal = await rehearse(caller, link.asked, since=since, until=until, most=PREVIEWED_MOST)
        plan = _plan(name, since, sample, rehearsal)
        say(f"Created since {since:%Y-%m-%d}: {rehearsal.words()}.")
        if sample is not None:
            say(f"Of these, {plan.askable:,} at most are asked for now: at most {plan.most_credits:,g} credits.")
        if dry_run or not plan.askable:
            return plan
        if not (yes or confirm(f"Spend up to {plan.most_credits:,g} credits?")):
            raise typer.Exit(1)
        await _record(link, plan, conditions)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        fed = await feed(link, caller, Pace(stop, sample, per_minute), since=since, until=until, say=say)
        return _ended(plan, fed, say)


def _plan(name: str, since: datetime, sample: int | None, rehearsal: Rehearsal) -> Plan:
    askable, credits = rehearsal.most_askable, rehearsal.most_credits
    if sample is not None and sample < askable:
        credits = min(credits, sample * rehearsal.dearest)
        askable = sample
    return Plan(
        name, since.date().isoformat(), rehearsal.contacts, askable, float(credits), rehearsal.is_estimate, sample
    )


def _ended(plan: Plan, fed: Fed, say: Callable[[str], None]) -> Plan:
    plan.named, plan.stopped = fed.named, fed.stopped
    say(f"{fed.words()}.")
    if fed.stopped:
        say("Stopped. The same command again goes on from here.")
    else:
        say("Their lookups follow: `ringback status`. Budgets, pauses and ONLY_IF hold for them as for all.")
    return plan


async def _require_fields(link: CrmLink, conditions: tuple[Condition, ...]) -> None:
    """Stop if --where names a field that the CRM does not have: it would silently match no contact."""
    from console.crm_steps import find_properties
    from console.suppress import refuse

    names = {one.name for one in await find_properties(link)}
    unknown = [one.name for one in conditions if one.name not in names]
    if unknown:
        refuse(f"No field of contacts is called {', '.join(unknown)}. Remedy: its internal name.")


async def _record(link: CrmLink, plan: Plan, conditions: tuple[Condition, ...]) -> None:
    from console.who import user
    from store import audit
    from store.database import transaction

    detail: dict[str, Any] = asdict(plan) | {"where": [one.name for one in conditions]}
    async with transaction(link.pool) as connection:
        await audit.record(connection, who=user(), action="backfill", subject=plan.crm, detail=detail)
