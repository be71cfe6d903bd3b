"""`ringback disconnect`: undo `ringback connect`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from console.completing import complete_crms

if TYPE_CHECKING:
    from enrichment.settings import Settings


def disconnect(
    crm: Annotated[str, typer.Argument(metavar="CRM", help="hubspot", autocompletion=complete_crms)],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; needs --yes.")] = False,
) -> None:
    """Stop sweeping and reading a CRM, and forget what `ringback connect` learned of it.

    Lookups, numbers and the CRM's own contents stay. Take its token out of the settings of all processes as well:
    a process that starts with it connects the CRM again. Exit code 1 if it was not connected.

    \b
      ringback disconnect hubspot
    """
    from console.asking import confirm
    from console.crm_link import require_known
    from console.suppress import refuse
    from enrichment.settings import Settings

    require_known(crm)
    if as_json and not yes:
        refuse("--json needs --yes: without a terminal there is no one to ask.")
    settings = Settings.load("console")
    if not (yes or confirm(f"Disconnect {crm}, and forget what was learned of it?")):
        raise typer.Exit(1)
    gone = asyncio.run(_disconnect(crm, settings))
    if as_json:
        typer.echo(json.dumps({"crm": crm, "disconnected": gone}))
    else:
        typer.echo(f"{crm} is disconnected." if gone else f"{crm} was not connected.")
    if gone and settings.hubspot.access_token is not None:
        words = "HUBSPOT_ACCESS_TOKEN is still set: a process that starts with it connects the CRM again."
        typer.echo(words, err=as_json)
    raise typer.Exit(0 if gone else 1)


async def _disconnect(name: str, settings: Settings) -> bool:
    from console.database import connected, embedded_exists
    from console.who import user
    from store import audit, connections
    from store.migrations import require_current

    if not embedded_exists(settings):
        return False
    async with connected(settings) as connection:
        await require_current(connection)
        async with connection.transaction():
            gone = await connections.disconnect(connection, name)
            if gone:
                await audit.record(connection, who=user(), action="disconnect", subject=name)
    return gone
