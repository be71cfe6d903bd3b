"""One run from beginning to end: the world, the load, a look every few seconds, and the judgement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.database import session
from chaos.soak.judge import SETTLES_WITHIN, Finding, judge, judge_course
from chaos.soak.load import Crm, events
from chaos.soak.sample import Sample, look
from chaos.soak.world import World, running
from rig.machine import busy, facts
from rig.processes import NotRunning
from rig.settings import TOKEN

LOOK_EVERY = 5.0  # seconds
FEWEST_LOOKS = 60  # in a short run they are closer to one another


@dataclass(frozen=True, slots=True)
class Order:
    """The kind of run that is wanted."""

    seed: int
    seconds: float
    rate: float
    receivers: int
    folder: Path


@dataclass(slots=True)
class Run:
    """One run, and its results so far."""

    order: Order
    samples: list[Sample] = field(default_factory=list)  # while events came
    settled: Sample | None = None  # the last sample, after everything had ended or patience had
    findings: list[Finding] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    machine: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Tell whether everything ended, and nothing grew that should not, as far as that can be told."""
        return all(finding.holds is not False for finding in self.findings)


async def soak(order: Order, show: Callable[[Sample], None]) -> Run:
    """Run everything to the end, and stop all processes; call *show* with every sample."""
    run = Run(order)
    try:
        async with running(order.folder, order.seed, order.receivers) as world:
            await _work(run, world, show)
    except NotRunning as error:
        if not run.samples:
            raise
        run.findings.append(Finding("processes", "each runs to the end", str(error), holds=False))
    return run


async def _work(run: Run, world: World, show: Callable[[Sample], None]) -> None:
    """Send the events, wait until all lookups end or patience does, and judge."""
    order = run.order
    run.machine = await facts(world.url)
    crm = Crm(world.receivers, TOKEN)
    sending = asyncio.create_task(crm.run(events(order.seed, order.rate), seconds=order.seconds))
    try:
        await _watch(run, world, crm, sending, show)
        run.settled = await _settle(run, world, crm, show)
        asked_for = order.rate * order.seconds
        run.findings = [*judge(run.samples), *judge_course(asked_for, crm.answers, run.settled)]
    except NotRunning as end:
        run.findings.append(Finding("processes", "each runs to the end", str(end), holds=False))
    finally:
        sending.cancel()
    run.answers, run.duplicates = dict(crm.answers), crm.duplicates
    run.machine["busy"] = busy()


async def _watch(run: Run, world: World, crm: Crm, sending: asyncio.Task[None], show: Callable[[Sample], None]) -> None:
    """Take a look every few seconds while events are sent. Raises NotRunning."""
    clock = asyncio.get_running_loop()
    begun, every = clock.time(), min(LOOK_EVERY, run.order.seconds / FEWEST_LOOKS)
    with closing(_Session(world)) as session:
        while not sending.done():
            run.samples.append(await session.look(crm, clock.time() - begun))
            show(run.samples[-1])
            await asyncio.wait([sending], timeout=every)
    await sending


async def _settle(run: Run, world: World, crm: Crm, show: Callable[[Sample], None]) -> Sample:
    """Look until all lookups have ended, or SETTLES_WITHIN has passed; return the last sample. Raises NotRunning."""
    clock = asyncio.get_running_loop()
    begun = clock.time()
    with closing(_Session(world)) as session:
        while True:
            sample = await session.look(crm, run.order.seconds + clock.time() - begun)
            show(sample)
            if not sample.open or clock.time() - begun > SETTLES_WITHIN:
                return sample
            await asyncio.sleep(0.2)


class _Session:
    """A session of our own on the database, opened when it is needed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._connection: Any = None

    async def look(self, crm: Crm, at: float) -> Sample:
        """Take a sample. Raises NotRunning."""
        memory = self._world.memory()
        if self._connection is None:
            self._connection = await session(self._world.postgres)
        return await look(self._connection, at=at, accepted=crm.accepted, memory=memory)

    def close(self) -> None:
        """Close the session."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.terminate()
