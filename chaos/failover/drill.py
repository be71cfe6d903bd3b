"""One run: load, round after round, then everything must become final, and the books are compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaos.check_kept import callbacks_are_kept, events_are_kept
from chaos.check_paid import no_question_is_repeated, the_books_agree
from chaos.check_truth import everything_is_true
from chaos.crowd import Crowd
from chaos.failover.rounds import SLOW, Round, play
from chaos.failover.world import DEADLINE, LEASE, TIMEOUT, World, running
from chaos.gather import Api, Silent, gather, nothing_is_open
from chaos.journal import Happened
from chaos.plan import Fault, Kind
from chaos.verdict import Verdict
from chaos.watch import Watch
from rig.settings import TOKEN

CHECKS = (events_are_kept, callbacks_are_kept, no_question_is_repeated, the_books_agree, everything_is_true)
SLOW_EVERY = 4  # rounds
BETWEEN = 1.0  # seconds of load between two rounds
SETTLED_WITHIN = DEADLINE + 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Order:
    """The kind of run that is wanted: so many rounds of each of *kinds*."""

    seed: int
    rounds: int
    kinds: Sequence[str]
    rate: float
    folder: Path
    drops: bool = False  # packets can be dropped


@dataclass(slots=True)
class Run:
    """One run, when it is over."""

    seed: int
    ways: tuple[str, str]
    rounds: list[Round] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0
    settled: float = 0.0  # seconds from the end of the load until everything was final

    @property
    def holds(self) -> bool:
        """Tell whether every promise was kept."""
        return all(verdict.holds for verdict in self.verdicts)


async def drill(order: Order, say: Callable[[str], None]) -> Run:
    """Run everything, and stop all processes."""
    async with running(order.folder, order.seed, drops=order.drops) as world:
        run, watch = Run(order.seed, world.ways), Watch(world.pair)
        watching = asyncio.create_task(watch.run())
        crowd = Crowd(order.seed, order.rate, odd=0.0)
        load = asyncio.create_task(world.crm.run(crowd, seconds=float("inf"), lookups=None))
        begun = time.time()
        try:
            for turn in range(order.rounds):
                for kind in order.kinds if turn % SLOW_EVERY == 0 else [one for one in order.kinds if one not in SLOW]:
                    await asyncio.sleep(BETWEEN)
                    run.rounds.append(one := await play(world, kind))
                    say(f"{turn + 1:>3}  {kind}: {one.ended - one.began:.1f} s")
            await asyncio.sleep(BETWEEN)
            await _stop(load)
            run.seconds = time.time() - begun
            await _settle(world)
            run.settled = time.time() - begun - run.seconds
            run.verdicts = [_rounds_went_well(run), *await _judge(world, watch, run, order.folder)]
        finally:
            await _stop(load)
            await _stop(watching)
            await world.crm.close()
        return run


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def _settle(world: World) -> None:
    """Wait until every event was taken and everything is final; if it takes too long, the checks say so."""
    api = Api(world.address(0), TOKEN)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_WITHIN):
                await world.crm.finish(SETTLED_WITHIN)
                while not await nothing_is_open(api, world.vendors["nyne"]):
                    await asyncio.sleep(0.2)
    finally:
        await api.close()


def _rounds_went_well(run: Run) -> Verdict:
    verdict = Verdict(0, "nothing unreplicated is acknowledged, and each process finds the primary by itself")
    for one in run.rounds:
        verdict.count(one.kind)
        for what, count in one.counts.items():
            if not what.startswith("ms "):
                verdict.count(what, count)
        verdict.offences += one.offences
    return verdict


async def _judge(world: World, watch: Watch, run: Run, folder: Path) -> list[Verdict]:
    happened = [_happened(one) for one in run.rounds]
    try:
        evidence = await gather(
            world.address(0), world.pair, world.vendors, world.overheard, world.crm, watch, happened
        )
    except Silent as silence:
        return [Verdict(1, "our API answers once nothing is wrong any more", offences=[str(silence)])]
    evidence = replace(evidence, holds=LEASE + TIMEOUT)
    evidence.keep(folder / "evidence.json.gz")
    return [check(evidence) for check in CHECKS]


def _happened(one: Round) -> Happened:
    """Return the round as a fault of the database's, which may have kept an answer from being stored."""
    kind = Kind(one.kind, "database", one.kind, (0, 0), (0, 0))
    return Happened(Fault(kind, one.began, one.ended - one.began, 0, 1.0), one.began, one.ended)
