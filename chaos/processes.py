"""Our processes as a platform keeps them: each in a group of its own, started again whenever it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from chaos.postgres import before_exec

PAUSE = 0.5  # seconds between an end and the next start
PATIENCE = 10.0  # seconds to end after a SIGTERM


@dataclass(frozen=True, slots=True)
class End:
    """A process that ended: *ours* when the chaos killed it."""

    at: float
    code: int
    ours: bool


@dataclass(slots=True)
class Kept:
    """`python -m ...`, kept running from `keep` until `stop`; what it writes goes to *log*."""

    name: str
    arguments: Sequence[str]
    env: Mapping[str, str]
    log: Path
    ends: list[End] = field(default_factory=list)
    frozen: bool = False
    _process: asyncio.subprocess.Process | None = None
    _keeping: asyncio.Task[None] | None = None
    _killed: bool = False
    _stopping: bool = False

    @property
    def kind(self) -> str:
        """receiver, submitter, reconciler: the name without its number."""
        return self.name.partition("-")[0]

    @property
    def running(self) -> bool:
        """Whether it runs now, be it frozen."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """It runs, and will be started again whenever it ends."""
        await self._start()
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """It has ended for good: by itself soon after a SIGTERM, or killed."""
        self._stopping = True
        self.thaw()
        self._send(signal.SIGTERM)
        if self._keeping is None:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.shield(self._keeping)
        except TimeoutError:
            self._send(signal.SIGKILL)
            await self._keeping

    def kill(self) -> bool:
        """SIGKILL; False when it did not run."""
        was = self.running
        self._killed = was
        self._send(signal.SIGKILL)
        return was

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = self.running
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.frozen = False
        self._send(signal.SIGCONT)

    async def _start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", *self.arguments),
                env=dict(self.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=before_exec(signal.SIGKILL),
            )

    async def _keep(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            self.ends.append(End(time.time(), code, self._killed or self._stopping))
            self._killed = self.frozen = False
            if self._stopping:
                return
            await asyncio.sleep(PAUSE)
            if not self._stopping:
                await self._start()

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
