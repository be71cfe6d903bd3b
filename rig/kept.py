"""Processes kept running as a platform keeps them: each is started again whenever it ends."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from rig.processes import PATIENCE, NotRunning, Output, Process, start

STEADY = 10.0  # seconds; a process that ran this long started well


@dataclass(frozen=True, slots=True)
class End:
    """One end of a kept process; *ours* when we killed or stopped it."""

    at: float
    code: int
    ours: bool


def _silent(_: str) -> None:
    pass


@dataclass(slots=True)
class Kept:
    """A command that runs from `start` to `stop`, with a pause between an end and the next start.

    An exit code in *hopeless* before the first steady run is final: `wait` raises NotRunning.
    """

    name: str
    command: Sequence[str]
    output: Output
    env: Mapping[str, str] | None = None
    first_pause: float = 0.5  # seconds; doubled up to *longest_pause* while the process does not run steadily
    longest_pause: float = 0.5
    hopeless: Collection[int] = ()
    report: Callable[[str], None] = _silent  # called with each start and each end, in words
    orphaned: signal.Signals = signal.SIGTERM
    ends: list[End] = field(default_factory=list)
    frozen: bool = False
    _process: Process | None = None
    _keeping: asyncio.Task[None] | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _killed: bool = False
    _pause: float = 0.0
    _started_well: bool = False
    _begun: float = 0.0

    @property
    def running(self) -> bool:
        """Tell whether the process runs now, frozen or not."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process, and keep it running."""
        await self._start()
        self._keeping = asyncio.create_task(self._keep())

    async def wait(self) -> None:
        """Wait until the process has ended for good. Raises NotRunning when it is hopeless."""
        if self._keeping is not None:
            await asyncio.shield(self._keeping)

    def start_no_more(self) -> None:
        """Let the process run on; once it ends, it stays ended."""
        self._stopping.set()

    async def stop(self, patience: float = PATIENCE) -> None:
        """End the process for good: SIGTERM, and SIGKILL after *patience* seconds."""
        self._stopping.set()
        self.thaw()
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience):
                await self._settled()
        except TimeoutError:
            self.report(f"the {self.name} did not end within {patience:.0f} s of a SIGTERM; killed")
            self.send(signal.SIGKILL)
            await self._settled()

    def kill(self) -> bool:
        """Send a SIGKILL; return whether the process ran."""
        was = self._killed = self.running
        self.send(signal.SIGKILL)
        return was

    def freeze(self) -> None:
        """Send a SIGSTOP."""
        self.frozen = self.running
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Send a SIGCONT."""
        self.frozen = False
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send the signal, if the process runs."""
        if self._process is not None:
            self._process.send(number)

    async def _start(self) -> None:
        self._begun = time.monotonic()
        self._process = await start(self.command, output=self.output, env=self.env, orphaned=self.orphaned)
        self.report(f"the {self.name} runs as process {self._process.pid}")
        if self._stopping.is_set():  # set while the process started
            self.send(signal.SIGTERM)

    async def _keep(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            self.ends.append(End(time.time(), code, self._killed or self._stopping.is_set()))
            self._killed = self.frozen = False
            if self._stopping.is_set():
                return
            self._judge(code)
            self.report(f"the {self.name} ended with {code}; it starts again in {self._pause:.0f} s")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return
            await self._start()

    def _judge(self, code: int) -> None:
        """Choose the pause before the next start. Raises NotRunning when another start is useless."""
        steady = time.monotonic() - self._begun >= STEADY
        self._started_well = self._started_well or steady
        if code in self.hopeless and not self._started_well:
            raise NotRunning(f"The {self.name} cannot start; its lines above say why.")
        self._pause = self.first_pause if steady or not self._pause else min(self._pause * 2, self.longest_pause)

    async def _settled(self) -> None:
        """Wait until the process is no longer restarted, whatever the reason."""
        if self._keeping is not None:
            await asyncio.wait([self._keeping])
