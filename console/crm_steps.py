"""The steps of `ringback connect`. Each says what it found, and ends the command where a person has to act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import typer

from console.crm_checks import check_token, create_properties, find_fields, read_fields
from console.crm_event import send_test_event
from console.crm_link import CrmLink
from console.crm_rehearsal import Rehearsal, rehearse
from console.who import user
from enrichment.crms import build_crm
from enrichment.crms.base import Property
from enrichment.crms.hubspot import LINKEDIN_FIELD
from enrichment.crms.hubspot_properties import own_properties
from enrichment.settings import Settings
from rig.processes import NotRunning
from store import audit, connections
from store.database import transaction

REHEARSED_DAYS = 30
REHEARSED_MOST = 2000  # contacts read for the rehearsal; the rest is estimated
HOW_TO_BEGIN = """{label} needs a token. The simplest way, on every plan:
  in HubSpot: Development > Keys > Service keys > Create, with the scopes
  crm.objects.contacts.read, crm.objects.contacts.write, and crm.schemas.contacts.write for Ringback's own fields;
  then set HUBSPOT_ACCESS_TOKEN, here and for the processes, and run this again.
Contacts are then found by a sweep every minute. For events within seconds, install an app of your own:
`ringback connect hubspot --project DIR` writes it."""


def stop(message: str) -> NoReturn:
    """Print what is wrong and what to do, and end the command with 1."""
    typer.echo(message, err=True)
    raise typer.Exit(1)


def require_token(name: str, settings: Settings) -> None:
    """Stop if there is no token. This comes before anything is opened, so that it is the first message."""
    crm = build_crm(name, settings, {})
    if not crm.can_call:
        stop(HOW_TO_BEGIN.format(label=crm.label))


async def check_account(link: CrmLink, *, dry_run: bool) -> str | None:
    """Check the token, and return its account, None if it cannot be told."""
    # The check writes to a contact that does not exist; a dry run leaves even that out.
    writes = link.settings.write_back != "off" and not dry_run
    standing = await check_token(link.session, link.crm, writes=writes)
    if standing.troubles:
        stop("\n  ".join((f"{link.crm.label} cannot be used yet:", *standing.troubles)))
    known = link.connection.account if link.connection else None
    if known and standing.account and known != standing.account:
        stop(
            f"The token is of account {standing.account}, and account {known} is connected. "
            f"Remedy: `ringback disconnect {link.crm.name}` first, or the token of account {known}."
        )
    typer.echo(f"{link.crm.label} takes the token; account {standing.account or 'unknown'}.")
    return standing.account


async def find_properties(link: CrmLink) -> tuple[Property, ...]:
    """Return the definitions of the contacts' fields."""
    properties = await read_fields(link.session, link.crm)
    if not isinstance(properties, tuple):
        stop(f"The fields of contacts cannot be read: {properties.reason}")
    return properties


def choose_linkedin(link: CrmLink, properties: Sequence[Property], wanted: str | None) -> str:
    """Return the field that holds LinkedIn profiles, and print which others might."""
    conditions = [one.name for one in link.settings.crm(link.crm.name).only_if]
    wanted = wanted or link.learned.get("linkedin_field")
    fields = find_fields(properties, usual=LINKEDIN_FIELD, wanted=wanted, conditions=conditions)
    if fields.unknown:
        stop(f"No field of contacts is called {', '.join(fields.unknown)}. Remedy: its internal name.")
    others = [f"  {one.name} ({one.label})" for one in fields.candidates if one.name != fields.linkedin]
    if fields.linkedin is None and not others:
        stop("No field of contacts holds LinkedIn profiles. Remedy: --linkedin-field NAME, or a field for them.")
    if fields.linkedin is None:
        stop("\n".join(("Several fields may hold LinkedIn profiles. Choose with --linkedin-field NAME:", *others)))
    typer.echo(f"LinkedIn profiles are read from {fields.linkedin}.")
    if others:
        typer.echo("\n".join(("If they are elsewhere, choose with --linkedin-field NAME:", *others)))
    return fields.linkedin


async def make_own_properties(link: CrmLink, properties: Sequence[Property], *, dry_run: bool) -> bool:
    """Create our own properties where they are missing. Return whether they can be written."""
    if {str(one["name"]) for one in own_properties()} <= {one.name for one in properties}:
        return True
    if dry_run:
        typer.echo("Ringback's own fields (status, source, date) would be created, if the token may.")
        return False
    failure = await create_properties(link.session, link.crm)
    if failure is None:
        typer.echo("Ringback's own fields (status, source, date) are there.")
        return True
    typer.echo(f"Ringback's own fields cannot be created, and it goes on without: {failure}")
    typer.echo("  Give the token the scope crm.schemas.contacts.write and run this again, if you want them.")
    return False


async def rehearse_month(link: CrmLink, learned: Mapping[str, Any]) -> Rehearsal | None:
    """Print what the contacts of the last month would have cost. Return None if that cannot be told."""
    now = datetime.now(UTC)
    caller = link.caller(build_crm(link.crm.name, link.settings, learned))
    await link.resume()
    since = now - timedelta(days=REHEARSED_DAYS)
    try:
        rehearsal = await rehearse(caller, link.asked, since=since, until=now, most=REHEARSED_MOST)
    except NotRunning as error:  # a contact that cannot be read is no reason not to connect
        typer.echo(f"The last {REHEARSED_DAYS} days could not be rehearsed: {error}", err=True)
        return None
    typer.echo(f"Last {REHEARSED_DAYS} days: {rehearsal.words()}. None of them is asked for now.")
    return rehearsal


async def save(link: CrmLink, account: str | None, learned: Mapping[str, Any]) -> None:
    """Store the connection."""
    name = link.crm.name
    async with transaction(link.pool) as connection:
        if not await connections.connect(connection, name, account=account, learned=learned):
            stop(f"Another account was connected meanwhile. Remedy: `ringback disconnect {name}` first.")
        detail = {"account": account, "linkedin_field": learned["linkedin_field"]}
        await audit.record(connection, who=user(), action="connect", subject=name, detail=detail)
    typer.echo(f"{link.crm.label} is connected. Every process knows within 10 seconds.")


async def test_events(link: CrmLink) -> bool:
    """Send a signed event to our own receiver, if a secret and PUBLIC_URL are set. Return whether it was sent."""
    secrets, public_url = link.settings.hubspot.client_secret, link.settings.public_url
    if not secrets or public_url is None:
        missing = "PUBLIC_URL" if secrets else "HUBSPOT_CLIENT_SECRET"
        typer.echo(f"No test event was sent, because {missing} is not set: contacts are found by sweeps alone.")
        return False
    trouble = await send_test_event(link.session, public_url, secrets[0].get_secret_value())
    if trouble is not None:
        stop(f"The signed test event did not come through: {trouble}.")
    typer.echo(f"A signed test event came through {public_url}.")
    return True
