"""The journal of the chaos: the faults as they really happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from chaos.faults import SERVERS, act
from chaos.plan import Fault
from chaos.world import World

# A swallowed statement is given up after 15 s; then the process connects again and works off the backlog.
FELT = 25.0  # seconds


@dataclass(slots=True)
class Happened:
    """A fault that was caused; *ended* is 0 while it lasts."""

    fault: Fault
    began: float
    ended: float = 0.0

    @property
    def name(self) -> str:
        """Return the name of its kind."""
        return self.fault.kind.name

    @property
    def lane(self) -> str:
        """Return the lane of its kind."""
        return self.fault.kind.lane

    def kept_from_storing(self, begun: float, ended: float) -> bool:
        """Tell whether this fault may have kept an answer between the two times from being stored in time."""
        between = self.lane in SERVERS or self.name.startswith("database ") or self.name in SUBMITTER_GONE
        return between and begun <= self.ended + FELT and self.began <= ended


SUBMITTER_GONE = ("kill a submitter", "freeze a submitter")


@dataclass(slots=True)
class Journal:
    """Every fault that the chaos caused, and every one that it could not cause."""

    happened: list[Happened] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def in_force(self) -> list[str]:
        """Return the faults in force."""
        return [one.name for one in self.happened if not one.ended]

    async def carry_out(self, world: World, faults: Iterable[Fault], on: Callable[[Happened, World], None]) -> None:
        """Cause every fault at its time, and undo it after its time; call *on* when one begins."""
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
