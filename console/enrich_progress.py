"""The progress of `ringback enrich`, and why it waits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from enrichment.campaign_waits import Waiting, why_it_waits
from store.campaigns import Campaign

STILL = 15.0  # seconds without an answer, until the reason is said
TOLD_EVERY = 30.0  # seconds between two lines where there is no terminal

DATABASE = "PostgreSQL does not answer"


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
