"""`ringback demo`: two hundred events, and an account of every one."""

from __future__ import annotations

from typing import Annotated

import typer

from console.demo.cast import FEWEST


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it all running until Ctrl-C, to try by hand.")] = False,
    events: Annotated[int, typer.Option(min=FEWEST, max=5000, help="How many CRM events come in.")] = 200,
    seed: Annotated[int, typer.Option(help="Who comes, and what happens to them; the same for the same seed.")] = 7,
) -> None:
    """Play it all against pretend vendors, on this machine, in a minute; no keys needed.

    PostgreSQL, LeadMagic, Nyne, receiver, submitter and reconciler run as separate processes for the moment.
    Events come in, some twice; callbacks come, come twice, come forged, or never. Then every lookup is compared
    with the vendors' own books. Exit code 0: all is as they say; 1: something differs, and it says what.

    \b
      ringback demo
      ringback demo --keep --events 1000
    """
    from console.demo.play import play
    from rig.signals import run_until_interrupted

    code = run_until_interrupted(play(events=events, seed=seed, keep=keep))
    if code is None:
        typer.echo("Called off; everything has been tidied up.")
    raise typer.Exit(1 if code is None else code)
