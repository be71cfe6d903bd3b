"""What the chaos did, when: the plan as it came to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from chaos.faults import act
from chaos.plan import Fault
from chaos.world import World

# A statement that was swallowed is given up after 15 s; then come connecting again and the backlog.
FELT = 25.0  # seconds


@dataclass(slots=True)
class Happened:
    """A fault that was done; *ended* is 0 while it lasts."""

    fault: Fault
    began: float
    ended: float = 0.0

    @property
    def name(self) -> str:
        """What it was."""
        return self.fault.kind.name

    @property
    def lane(self) -> str:
        """Which lane it belongs to."""
        return self.fault.kind.lane

    def kept_from_storing(self, begun: float, ended: float) -> bool:
        """Whether an answer that came between the two may not have been stored, or only late, because of it."""
        between = self.lane == "database" or self.name.startswith("database ") or self.name in SUBMITTER_GONE
        return between and begun <= self.ended + FELT and self.began <= ended


SUBMITTER_GONE = ("kill a submitter", "freeze a submitter")


@dataclass(slots=True)
class Journal:
    """Everything that the chaos did, and what it could not do."""

    happened: list[Happened] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def in_force(self) -> list[str]:
        """The faults that are there now."""
        return [one.name for one in self.happened if not one.ended]

    async def carry_out(self, world: World, faults: Iterable[Fault], on: Callable[[Happened, World], None]) -> None:
        """Every fault was done at its time, and undone after its time; *on* is told when one begins."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._inflict(world, fault, begun, on))

    async def _inflict(self, world: World, fault: Fault, begun: float, on: Callable[[Happened, World], None]) -> None:
        await asyncio.sleep(max(0.0, begun + fault.at - time.monotonic()))
        one: Happened | None = None
        try:
            async with act(world, fault):
                one = Happened(fault, time.time())
                self.happened.append(one)
                on(one, world)
                await asyncio.sleep(fault.seconds)
        except Exception as error:  # noqa: BLE001  the chaos goes on; the report says so
            self.failed.append(f"{fault.kind.name} at {fault.at:.1f} s: {error!r}")
        finally:
            if one is not None:
                one.ended = time.time()
