"""`ringback demo`: run two hundred events and the contacts of a CRM, and account for every one."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from console.demo.cast import FEWEST


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Keep it running until Ctrl-C, to try by hand.")] = False,
    events: Annotated[int, typer.Option(min=FEWEST, max=5000, help="How many CRM events come in.")] = 200,
    crm: Annotated[
        Literal["hubspot"] | None, typer.Option(help="Play only the contacts of this CRM, and show each of them.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the people and of what happens to them.")] = 7,
) -> None:
    """Run everything against pretend vendors, on this machine, in a minute; no keys needed.

    PostgreSQL, LeadMagic, Nyne, HubSpot, receiver, submitter and reconciler run as separate, temporary processes.
    Events come in, some twice; contacts are created in HubSpot, and their numbers written back; callbacks come,
    come twice, come forged, or never. Then every lookup and contact is compared with the vendors' own books.
    Exit code 0: they agree; 1: something differs, and the output says what.

    \b
      ringback demo
      ringback demo --crm hubspot
      ringback demo --keep --events 1000
    """
    from console.demo.play import play
    from rig.signals import run_until_interrupted

    code = run_until_interrupted(play(events=0 if crm else events, seed=seed, keep=keep))
    if code is None:
        typer.echo("Interrupted; everything has been tidied up.")
    raise typer.Exit(1 if code is None else code)
