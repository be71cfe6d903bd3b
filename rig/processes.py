"""Child processes: start one, read its output, stop it cleanly."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol

from rig.ports import is_listening

LONGEST_LINE = 1_048_576  # bytes of a child's line
PATIENCE = 10.0  # seconds for a child to end after a SIGTERM, unless it needs more
READY_WITHIN = 30.0  # seconds
LAST_WORDS = 2_000  # characters of a child's output that an error quotes
# Our processes and their modules, as the Procfile has them.
MODULES = {"receiver": "receiver", "submitter": "submitter", "reconciler": "submitter.reconciler"}

# The variables that a child inherits: never a setting of Ringback's that happens to be set here.
_INHERITED = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TERM", "TMPDIR", "VIRTUAL_ENV"}
_INHERITED_KINDS = ("LC_", "XDG_", "PYTHON", "LD_", "DYLD_", "SSL_", "PGSERVER_")

Listen = Callable[[str], None]
Output = Path | Listen  # a file to append a child's output to, or a function to call with each line


class NotRunning(Exception):
    """A process did not start, or ended when it should run; the message says why and what to do."""


class Child(Protocol):
    """What we ask of a child."""

    pid: int
    stdout: asyncio.StreamReader | None

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...


class Process:
    """A child in a session of its own: a Ctrl-C reaches only this process, which then stops the child cleanly."""

    def __init__(self, process: Child, listen: Listen | None) -> None:
        self._process = process
        self._reading = asyncio.create_task(self._read(listen)) if listen else None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Return the exit code; None while the child runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until the child has ended and its last line was read; return its exit code."""
        code = await self._process.wait()
        if self._reading is not None:
            await asyncio.shield(self._reading)
        return code

    async def stop(self, patience: float = PATIENCE) -> int:
        """Send a SIGTERM, and a SIGKILL after *patience* seconds; return the exit code."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience):
                return await self.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.wait()

    def send(self, number: signal.Signals) -> None:
        """Send the signal to the child and what it started, if the child still runs."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def _read(self, listen: Listen) -> None:
        stream = self._process.stdout
        while stream is not None:
            try:
                line = await stream.readline()
            except ValueError:
                continue  # longer than LONGEST_LINE
            if not line:
                return
            listen(line.decode(errors="replace").rstrip("\n"))


def python(module: str, *arguments: str) -> list[str]:
    """Return the command `python -m module arguments`."""
    # -P: a folder called `receiver` in the current directory is not our package.
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(**settings: str) -> dict[str, str]:
    """Return an environment with these settings and no other setting of Ringback's."""
    inherited = {
        name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith(_INHERITED_KINDS)
    }
    return inherited | settings


async def _launch(
    command: Sequence[str], *, env: Mapping[str, str] | None, cwd: Path | None, output: int, orphaned: signal.Signals
) -> Child:
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=end_with_parent(orphaned),
        limit=LONGEST_LINE,
    )


launch = _launch  # the tests set it to tests.forked.launch


async def start(
    command: Sequence[str],
    *,
    output: Output,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    orphaned: signal.Signals = signal.SIGTERM,
) -> Process:
    """Start a child. The kernel sends it *orphaned* if we die first; *env* None inherits all of ours."""
    with Path(os.devnull if callable(output) else output).open("ab") as log:  # noqa: ASYNC230  a file on this machine
        into = asyncio.subprocess.PIPE if callable(output) else log.fileno()
        process = await launch(command, env=env, cwd=cwd, output=into, orphaned=orphaned)
    return Process(process, output if callable(output) else None)


@asynccontextmanager
async def running(
    *command: str, settings: Mapping[str, str] | None = None, port: int | None = None
) -> AsyncIterator[Process]:
    """Run `python -m command` inside the block; with *port*, begin the block when it listens there.

    Raises NotRunning, with its last words, when it does not listen in time or ends with an error by itself.
    """
    with NamedTemporaryFile() as words:
        process = await start(python(*command), output=Path(words.name), env=environment(**(settings or {})))
        try:
            if port is not None:
                await until_listening(port, process)
            yield process
            if process.returncode not in (None, 0, -signal.SIGKILL):
                raise NotRunning(f"{command[0]} ended with {process.returncode}")
        except NotRunning as error:
            raise NotRunning(f"{error}: {words.read().decode(errors='replace')[-LAST_WORDS:]}") from None
        finally:
            await process.stop()


async def until_listening(port: int, process: Process) -> None:
    """Wait until *port* takes connections. Raises NotRunning."""
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHIN):
            while process.returncode is None:
                if await is_listening(port):
                    return
                await asyncio.sleep(0.02)
    raise NotRunning(f"nothing listens on port {port}")


async def output_of(command: Sequence[str], *, within: float) -> str:
    """Return the command's output. Raises NotRunning when it fails, TimeoutError after *within* seconds."""
    lines: list[str] = []
    process = await start(command, output=lines.append, env=environment())
    try:
        async with asyncio.timeout(within):
            code = await process.wait()
    finally:
        process.send(signal.SIGKILL)
    said = "\n".join(lines)
    if code:
        raise NotRunning(f"{command[0]} ended with {code}: {said[-LAST_WORDS:]}")
    return said


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def end_with_parent(number: signal.Signals) -> Callable[[], None]:
    """Return a function for between fork and exec: it makes the kernel send the child *number* when we die."""

    def arrange() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, number)

    return arrange
