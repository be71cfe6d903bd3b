"""Our processes as children: started, listened to, stopped in good order."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

LONGEST_LINE = 1_048_576  # bytes of a child's line
PROCESSES = {"receiver": "receiver", "submitter": "submitter", "reconciler": "submitter.reconciler"}  # their modules
PATIENCE = 10.0  # seconds for a child to end after a SIGTERM, unless it needs more

Say = Callable[[str, str], None]  # who, what


class CannotStart(Exception):
    """Something that was to be started did not; the message says why and what to do."""


class Child:
    """`python -m ...` as a process of ours, in a session of its own: a Ctrl-C is for us, and we stop it in order."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, say: Say) -> None:
        self.name = name
        self._process = process
        self._say = say
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def wait(self) -> int:
        """It has ended, and all it wrote was said; its exit code."""
        code = await self._process.wait()
        await asyncio.shield(self._reading)
        return code

    async def stop(self, patience: float = PATIENCE) -> int:
        """It has ended: by itself within *patience* seconds of a SIGTERM, or killed."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience):
                return await self.wait()
        except TimeoutError:
            self._say(self.name, f"did not end within {patience:.0f} s of a SIGTERM; killed")
            self.send(signal.SIGKILL)
            return await self.wait()

    def send(self, number: signal.Signals) -> None:
        """The signal was sent to it and to whatever it started, if it still runs."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _read(self) -> None:
        stream = self._process.stdout
        while stream is not None:
            try:
                line = await stream.readline()
            except ValueError:
                continue  # longer than LONGEST_LINE
            if not line:
                return
            self._say(self.name, line.decode(errors="replace").rstrip("\n"))


async def start(name: str, arguments: Sequence[str], say: Say, env: Mapping[str, str] | None = None) -> Child:
    """`python -m` with these arguments runs; each line it writes is said.  *env* is all of its environment."""
    process = await asyncio.create_subprocess_exec(
        # -P: a folder that happens to be called `receiver` where we are called from is not ours.
        *(sys.executable, "-P", "-m", *arguments),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_end_with_parent,
        limit=LONGEST_LINE,
    )
    return Child(name, process, say)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Between fork and exec: if we are killed and cannot stop the child, the kernel sends it a SIGTERM."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def stop_all(children: Sequence[Child], patience: float = PATIENCE) -> None:
    """All of these have ended."""
    await asyncio.gather(*(child.stop(patience) for child in children))


def stop_at_signals() -> asyncio.Event:
    """An event that comes true at Ctrl-C, SIGTERM, or when the terminal goes away."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
