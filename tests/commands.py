"""Our commands as processes of a test: run to their end, or until a condition is true, and never longer."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rig.postgres import execute, url_of
from rig.processes import Process, environment, start
from tests.forked import run

ROOT = Path(__file__).parent.parent
RINGBACK = (sys.executable, "-m", "console")
DEADLINE = 30.0  # seconds, for anything; a busy machine needs most of it
BETWEEN_LOOKS = 0.02  # seconds

T = TypeVar("T")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class JobOutcome:
    """The exit code and the words of a command that has ended."""

    code: int
    out: str
    err: str


async def until(look: Callable[[], Awaitable[T | None]], *, unless: Awaitable[object] | None = None) -> T:
    """Return what *look* finds, once it finds something. Raises AssertionError when *unless* comes true before."""
    other = asyncio.ensure_future(unless or asyncio.Event().wait())
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                found = await look()
                if found is not None:
                    return found
                await asyncio.wait([other], timeout=BETWEEN_LOOKS)
                assert not other.done()
    finally:
        other.cancel()


@asynccontextmanager
async def empty_database(server_url: str) -> AsyncIterator[str]:
    """Hold a database without a table inside the block; yield its URL."""
    name = f"ringback_empty_{os.getpid()}_{next(_numbers)}"
    await execute(server_url, f"CREATE DATABASE {name}")
    try:
        yield url_of(server_url, name)
    finally:
        await execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


async def ringback(*arguments: str, cwd: Path, **settings: str) -> JobOutcome:
    """Run `ringback` to its end."""
    ended = await run("console", *arguments, cwd=cwd, env=environment(**settings), within=DEADLINE)
    return JobOutcome(ended.code, ended.out, ended.err)


@dataclass
class Running:
    """A running command, and the lines that it has written so far."""

    process: Process
    lines: list[str] = field(default_factory=list)

    async def says(self, text: str, *, after: int = 0) -> str:
        """Return the first line, not counting the first *after*, that holds *text*, once it is there."""

        async def look() -> str | None:
            return next((line for line in self.lines[after:] if text in line), None)

        return await self.until(look)

    async def until(self, look: Callable[[], Awaitable[T | None]]) -> T:
        """Return what *look* finds, once it finds something. Raises AssertionError when the command ends before."""
        try:
            return await until(look, unless=self.process.wait())
        except (AssertionError, TimeoutError) as error:
            raise AssertionError("\n".join(["It never came true.", *self.lines])) from error

    async def ends(self, number: signal.Signals | None = None, *, within: float = DEADLINE) -> int:
        """Send the signal, if there is one, and return the exit code."""
        if number is not None:
            os.kill(self.process.pid, number)  # to the command alone: it must stop its own children
        async with asyncio.timeout(within):
            return await self.process.wait()


@asynccontextmanager
async def running(command: Sequence[str], env: Mapping[str, str], cwd: Path = ROOT) -> AsyncIterator[Running]:
    """Run the command inside the block; after it, kill the command and what it started in its session."""
    lines: list[str] = []
    process = await start(command, output=lines.append, env=env, cwd=cwd, orphaned=signal.SIGKILL)
    try:
        yield Running(process, lines)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
