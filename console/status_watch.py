"""`ringback status --watch`: the same report again and again, also while the database is away."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from console.status import Report, duration, jsonable, read_report, views
from store import embedded
from store.database import DatabaseDown, WrongDatabase

if TYPE_CHECKING:
    from rich.console import Group

    from enrichment.settings import Settings

ASLEEP = "The embedded PostgreSQL does not run. Remedy: `ringback up`, or DATABASE_URL."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one look found. *report*: the last one there was; *away_since*: since when there has been none, and why."""

    at: datetime
    report: Report | None
    away_since: datetime | None = None
    why: str | None = None


async def watch(settings: Settings, every: float, *, as_json: bool) -> None:
    """Show a snapshot *every* so many seconds, for ever. Raise WrongDatabase and SchemaError."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    last = Snapshot(datetime.now(UTC), None)
    in_place = console.is_terminal and not as_json
    with Live(console=console, auto_refresh=False) if in_place else nullcontext() as live:
        while True:
            last = await look(last, lambda: _report(settings))
            if as_json:
                sys.stdout.write(json.dumps(shown(last)) + "\n")
                sys.stdout.flush()
            elif live is not None:
                live.update(drawn(last), refresh=True)
            else:
                console.print(drawn(last))
            await asyncio.sleep(every)


async def look(last: Snapshot, read: Callable[[], Awaitable[Report]]) -> Snapshot:
    """Take the next snapshot after *last*. Raise WrongDatabase, unless the database was there before."""
    now = datetime.now(UTC)
    try:
        return Snapshot(now, await read())
    except DatabaseDown as error:
        # After a failover, a server that was right may refuse us for a while.
        if isinstance(error, WrongDatabase) and last.report is None:
            raise
        return Snapshot(now, last.report, last.away_since or now, str(error))


async def _report(settings: Settings) -> Report:
    """Read the report; start no embedded server for it, which would be stopped after each look."""
    if settings.database_url is None and not embedded.runs(settings.ringback_home):
        raise DatabaseDown(ASLEEP)
    return await read_report(settings)


def shown(snapshot: Snapshot) -> dict[str, Any]:
    """Return the snapshot for programs; while the database is away, without the report."""
    told: dict[str, Any] = {"at": _time(snapshot.at), "away_since": None}
    if snapshot.away_since is not None:
        return told | {"away_since": _time(snapshot.away_since), "why": snapshot.why}
    return told | (jsonable(snapshot.report) if snapshot.report else {})


def drawn(snapshot: Snapshot) -> Group:
    """Return the snapshot for people."""
    from rich.console import Group
    from rich.text import Text

    head = Text(f"{snapshot.at.astimezone():%H:%M:%S}, Ctrl-C ends", style="dim")
    if snapshot.away_since is not None:
        away = (
            f"{duration((snapshot.at - snapshot.away_since).total_seconds())}, since {snapshot.away_since:%H:%M:%S} UTC"
        )
        head = Text(f"The database is away: {away}. {snapshot.why}", style="red")
    return Group(head, *(views(snapshot.report) if snapshot.report else ()))


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
