"""python -m chaos.attacks: attack a receiver in each known way, and say what it and its other clients felt."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chaos.attacks.ground import database_server
from chaos.attacks.rows import ROWS, Seen, each
from rig.signals import INTERRUPTED, run_until_interrupted


def main(
    attacks: Annotated[list[str] | None, typer.Argument(help=f"Which: {', '.join(ROWS)}; all.")] = None,
    *,
    checkout: Annotated[
        Path | None, typer.Option(exists=True, help="Attack the receiver of another checkout, for comparison.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--json", help="Write the results there as well.")] = None,
) -> None:
    """Attack a receiver in each known way, beside genuine events.

    Each attack has a receiver and a database of its own, without a proxy in front. Exits with 1 if one of them did
    more harm than it may.

    \b
      make attacks
      python -m chaos.attacks pipelining-40 garbage
    """
    if unknown := set(attacks or ()) - set(ROWS):
        raise typer.BadParameter(f"no such attack: {', '.join(sorted(unknown))}; there are: {', '.join(ROWS)}")
    console = Console(width=None if sys.stdout.isatty() else 180)
    results = run_until_interrupted(_attack(list(attacks or ROWS), checkout, console))
    if results is None:
        console.print("Interrupted; everything that was started has been stopped.")
        sys.exit(INTERRUPTED)
    console.print(_table(results))
    if to is not None:
        to.write_text(json.dumps([one.as_json() for one in results], indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if all(one.holds for one in results) else 1)


async def _attack(names: list[str], checkout: Path | None, console: Console) -> list[Seen]:
    results = []
    with database_server() as server:
        async for one in each(names, server, checkout):
            results.append(one)
            console.print(f"{one.attack}: {'held' if one.holds else 'BROKEN'}; {one.seen}", highlight=False)
            await asyncio.sleep(0)
    return results


def _table(results: list[Seen]) -> Table:
    table = Table("attack", "MB before, most, after", "genuine before", "meanwhile", "seen", "right", "held")
    for one in results:
        memory = " / ".join(f"{level:.0f}" for level in one.memory)
        held = "yes" if one.holds else "NO"
        table.add_row(one.attack, memory, one.before, one.meanwhile, one.seen, one.right, held)
    return table


if __name__ == "__main__":
    typer.run(main)
