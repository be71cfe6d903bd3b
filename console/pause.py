"""`ringback pause`: stop paid questions, of all providers, of one, or those that one source pays for."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.completing import complete_providers, complete_sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enrichment.settings import Settings
    from store.pauses import Scope

LONGEST_REASON = 500  # characters


def pause(
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: others will see it.")],
    provider: Annotated[
        str | None,
        typer.Option("--provider", metavar="NAME", help="Only this provider.", autocompletion=complete_providers),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="Only what it pays for.", autocompletion=complete_sources),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Stop paid questions within a second, in every process.

    Polls, callbacks and deliveries go on, and events are still taken in: their lookups are held, and go on by
    themselves after `ringback resume`. Without --provider and --source, no provider is asked anything that costs
    credits. Exit code 1 if the same is paused already.

    \b
      ringback pause --reason "wrong list imported"
      ringback pause --source hubspot --reason "wrong list imported"
      ringback status
    """
    from enrichment.settings import Settings

    scope = read_scope(provider, source)
    made = asyncio.run(_pause(Settings.load("console"), scope, _read_reason(reason)))
    if as_json:
        told: dict[str, Any] = {"provider": provider, "source": source, "paused": made}
        typer.echo(json.dumps(told))
    elif made:
        typer.echo(f"Paused: {scope}. To let go: ringback resume {resume_option(scope)}")
    else:
        typer.echo(f"Paused before: {scope}. `ringback status` says by whom, and why.")
    raise typer.Exit(0 if made else 1)


def _read_reason(reason: str) -> str:
    from enrichment.texts import Unusable, tidy

    try:
        tidied = tidy(reason)
    except Unusable as error:
        raise typer.BadParameter(str(error), param_hint="--reason") from None
    if not 1 <= len(tidied) <= LONGEST_REASON:
        raise typer.BadParameter(f"1 to {LONGEST_REASON} characters", param_hint="--reason")
    return tidied


def read_scope(provider: str | None, source: str | None) -> Scope:
    """Return the scope that the options name. Raise NotRunning for unknown names, and BadParameter for both options."""
    from enrichment.settings import PROVIDER_NAMES, SOURCE_NAMES
    from store.pauses import Scope

    if provider is not None and source is not None:
        raise typer.BadParameter("one of --provider and --source", param_hint="--source")
    require_known("provider", provider, PROVIDER_NAMES)
    require_known("source", source, SOURCE_NAMES)
    return Scope(provider, source)


def require_known(kind: str, name: str | None, known: Sequence[str]) -> None:
    """Raise NotRunning if *name* is given and is not in *known*."""
    from rig.processes import NotRunning

    if name is not None and name not in known:
        raise NotRunning(f"No {kind} is called {name!r}. Remedy: --{kind} with one of: {', '.join(known)}")


def resume_option(scope: Scope) -> str:
    """Return the option of `ringback resume` for this pause."""
    if scope.provider is not None:
        return f"--provider {scope.provider}"
    return f"--source {scope.source}" if scope.source is not None else "--all"


async def _pause(settings: Settings, scope: Scope, reason: str) -> bool:
    """Pause; return False if the same is paused already."""
    from console.database import connected
    from console.who import user
    from store.migrations import require_current
    from store.pauses import add_pause

    async with connected(settings) as connection:
        await require_current(connection)
        async with connection.transaction():
            return await add_pause(connection, scope, reason=reason, who=user()) is not None
