"""Processes of the benchmark: started with settings of their own, ended with the block, or with us."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from enrichment.settings import without_settings

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
READY_WITHIN = 30.0  # seconds
LEAVES_WITHIN = 8.0  # seconds after SIGTERM
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class NotReady(Exception):
    """A process ended, or said nothing, before it was ready; the message has its last words."""


@asynccontextmanager
async def process(*module: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Inside the block `python -m module` runs with these settings and no others."""
    with TemporaryFile() as words:
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module,
            cwd=ROOT,
            env=environment(settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            preexec_fn=_die_with_us,
        )  # fmt: skip
        try:
            yield started
            if started.returncode not in (None, 0, -signal.SIGKILL):
                words.seek(0)
                raise NotReady(f"{module[0]} ended with {started.returncode}: {words.read()[-2000:].decode()}")
        finally:
            await end(started)


@asynccontextmanager
async def listening(*module: str, port: int, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Inside the block `python -m module` runs, and takes connections on *port*."""
    async with process(*module, **settings) as started:
        await until_listening(port, started)
        yield started


async def until_listening(port: int, started: asyncio.subprocess.Process | None = None) -> None:
    """Somebody takes connections on *port*.  Raises NotReady."""
    try:
        async with asyncio.timeout(READY_WITHIN):
            while started is None or started.returncode is None:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(HOST, port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        pass
    raise NotReady(f"nobody listens on port {port}")


async def end(started: asyncio.subprocess.Process) -> None:
    """It has ended: asked to, and killed if it does not."""
    if started.returncode is not None:
        return
    with suppress(ProcessLookupError):
        started.terminate()
    try:
        async with asyncio.timeout(LEAVES_WITHIN):
            await started.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def output(command: Sequence[str], *, within: float) -> bytes:
    """What the command prints until it has ended.  Raises NotReady when it fails, TimeoutError past *within*."""
    started = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment({}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=_die_with_us,
    )
    try:
        async with asyncio.timeout(within):
            out, err = await started.communicate()
    finally:
        with suppress(ProcessLookupError):
            started.kill()
    if started.returncode:
        raise NotReady(f"{command[0]} ended with {started.returncode}: {(out + err)[-2000:].decode()}")
    return out


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """These settings, and none of the ones that happen to be set here."""
    return without_settings(os.environ) | dict(settings)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _die_with_us() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
