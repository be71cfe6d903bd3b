"""`ringback resume`: remove a person's pause, or one that a provider's account caused."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.completing import complete_providers, complete_sources

if TYPE_CHECKING:
    from enrichment.settings import Settings
    from store.pauses import Scope


def resume(
    *,
    provider: Annotated[
        str | None,
        typer.Option("--provider", metavar="NAME", help="The paused provider.", autocompletion=complete_providers),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="The paused source.", autocompletion=complete_sources),
    ] = None,
    of_all: Annotated[bool, typer.Option("--all", help="The pause of all providers.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Let paid questions go on that were stopped.

    It ends the pause that `ringback pause` with the same option began; --all ends the pause of all providers, and no
    other. With --provider it also ends a pause that the provider's account caused: Ringback does so by itself once the
    provider's free endpoint says that the account is well; use this when you have mended the account and do not want
    to wait, or when the endpoint is wrong. If the account still cannot ask, the next question pauses the provider
    again. Exit code 1 if nothing was paused.

    \b
      ringback status
      ringback resume --provider nyne
      ringback resume --all
    """
    from console.pause import read_scope
    from enrichment.settings import Settings

    if of_all == (provider is not None or source is not None):
        raise typer.BadParameter("one of --provider, --source and --all", param_hint="--all")
    scope = read_scope(provider, source)
    reason = asyncio.run(_resume(Settings.load("console"), scope))
    if as_json:
        named: dict[str, Any] = {"provider": provider} if provider else {"source": source} if source else {"all": True}
        typer.echo(json.dumps(named | {"resumed": reason is not None, "paused_because": reason}))
    elif reason is None:
        typer.echo("There was no pause of all providers." if of_all else f"{scope} was not paused.")
    elif source:
        typer.echo(f"Questions that {source} pays for are asked again. They were paused: {reason}")
    elif of_all:
        typer.echo(f"All providers are asked again. They were paused: {reason}")
    else:
        typer.echo(f"{scope} is asked again. It was paused: {reason}")
    raise typer.Exit(0 if reason is not None else 1)


async def _resume(settings: Settings, scope: Scope) -> str | None:
    """Remove the pauses; return why it was paused, None if it was not."""
    from console.database import connected, embedded_exists
    from console.who import user
    from store import audit, providers
    from store.migrations import require_current
    from store.pauses import remove_pause_of

    if not embedded_exists(settings):
        return None
    async with connected(settings) as connection:
        await require_current(connection)
        reasons = []
        async with connection.transaction():
            if scope.provider is not None:
                known = await providers.find_providers(connection)
                if await providers.resume(connection, scope.provider):
                    reasons.append(known[scope.provider])
                    await audit.record(connection, who=user(), action="resume", subject=scope.provider)
            if pause := await remove_pause_of(connection, scope, who=user()):
                reasons.append(f"{pause['reason']} ({pause['who']})")
    return "; ".join(filter(None, reasons)) or None
