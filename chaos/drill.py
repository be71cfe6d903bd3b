"""One run from beginning to end: build the world, break it, let it settle, gather the evidence, judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from chaos import plan, report
from chaos.check_crm import (
    contacts_have_their_numbers,
    hubspot_is_not_flooded,
    no_value_of_people_is_lost,
    nothing_goes_round,
)
from chaos.check_kept import callbacks_are_kept, events_are_kept, work_is_taken_over
from chaos.check_paid import no_question_is_repeated, the_books_agree
from chaos.check_results import results_are_delivered
from chaos.check_rights import people_are_left_alone
from chaos.check_truth import everything_is_true, no_forgery_is_believed
from chaos.crm import Crm
from chaos.crowd import Crowd
from chaos.database import let_minutes_pass
from chaos.evidence import Evidence
from chaos.gather import Api, Silent, gather, nothing_is_open
from chaos.journal import Happened, Journal
from chaos.nights import nights
from chaos.show import View, show
from chaos.surprises import surprises
from chaos.vendors import Json
from chaos.verdict import Verdict
from chaos.watch import Watch
from chaos.world import SHORT_TERMS, Terms, World, running
from rig.settings import TOKEN

CHECKS = (
    events_are_kept,
    callbacks_are_kept,
    no_question_is_repeated,
    the_books_agree,
    everything_is_true,
    no_forgery_is_believed,
    work_is_taken_over,
    contacts_have_their_numbers,
    no_value_of_people_is_lost,
    results_are_delivered,
    nothing_goes_round,
    people_are_left_alone,
    hubspot_is_not_flooded,
)
QUIET = 2.0  # seconds without anything open, after which the work is done
PASSING = 5.0  # seconds between two times that all waiting tries are made due


@dataclass(slots=True)
class Order:
    """The kind of run that is wanted."""

    seed: int
    seconds: float
    rate: float
    folder: Path
    short: bool = False
    lookups: int | None = None
    standby: bool = False

    @property
    def patience(self) -> float:
        """Return the seconds within which everything must be final once the faults are over."""
        return 100.0 if self.short else 600.0


@dataclass(slots=True)
class Drill:
    """One run."""

    order: Order
    console: Console
    journal: Journal = field(default_factory=Journal)
    phase: str = "starting"
    charges: dict[str, str] = field(default_factory=dict)
    accepted: list[tuple[float, int]] = field(default_factory=list)

    async def run(self) -> report.Run:
        """Run everything, stop all processes, write the report and return it."""
        order = self.order
        terms = SHORT_TERMS if order.short else Terms()
        async with running(terms, order.folder, order.seed, order.rate, standby=order.standby) as world:
            watch, crm = Watch(world.postgres), world.crm
            async with _beside(
                watch.run(), show(self.console, lambda: self._view(watch, crm)), self._count(world, crm)
            ):
                try:
                    return await self._run(world, watch, crm)
                finally:
                    await crm.close()

    async def _run(self, world: World, watch: Watch, crm: Crm) -> report.Run:
        order, begun = self.order, time.time()
        self.phase = "chaos"
        faults = plan.draw(order.seed, order.seconds, short=order.short, standby=order.standby)
        await asyncio.gather(
            crm.run(Crowd(order.seed, order.rate), seconds=order.seconds, lookups=order.lookups),
            world.contacts.run(order.seconds),
            self.journal.carry_out(world, faults, lambda one, where: _note_kill(one, where, watch)),
            nights(world.postgres, order.seconds if world.variant.nights else 0.0),
        )
        load, self.phase = time.time() - begun, "settling"
        await world.calm()
        calm = time.time()
        await self._settle(world, watch, crm, calm)
        settled, self.phase = time.time() - calm, "checking"
        verdicts = await self._judge(world, watch, crm)
        run = report.Run(
            seed=order.seed, variant=world.variant.words(),
            begun=begun, load=load, settled=settled, journal=self.journal, verdicts=verdicts,
            accepted=self.accepted, ended=[(sample.at, sample.final) for sample in watch.samples],
            crm=crm.answers, surprises=surprises(world, crm),
        )  # fmt: skip
        report.write(run, order.folder)
        return run

    async def _settle(self, world: World, watch: Watch, crm: Crm, calm: float) -> None:
        """Wait until everything is final and nothing is on its way, or until patience ends; the checks then say so."""
        api = Api(world.url, TOKEN)
        quiet_since: float | None = None
        try:
            async with asyncio.timeout(self.order.patience):
                await crm.finish(self.order.patience)
                # By then HubSpot's search sees the last change, which perhaps no event reported.
                while watch.swept_to < calm + world.terms.index_lag[1]:
                    await asyncio.sleep(0.3)
                passed = 0.0
                while quiet_since is None or time.monotonic() - quiet_since < QUIET:
                    if time.monotonic() - passed > PASSING:
                        await let_minutes_pass(world.postgres)
                        passed = time.monotonic()
                    is_quiet = await self._is_quiet(world, watch, api)
                    quiet_since = (quiet_since or time.monotonic()) if is_quiet else None
                    await asyncio.sleep(0.3)
        except TimeoutError:
            self.console.print("Not everything settled in time; the checks say what did not.")
        finally:
            await api.close()

    async def _is_quiet(self, world: World, watch: Watch, api: Api) -> bool:
        if watch.following:
            return False
        try:
            if (await world.hubspot.stats())["webhooks_pending"]:
                return False
        except (aiohttp.ClientError, OSError):
            return False
        looked, owed = watch.owed
        return not owed and time.time() - looked <= QUIET and await nothing_is_open(api, world.vendors["nyne"])

    async def _judge(self, world: World, watch: Watch, crm: Crm) -> list[Verdict]:
        try:
            evidence = await self._gather(world, watch, crm)
        except Silent as silence:
            return [Verdict(1, "our API answers once nothing is wrong any more", offences=[str(silence)])]
        evidence.keep(self.order.folder / "evidence.json.gz")
        return [check(evidence) for check in CHECKS]

    async def _gather(self, world: World, watch: Watch, crm: Crm) -> Evidence:
        common = await gather(
            world.url, world.postgres, world.vendors, world.overheard, crm, watch, self.journal.happened
        )
        return replace(
            common,
            contacts=world.contacts.made,
            hubspot=await world.hubspot.records(),
            results=world.results.got,
            holds=world.terms.lease + world.terms.timeout,
            has_own_properties=world.variant.own,
        )

    async def _count(self, world: World, crm: Crm) -> None:
        """Count the promised lookups and the vendors' charges once a second, until cancelled."""
        while True:
            self.accepted.append((time.time(), crm.taken))
            for name, vendor in world.vendors.items():
                with suppress(aiohttp.ClientError, OSError):
                    stats: Json = await vendor.stats()
                    self.charges[name] = f"{stats['charges']} ({stats['credits']:g} credits)"
            await asyncio.sleep(1)

    def _view(self, watch: Watch, crm: Crm) -> View:
        by_status = watch.samples[-1].by_status if watch.samples else {}
        return View(self.phase, self.journal.in_force, crm.taken, crm.waiting, by_status, self.charges)


def _note_kill(one: Happened, world: World, watch: Watch) -> None:
    if one.name == "kill a submitter":
        watch.killed(world.of("submitter")[one.fault.choice % 2].name, one.began)


@asynccontextmanager
async def _beside(*doing: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these coroutines inside the block, beside it."""
    tasks = [asyncio.create_task(one) for one in doing]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
