"""`ringback connect`: learn the names of a CRM's fields, check what the token may do, and store both."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from enrichment.settings import Settings


def connect(
    crm: Annotated[str, typer.Argument(metavar="CRM", help="hubspot")],
    *,
    linkedin_field: Annotated[
        str | None, typer.Option("--linkedin-field", metavar="NAME", help="Field that holds the LinkedIn profile.")
    ] = None,
    project: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write HubSpot's project folder: an app that sends events.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and say; change nothing.")] = False,
    as_environment: Annotated[bool, typer.Option("--print", help="Print what was learned as settings.")] = False,
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
    if project is not None:
        _write_project(settings, project, wanted, dry_run=dry_run)
        if settings.hubspot.access_token is None:
            return  # known once the app that the project describes is installed
    asyncio.run(_connect(crm, settings, wanted, dry_run=dry_run, as_environment=as_environment))


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


async def _connect(name: str, settings: Settings, wanted: str | None, *, dry_run: bool, as_environment: bool) -> None:
    """Go through the steps; each ends the command where a person has to act."""
    from console import crm_steps as steps
    from console.crm_link import linked

    steps.require_token(name, settings)
    async with linked(name, settings) as link:
        account = await steps.check_account(link, dry_run=dry_run)
        properties = await steps.find_properties(link)
        linkedin = steps.choose_linkedin(link, properties, wanted)
        has_own = await steps.make_own_properties(link, properties, dry_run=dry_run)
        learned = {**link.learned, "linkedin_field": linkedin, "own_properties": has_own}
        await steps.rehearse_month(link, learned)
        if as_environment:
            typer.echo(f"{name.upper()}_LINKEDIN_FIELD={linkedin}")
        if not dry_run:
            await steps.save(link, account, learned)
            await steps.test_events(link)
