"""python -m chaos: ten minutes of chaos, then a check of the promises."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chaos import report
from chaos.drill import Drill, Order
from rig.signals import INTERRUPTED, run_until_interrupted

SHORT_SECONDS = 28.0  # of load and faults; start, settling and checks take as long again


def chaos(
    *,
    minutes: Annotated[float | None, typer.Option(min=0.5, envvar="MINUTES", help="Of load and faults; 10.")] = None,
    seed: Annotated[int | None, typer.Option(envvar="SEED", help="Of the schedule and the crowd; any.")] = None,
    lookups: Annotated[
        int | None, typer.Option(min=1, envvar="LOOKUPS", help="At most so many; without it, as many as time allows.")
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="Lookups asked for a second.")] = 100.0,
    report_folder: Annotated[
        Path | None, typer.Option("--report", help="For report and logs; build/chaos-SEED.")
    ] = None,
    standby: Annotated[
        bool,
        typer.Option("--standby", envvar="STANDBY", help="With a synchronous standby, which dies and is promoted."),
    ] = False,
    short: Annotated[bool, typer.Option("--short", help="A minute in all, every kind of fault once.")] = False,
) -> None:
    """Break everything around Ringback while it works, then check its promises from outside.

    Exits with 1 if one of them was broken. The same SEED draws the same faults and the same crowd.

    \b
      make chaos MINUTES=3 SEED=7
    """
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    if minutes is None:
        minutes = SHORT_SECONDS / 60 if short else 10 if lookups is None else max(0.5, lookups / rate / 60)
    folder = report_folder or Path("build") / f"chaos-{chosen}"
    console = Console()
    console.print(f"seed {chosen}; report and logs go to {folder}", highlight=False)
    order = Order(chosen, minutes * 60, rate, folder, short=short, lookups=lookups, standby=standby)
    run = run_until_interrupted(Drill(order, console).run())
    if run is None:
        console.print("Interrupted; everything that was started has been stopped.")
        sys.exit(INTERRUPTED)
    console.print(report.as_text(run), highlight=False, soft_wrap=True, markup=False)
    sys.exit(0 if run.holds else 1)


if __name__ == "__main__":
    typer.run(chaos)
