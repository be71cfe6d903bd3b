"""A receiver whose stderr is a pipe of the test, or a file of its choice."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from rig.ports import free_port
from rig.processes import end_with_parent, environment
from tests.conftest import TOKEN
from tests.forked import Fork, fork_with

DEADLINE = 30.0  # seconds
SMALLEST_PIPE = 4096  # bytes
SETTINGS = {
    "API_TOKENS": TOKEN, "CALLBACK_KEYS": "key", "HOST": "127.0.0.1", "LEADMAGIC_API_KEY": "key",
    "NYNE_API_KEY": "key", "NYNE_API_SECRET": "secret",
}  # fmt: skip


@dataclass
class Piped:
    """The process, its port, and the reading end of its stderr."""

    process: asyncio.subprocess.Process | Fork
    port: int
    reader: int
    text: bytes = field(default=b"")

    def read(self) -> None:
        """Read what the pipe holds now."""
        while select.select([self.reader], [], [], 0)[0] and (more := os.read(self.reader, 1 << 20)):
            self.text += more

    def read_to_the_end(self) -> None:
        """Read until the writers are gone."""
        while more := os.read(self.reader, 1 << 20):
            self.text += more

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The whole lines that were read."""
        return [json.loads(line) for line in self.text.split(b"\n")[:-1]]

    async def get(self, path: str) -> tuple[int, str]:
        """Ask for *path*; return the status and the text."""
        async with aiohttp.request("GET", f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.status, await answer.text()

    async def is_ready(self) -> None:
        """Wait until it answers, and its database is usable."""
        async with asyncio.timeout(DEADLINE):
            while self.process.returncode is None:
                with suppress(aiohttp.ClientError):
                    if (await self.get("/readyz"))[0] == 200:
                        return
                await asyncio.sleep(0.02)
        raise AssertionError(f"it ended with {self.process.returncode}")

    async def ends(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal; return the exit code."""
        self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


RECEIVER = (sys.executable, "-m", "receiver")


@asynccontextmanager
async def piped(command: Sequence[str] = RECEIVER, *, redirect: str = "", **settings: str) -> AsyncIterator[Piped]:
    """Run *command* inside the block, its stderr a small pipe; *redirect*: what the shell makes of it, like `2>&-`."""
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
    port = free_port()
    env = environment(**SETTINGS | settings | {"PORT": str(port)})
    process: asyncio.subprocess.Process | Fork
    if (command, redirect) == (RECEIVER, ""):
        process = await fork_with("receiver", [], cwd=Path.cwd(), env=env, output=(writer, writer))
    else:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'exec "$@" {redirect}', "sh", *command),
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=writer,
            preexec_fn=end_with_parent(signal.SIGKILL),
        )
    os.close(writer)
    try:
        yield Piped(process, port, reader)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        with suppress(OSError):
            os.close(reader)
