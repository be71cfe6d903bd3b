"""python -m chaos.soak: half an hour of steady work, and whether memory, tables or queues grow meanwhile."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chaos.soak import report
from chaos.soak.run import Order, Run, soak
from chaos.soak.show import showing
from rig.processes import NotRunning
from rig.signals import INTERRUPTED, run_until_interrupted


def main(
    *,
    minutes: Annotated[float, typer.Option(min=0.05, envvar="MINUTES", help="Of load.")] = 30,
    rate: Annotated[float, typer.Option(min=1, envvar="RATE", help="Events a second.")] = 100,
    seed: Annotated[int | None, typer.Option(envvar="SEED", help="Of the events; any.")] = None,
    receivers: Annotated[int, typer.Option(min=1, max=2, help="How many receivers.")] = 2,
    report_folder: Annotated[
        Path | None, typer.Option("--report", help="For report and logs; build/soak-SEED.")
    ] = None,
) -> None:
    """Give Ringback steady work, look at it every few seconds, and judge whether anything grows.

    Exits with 1 if something grew that should not, or did not end. Less than six minutes are too short to judge
    growth, less than fifteen to judge WAL; whether everything ended is judged all the same.

    \b
      make soak MINUTES=10 RATE=50 SEED=7
    """
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = report_folder or Path("build") / f"soak-{chosen}"
    console = Console()
    console.print(f"seed {chosen}; report and logs go to {folder}", highlight=False)
    order = Order(chosen, minutes * 60, rate, receivers, folder)
    try:
        run = run_until_interrupted(_shown(order, console))
    except NotRunning as error:
        console.print(f"A process did not run as it should: {error}", highlight=False, markup=False)
        sys.exit(1)
    if run is None:
        console.print("Interrupted; everything that was started has been stopped.")
        sys.exit(INTERRUPTED)
    console.print(report.write(run), highlight=False, soft_wrap=True, markup=False)
    sys.exit(0 if run.holds else 1)


async def _shown(order: Order, console: Console) -> Run:
    with showing(console, order.seconds) as show:
        return await soak(order, show)


if __name__ == "__main__":
    typer.run(main)
