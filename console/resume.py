"""`ringback resume`: end by hand a pause that a provider's account caused."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Collection

    from enrichment.settings import Settings


def resume(
    *,
    provider: Annotated[str, typer.Option("--provider", metavar="NAME", help="The paused provider.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Ask a provider again that was paused because its account could not be used.

    A paused provider is resumed by itself once its free endpoint says that it is well. Use this when you have mended
    the account and do not want to wait, or when the endpoint is wrong. If the account still cannot ask, the next
    question pauses the provider again. Exit code 1 if it was not paused.

    \b
      ringback status
      ringback resume --provider nyne
    """
    from enrichment.settings import Settings

    reason = asyncio.run(_resume(Settings.load("console"), provider))
    if as_json:
        typer.echo(json.dumps({"provider": provider, "resumed": reason is not None, "paused_because": reason}))
    elif reason is None:
        typer.echo(f"{provider} was not paused.")
    else:
        typer.echo(f"{provider} is asked again. It was paused: {reason}")
    raise typer.Exit(0 if reason is not None else 1)


async def _resume(settings: Settings, name: str) -> str | None:
    """Let go of the pause; return why the provider was paused, None if it was not."""
    from console.database import connected, embedded_exists
    from enrichment.settings import PROVIDER_NAMES
    from store import providers
    from store.migrations import require_current

    if not embedded_exists(settings):
        _require_known(name, PROVIDER_NAMES)
        return None
    async with connected(settings) as connection:
        await require_current(connection)
        known = await providers.find_providers(connection)
        _require_known(name, known)
        return known[name] if await providers.resume(connection, name) else None


def _require_known(name: str, known: Collection[str]) -> None:
    from rig.processes import NotRunning

    if name not in known:
        names = ", ".join(known) or "none; start the submitter once"
        raise NotRunning(f"No provider is called {name!r}. Remedy: --provider with one of: {names}")
