"""`ringback connect`: learn the names of a CRM's fields, check what the token may do, and store both."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.completing import complete_crms

if TYPE_CHECKING:
    from enrichment.settings import Settings


@dataclass
class Connected:
    """What was found, and what was done. Every value is JSON-able."""

    crm: str
    project: str | None = None  # the folder that was written
    account: str | None = None
    linkedin_field: str | None = None
    own_properties: bool | None = None  # whether they can be written
    last_month: dict[str, int | float | bool] | None = None  # what its contacts would have cost
    connected: bool = False
    test_event: bool = False  # it came through


def connect(
    crm: Annotated[str, typer.Argument(metavar="CRM", help="hubspot", autocompletion=complete_crms)],
    *,
    linkedin_field: Annotated[
        str | None, typer.Option("--linkedin-field", metavar="NAME", help="Field that holds the LinkedIn profile.")
    ] = None,
    project: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write HubSpot's project folder: an app that sends events.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and say; change nothing.")] = False,
    as_environment: Annotated[bool, typer.Option("--print", help="Print what was learned as settings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; the words go to stderr.")] = False,
) -> None:
    """Connect a CRM: check its token, find its fields, rehearse, and remember what was learned.

    It costs nothing, and may be repeated at any time. The moment of the first time stays: contacts from before are
    bought only by `ringback backfill`. Exit code 1 if something is missing.

    \b
      ringback connect hubspot --dry-run
      ringback connect hubspot
      ringback connect hubspot --project ringback-app
    """
    from console.crm_link import require_known
    from enrichment.settings import Settings

    require_known(crm)
    settings = Settings.load("console")
    wanted = _field(linkedin_field) or settings.crm(crm).linkedin_field
    told = Connected(crm)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        if project is not None:
            _write_project(settings, project, wanted, dry_run=dry_run)
            told.project = None if dry_run else str(project)
        # The token is known once the app that the project describes is installed.
        if project is None or settings.hubspot.access_token is not None:
            asyncio.run(_connect(told, settings, wanted, dry_run=dry_run, as_environment=as_environment))
    if as_json:
        typer.echo(json.dumps(asdict(told), indent=2))


def _field(name: str | None) -> str | None:
    from pydantic import TypeAdapter, ValidationError

    from enrichment.setting_types import FieldName

    try:
        field: str | None = TypeAdapter(FieldName).validate_python(name or None)
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(why, param_hint="--linkedin-field") from None
    return field


def _write_project(settings: Settings, folder: Path, linkedin_field: str | None, *, dry_run: bool) -> None:
    from console.crm_project import NEXT, write_project
    from console.crm_steps import stop
    from enrichment.crms.hubspot import LINKEDIN_FIELD

    if settings.public_url is None:
        stop("PUBLIC_URL is not set: HubSpot could not reach the receiver. Set it, and run this again.")
    if dry_run:
        typer.echo(f"HubSpot's project would be written to {folder}.")
        return
    try:
        written = write_project(folder, settings.public_url, linkedin_field or LINKEDIN_FIELD, settings.hubspot.only_if)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds other files of these names"
        stop(f"The project cannot be written to {folder}: {why}. Remedy: --project with a folder of your own.")
    typer.echo(f"HubSpot's project is in {folder}: {len(written)} files written. What to type next:")
    typer.echo(NEXT.format(folder=shlex.quote(str(folder))))


async def _connect(
    told: Connected, settings: Settings, wanted: str | None, *, dry_run: bool, as_environment: bool
) -> None:
    """Go through the steps, and note what they find; each ends the command where a person has to act."""
    from console import crm_steps as steps
    from console.crm_link import linked

    steps.require_token(told.crm, settings)
    async with linked(told.crm, settings) as link:
        told.account = await steps.check_account(link, dry_run=dry_run)
        properties = await steps.find_properties(link)
        told.linkedin_field = steps.choose_linkedin(link, properties, wanted)
        told.own_properties = await steps.make_own_properties(link, properties, dry_run=dry_run)
        learned = {**link.learned, "linkedin_field": told.linkedin_field, "own_properties": told.own_properties}
        rehearsal = await steps.rehearse_month(link, learned)
        if rehearsal is not None:
            told.last_month = {
                "contacts": rehearsal.contacts, "askable": rehearsal.most_askable,
                "most_credits": float(rehearsal.most_credits), "is_estimate": rehearsal.is_estimate,
            }  # fmt: skip
        if as_environment:
            typer.echo(f"{told.crm.upper()}_LINKEDIN_FIELD={told.linkedin_field}")
        if not dry_run:
            await steps.save(link, told.account, learned)
            told.connected = True
            told.test_event = await steps.test_events(link)
