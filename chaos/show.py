"""The display of a run: on a terminal a table that is kept up to date, elsewhere a line now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

REDRAW = 0.5  # seconds, on a terminal
LINE_EVERY = 5.0  # seconds, elsewhere


@dataclass(slots=True)
class View:
    """The state of the run."""

    phase: str
    faults: list[str] = field(default_factory=list)
    accepted: int = 0
    waiting: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)
    charges: Mapping[str, str] = field(default_factory=dict)

    @property
    def final(self) -> int:
        """Count the lookups that have ended."""
        return sum(count for status, count in self.by_status.items() if status != "open")


async def show(console: Console, look: Callable[[], View]) -> None:
    """Show the state of the run until cancelled."""
    begun = time.monotonic()
    if not console.is_terminal:
        while True:
            await asyncio.sleep(LINE_EVERY)
            console.print(_line(look(), time.monotonic() - begun), soft_wrap=True, highlight=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_table(look(), time.monotonic() - begun), refresh=True)
            await asyncio.sleep(REDRAW)


def _line(view: View, seconds: float) -> str:
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(view.by_status.items()))
    return (
        f"{seconds:5.0f} s  {view.phase}: {view.accepted} accepted, {view.waiting} on their way, {view.final} final"
        f" ({statuses}); in force: {', '.join(view.faults) or 'nothing'}"
    )


def _table(view: View, seconds: float) -> Table:
    table = Table(title=f"{view.phase}, {seconds:.0f} s", show_header=False, min_width=72)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("in force", "\n".join(view.faults) or "nothing")
    table.add_row("accepted", f"{view.accepted}   ({view.waiting} on their way)")
    table.add_row("final", str(view.final))
    table.add_row("by status", "   ".join(f"{status} {count}" for status, count in sorted(view.by_status.items())))
    table.add_row("charged", "   ".join(f"{name} {told}" for name, told in view.charges.items()))
    return table
