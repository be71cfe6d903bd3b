"""`ringback up`: every process on this machine, kept running, stopped in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from enrichment.settings import Settings


def up(
    *,
    host: Annotated[str | None, typer.Option(help="Address the receiver listens on, instead of HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Its port, instead of PORT.")] = None,
) -> None:
    """Run receiver, submitter and reconciler on this machine until Ctrl-C.

    Without DATABASE_URL they share an embedded PostgreSQL under RINGBACK_HOME. A process that dies is started
    again. Ctrl-C or SIGTERM drains: open questions are answered and stored first; a second Ctrl-C stops at once.

    \b
      API_TOKENS=... LEADMAGIC_API_KEY=... NYNE_API_KEY=... NYNE_API_SECRET=... ringback up --port 8000
    """
    from console.machine import Machine
    from rig.processes import NotRunning

    settings = _load(host, port)
    try:
        asyncio.run(Machine(settings).run())
    except* NotRunning as errors:
        raise errors.exceptions[0] from None


def _load(host: str | None, port: int | None) -> Settings:
    """Load the settings of all processes, or raise one SettingsError with every problem of any of them."""
    import os

    from enrichment.settings import Settings, SettingsError

    os.environ |= {name: str(value) for name, value in (("HOST", host), ("PORT", port)) if value is not None}
    problems: dict[str, None] = {}
    for role in ("receiver", "submitter"):
        try:
            settings = Settings.load(role)
        except SettingsError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise SettingsError(list(problems))
    return settings
