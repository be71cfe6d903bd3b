"""Commands of ours as processes of a test: run to their end, or until something comes true, and never longer."""

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

import asyncpg

from enrichment.settings import without_settings
from tests.databases import url_of

ROOT = Path(__file__).parent.parent
RINGBACK = (sys.executable, "-m", "console")
DEADLINE = 30.0  # seconds, for anything; a machine that is busy otherwise needs most of it
BETWEEN_LOOKS = 0.02  # seconds

T = TypeVar("T")
_numbers = itertools.count(1)


def environment(**settings: str) -> dict[str, str]:
    """Return these settings, and none that happen to be set here."""
    return without_settings(os.environ) | settings


@dataclass(frozen=True)
class Told:
    """What a command that has ended said."""

    code: int
    out: str
    err: str


async def until(look: Callable[[], Awaitable[T | None]], *, unless: Awaitable[object] | None = None) -> T:
    """What *look* finds, once it finds something; at once an AssertionError when *unless* comes true before."""
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
    """Inside the block there is a database without a table, at the yielded URL."""
    name = f"ringback_empty_{os.getpid()}_{next(_numbers)}"
    connection = await asyncpg.connect(server_url)
    await connection.execute(f"CREATE DATABASE {name}")
    try:
        yield url_of(server_url, name)
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


async def ringback(*arguments: str, cwd: Path, **settings: str) -> Told:
    """`ringback` has ended."""
    process = await asyncio.create_subprocess_exec(
        *(*RINGBACK, *arguments),
        cwd=cwd,
        env=environment(**settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return Told(process.returncode or 0, out.decode(), err.decode())


@dataclass
class Running:
    """A command that runs, and what it has written so far."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    async def read(self) -> None:
        """Until it has ended, its lines are kept."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    async def says(self, text: str, *, after: int = 0) -> str:
        """The first line, not counting the first *after*, that holds *text*, once it is there."""

        async def look() -> str | None:
            return next((line for line in self.lines[after:] if text in line), None)

        return await self.until(look)

    async def until(self, look: Callable[[], Awaitable[T | None]]) -> T:
        """What *look* finds, once it finds something; at once an error if the command ends meanwhile."""
        try:
            return await until(look, unless=self.process.wait())
        except (AssertionError, TimeoutError) as error:
            raise AssertionError("\n".join(["It never came true.", *self.lines])) from error

    async def ends(self, number: signal.Signals | None = None, *, within: float = DEADLINE) -> int:
        """Its exit code, after this signal."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(within):
            return await self.process.wait()


@asynccontextmanager
async def running(command: Sequence[str], env: Mapping[str, str], cwd: Path = ROOT) -> AsyncIterator[Running]:
    """Inside the block the command runs; after it, it does not, and neither does what it started in its session."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    started = Running(process)
    reading = asyncio.create_task(started.read())
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await reading
