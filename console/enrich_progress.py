"""The progress of `ringback enrich`, and why it waits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from store.campaign_asking import Waiting
from store.campaigns import Campaign

STILL = 15.0  # seconds without an answer, until the reason is said
TOLD_EVERY = 30.0  # seconds between two lines where there is no terminal

HELD = {
    "budget": "the budget of {provider} is used up: they go on when it returns, or when you raise it",
    "paused": "{provider} is paused: `ringback status` says why",
    "flood": "the flood guard holds them: `ringback release` lets them go on",
    "brake": "the brake is on: `ringback resume` lets go of it",
    "restored": "they may have been paid for before the database was restored: `ringback release`",
}
NOT_ASKED = (
    "nothing is asked. Do the processes run? Start them with `ringback up`; `ringback doctor` says what is wrong"
)
DATABASE = "PostgreSQL does not answer"
AWAITED = "{provider} has yet to answer"


class Watch:
    """Shows how far a campaign is: as a bar on a terminal, else as a line now and then."""

    def __init__(self, campaign: Campaign, *, err: bool) -> None:
        self._err = err
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(), TimeRemainingColumn(),
            console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self._state = campaign.state
        self._task = self._progress.add_task(campaign.state, total=self._total(campaign), words="")
        self._moved_at: float | None = None
        self._told_at: float | None = None
        self._seen: tuple[int, ...] = ()
        self._why = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, campaign: Campaign, waiting: Sequence[Waiting], now: float) -> None:
        """Show where the campaign is *now*, and once why it waits, if nothing has moved for a while."""
        if campaign.state != self._state:
            return
        done = campaign.read_to if campaign.state == "reading" else campaign.ended
        words = "" if campaign.state == "reading" else progress_words(campaign)
        self._progress.update(self._task, completed=done, words=words)
        seen = (campaign.read_to, campaign.begun, campaign.ended)
        if seen != self._seen or self._moved_at is None:
            self._seen, self._moved_at, self._why = seen, now, ""
        elif now - self._moved_at > STILL:
            self._say_why(why_it_waits(waiting))
        if self._progress.disable and (self._told_at is None or now - self._told_at > TOLD_EVERY):
            if self._told_at is not None:
                typer.echo(f"{campaign.state}: {done:,} rows; {words}".removesuffix("; "), err=self._err)
            self._told_at = now

    def away(self) -> None:
        """Say once that the database is away."""
        self._say_why(DATABASE)

    def _say_why(self, why: str) -> None:
        if why and why != self._why:
            self._why = why
            self._progress.console.print(f"Waiting: {why}.", markup=False, highlight=False)

    @staticmethod
    def _total(campaign: Campaign) -> int | None:
        return {"reading": None, "sampling": campaign.sample}.get(campaign.state, campaign.usable)


def progress_words(campaign: Campaign) -> str:
    """Write what was found, and what it cost."""
    return (
        f"{campaign.found:,} found, {campaign.ended - campaign.found:,} not, {campaign.credits:,.2f} credits".replace(
            ".00 ", " "
        )
    )


def why_it_waits(waiting: Sequence[Waiting]) -> str:
    """Say why nothing has ended for a while: what holds most lookups, first of all what a person can change."""
    held = [one for one in waiting if one.held]
    if held:
        most = max(held, key=lambda one: one.lookups)
        return f"{most.lookups:,} lookups are held; " + HELD[most.held or ""].format(provider=most.provider)
    asked = [one for one in waiting if one.state in ("submitting", "awaiting")]
    if asked:
        return AWAITED.format(provider=max(asked, key=lambda one: one.lookups).provider)
    return NOT_ASKED if waiting else ""
