"""One run of `ringback enrich`: from wherever the file's campaign is to its end, a stop, or a question to a person."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg

from console import enrich_report as report
from console.enrich_progress import Watch
from console.who import user
from enrichment.files.known import KnownFile
from enrichment.files.table import FileProblem, Table
from enrichment.garbage import collect_rarely
from enrichment.providers import build_providers
from enrichment.settings import Settings
from store import campaign_asking, campaign_reading, campaigns, notify
from store.campaign_results import write_results
from store.campaign_work import CampaignFile, CampaignWork
from store.campaigns import STOPPED, Campaign
from store.database import UNREACHABLE
from store.installation import Installation

LOOK_EVERY = 0.2  # seconds between two looks while lookups are on their way
AWAY = 2.0  # seconds between two tries while the database is away
UNDER_WAY = ("reading", "sampling", "running")
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REASONS = 10  # that are shown, why rows cannot be used


@dataclass(frozen=True, slots=True)
class Manner:
    """The options of the command."""

    sample: int
    max_credits: Decimal | None
    output: Path
    anew: bool
    dry_run: bool
    yes: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file, how to read it, and what its columns hold."""

    path: Path
    known: KnownFile
    table: Table
    columns: dict[str, str]
    manner: Manner


class Run:
    """The run."""

    def __init__(self, pool: asyncpg.Pool[Any], settings: Settings, wanted: Wanted) -> None:
        self._pool = pool
        self._settings = settings
        self._wanted = wanted
        self._manner = wanted.manner
        self._stop = asyncio.Event()

    async def to_its_end(self) -> dict[str, object]:
        """Take the campaign as far as it goes now; return the summary."""
        collect_rarely()  # each row makes hundreds of objects, and no cycle
        self._listen()
        campaign = await self._open()
        policy = await Installation(self._pool, self._settings).policy()
        wanted = self._wanted
        file = CampaignFile(wanted.path, wanted.table, wanted.columns, wanted.known.check)
        work = CampaignWork(self._pool, campaign.id, file, policy, build_providers(self._settings))
        shown = None
        while not self._stop.is_set():
            campaign = await self._find(campaign)
            if campaign.state in (UNDER_WAY[:1] if self._manner.dry_run else UNDER_WAY):
                await self._drive(work, campaign)
            elif campaign.state == shown or not await self._decide(campaign):
                break
            else:
                shown = campaign.state
        return await self._ended(await self._find(campaign))

    async def _open(self) -> Campaign:
        """Return the file's campaign; one that was stopped, or whose command was killed, goes on."""
        wanted, manner = self._wanted, self._manner
        digest = wanted.known.digest(wanted.table.sheet or "")
        campaign = await campaigns.open_campaign(
            self._pool,
            name=_text(wanted.path.name),
            who=user(),
            digest=digest,
            mapping=wanted.columns,
            anew=manner.anew,
        )
        if campaign.begun:
            report.resumed(campaign, err=manner.as_json)
        may_ask = not manner.dry_run
        if may_ask and (campaign.state == "stopped" or manner.max_credits is not None):
            await campaigns.go_on(self._pool, campaign.id, most=manner.max_credits, who=user())
        elif campaign.state == "stopped" and campaign.approved_credits is None:  # while its rows were counted
            await campaigns.go_on(self._pool, campaign.id, most=None, who=user())
        return campaign

    async def _decide(self, campaign: Campaign) -> bool:
        """Take the step that a person takes in this state. Return False if there is none, or it was declined."""
        match campaign.state:
            case "read":
                await self._show_counts(campaign)
                if self._manner.dry_run:
                    return False
                if not (self._manner.sample and campaign.fresh):
                    return await self._approve(campaign)
                return await campaigns.begin_sample(
                    self._pool, campaign.id, size=self._manner.sample, most=self._manner.max_credits, who=user()
                )
            case "quoted":
                report.quoted(campaign, err=self._manner.as_json)
                return not self._manner.dry_run and await self._approve(campaign)
            case _:
                return False

    async def _approve(self, campaign: Campaign) -> bool:
        """Ask the person, unless the rest is free."""
        rest = await campaign_asking.most_left(self._pool, campaign.id)
        most = campaign.credits + rest
        if self._manner.max_credits is not None:
            most = min(most, self._manner.max_credits)
        if rest and not self._manner.yes and not self._ask(campaign, most):
            return False
        return await campaigns.approve(self._pool, campaign.id, most=most, who=user())

    def _ask(self, campaign: Campaign, most: Decimal) -> bool:
        """Ask the person at the terminal; a signal ends the command there at once."""
        for number in STOPS:
            asyncio.get_running_loop().remove_signal_handler(number)
        try:
            return report.ask(campaign, most, self._wanted.path, self._manner.as_json)
        finally:
            self._listen()

    def _listen(self) -> None:
        """Let Ctrl-C, the end of a session and a polite kill stop cleanly; `nohup` goes on without its terminal."""
        for number in STOPS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._stop.set)

    async def _drive(self, work: CampaignWork, campaign: Campaign) -> None:
        """Work until the campaign leaves its state, or a person stops it."""
        state = campaign.state
        with Watch(campaign, err=self._manner.as_json) as watch:
            while campaign.state == state and not self._stop.is_set():
                try:
                    step = await work.advance()
                    campaign = await self._find(campaign)
                    if step.moved and state != "reading":
                        await notify.hint(self._pool)
                except UNREACHABLE:  # what was not committed is done again
                    watch.away()
                    await self._pause(AWAY)
                    continue
                watch.show(campaign, step.waiting, time.monotonic())
                if not step.moved:
                    await self._pause(LOOK_EVERY)

    async def _show_counts(self, campaign: Campaign) -> None:
        reasons = await campaign_reading.reasons(self._pool, campaign.id, REASONS)
        report.counted(campaign, [(row["reason"], row["rows"]) for row in reasons], err=self._manner.as_json)

    async def _ended(self, campaign: Campaign) -> dict[str, object]:
        """Stop what is under way, write the file of what is done, and say what to do next."""
        if self._stop.is_set() and campaign.state in UNDER_WAY:
            await campaigns.stop(self._pool, campaign.id, STOPPED)
            campaign = await self._find(campaign)
        output = None
        is_over = campaign.state == "done" or (campaign.state == "stopped" and not self._stop.is_set())
        if is_over and not self._manner.dry_run:
            output = await self._write(campaign)
        report.ended(campaign, output, dry_run=self._manner.dry_run, err=self._manner.as_json)
        return report.summary(campaign, output)

    async def _write(self, campaign: Campaign) -> Path | None:
        """Write the enriched file, and return its path. If it cannot be written, say why and return None."""
        wanted, output = self._wanted, self._manner.output
        try:
            await write_results(self._pool, campaign.id, wanted.path, wanted.table, output, wanted.known.check)
        except FileProblem as problem:
            report.not_written(output, str(problem))
        except OSError as error:
            report.not_written(output, error.strerror or type(error).__name__)
        else:
            return output
        return None

    async def _find(self, campaign: Campaign) -> Campaign:
        found = await campaigns.find(self._pool, campaign.id)
        return found or campaign

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return


def _text(name: str) -> str:
    """Return a file's name as text that a database takes: on disk it may hold any bytes."""
    return os.fsencode(name).decode("utf-8", "replace")
