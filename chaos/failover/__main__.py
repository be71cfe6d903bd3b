"""python -m chaos.failover: primaries and standbys die under load, round after round."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chaos.failover import report
from chaos.failover.drill import Order, drill
from chaos.failover.rounds import KINDS
from rig.firewall import own_network
from rig.signals import INTERRUPTED, run_until_interrupted


def failover(
    *,
    rounds: Annotated[
        int, typer.Option(min=1, envvar="ROUNDS", help="Of each kind; the slow ones come every fourth time.")
    ] = 20,
    kind: Annotated[list[str] | None, typer.Option(help="Only these kinds of rounds.")] = None,
    seed: Annotated[int | None, typer.Option(envvar="SEED", help="Of the events; any.")] = None,
    rate: Annotated[float, typer.Option(min=1, envvar="RATE", help="Lookups asked for a second.")] = 25.0,
    report_folder: Annotated[
        Path | None, typer.Option("--report", help="For report and logs; build/failover-SEED.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Kill primaries and standbys under load, and measure how long it takes until everything works again.

    Exits with 1 if something acknowledged was lost, paid for twice, or never became final.

    \b
      make failover ROUNDS=5 SEED=7
    """
    if unknown := [name for name in kind or () if name not in KINDS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(KINDS)}")
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = report_folder or Path("build") / f"failover-{chosen}"
    progress = Console(stderr=True)
    progress.print(f"seed {chosen}; report and logs go to {folder}", highlight=False)
    drops = own_network()
    if not drops:
        progress.print("No packet can be dropped here: what is cut off is only played by a proxy.")
    order = Order(chosen, rounds, kind or list(KINDS), rate, folder, drops)
    run = run_until_interrupted(drill(order, lambda line: progress.print(line, highlight=False)))
    if run is None:
        progress.print("Interrupted; everything that was started has been stopped.")
        sys.exit(INTERRUPTED)
    found, text = json.dumps(report.as_json(run), indent=1), report.as_text(run)
    (folder / "report.json").write_text(found)
    (folder / "report.txt").write_text(text)
    sys.stdout.write(f"{found if as_json else text}\n")
    sys.exit(0 if run.holds else 1)


if __name__ == "__main__":
    typer.run(failover)
