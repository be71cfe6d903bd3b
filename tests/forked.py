"""Our commands as forks of a process that has imported them: they start in a twentieth of the time.

Each has arguments, environment, folder, output, session and exit code of its own, like `python -m`; only the imports
are shared. A test about the start itself starts its command with asyncio, as rig/ does for programs of others.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import chaos
import console
import receiver
import sandbox
import store
import submitter
from rig import processes
from rig.processes import end_with_parent

ROOT = Path(__file__).parent.parent
LONGEST = 1 << 16  # bytes of a command with its environment
MODULES = {"console", "sandbox", *processes.MODULES.values()}
PACKAGES = (chaos, console, receiver, sandbox, store, submitter)


class Ended(NamedTuple):
    """What a command has come to."""

    code: int
    out: str
    err: str
    pid: int


class Fork:
    """A fork that runs, with what asyncio's processes have."""

    def __init__(self, asker: socket.socket, pid: int, stdout: asyncio.StreamReader | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._asker = asker
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(asker, self._end)

    def _end(self) -> None:
        self._loop.remove_reader(self._asker)
        with self._asker:
            self.returncode = int(self._asker.recv(LONGEST))
        self._ended.set()

    async def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send the signal to it alone, if it runs."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it a SIGKILL."""
        self.send_signal(signal.SIGKILL)


async def run(
    module: str, *arguments: str, cwd: Path, env: Mapping[str, str], within: float, starts_forks: bool = False
) -> Ended:
    """Run `python -m module` to its end; return exit code, output and errors. Raises TimeoutError.

    If it *starts_forks*, the processes of ours that it starts are forks, too.
    """
    with TemporaryFile() as out, TemporaryFile() as err:
        output = (out.fileno(), err.fileno())
        fork = await fork_with(module, arguments, cwd=cwd, env=env, output=output, starts_forks=starts_forks)
        try:
            async with asyncio.timeout(within):
                code = await fork.wait()
        finally:
            fork.kill()
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read().decode(), err.read().decode(), fork.pid)


async def launch(
    command: Sequence[str], *, env: Mapping[str, str] | None, cwd: Path | None, output: int, orphaned: signal.Signals
) -> processes.Child:
    """Fork for a command of ours, in the place of rig.processes.launch, which starts every other command."""
    environment = os.environ if env is None else env
    if (ours := of_ours(command, environment)) is None:
        return await start_anew(command, env=env, cwd=cwd, output=output, orphaned=orphaned)
    module, *arguments = ours
    fork_to = partial(fork_with, module, arguments, cwd=cwd or Path.cwd(), env=environment, orphaned=orphaned)
    if output != asyncio.subprocess.PIPE:
        return await fork_to(output=(output, output))
    read, write = os.pipe()
    try:
        fork = await fork_to(output=(write, write))
    finally:
        os.close(write)
    fork.stdout = asyncio.StreamReader(processes.LONGEST_LINE)
    protocol = asyncio.StreamReaderProtocol(fork.stdout)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read, "rb", 0))
    return fork


start_anew = processes.launch


def of_ours(command: Sequence[str], env: Mapping[str, str]) -> list[str] | None:
    """Return module and arguments of `python -m module`, if it would import what the process that forks has."""
    program, *words = [word for word in command if word != "-P"]
    if Path(program).name == "ringback":
        words = ["-m", "console", *words]
    if Path(program).parent != Path(sys.executable).parent or words[:1] != ["-m"] or words[1] not in MODULES:
        return None
    of_the_interpreter = {name for name in {*env, *os.environ} if name.startswith(("PYTHON", "LD_"))}
    return words[1:] if all(env.get(name) == os.environ.get(name) for name in of_the_interpreter) else None


async def fork_with(
    module: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: tuple[int, int],
    orphaned: signal.Signals = signal.SIGKILL,
    starts_forks: bool = False,
) -> Fork:
    """Fork for `python -m module`, its stdout and stderr *output*. It gets *orphaned* if we die first."""
    asker = send(module, arguments, cwd=cwd, env=env, output=output, orphaned=orphaned, starts_forks=starts_forks)
    asker.setblocking(False)
    return Fork(asker, int(await asyncio.get_running_loop().sock_recv(asker, LONGEST)), None)


def send(module: str, arguments: Sequence[str], *, output: tuple[int, int], **command: Any) -> socket.socket:
    """Ask for a fork; return the socket that tells its process id, and its exit code at the end."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    command |= {"module": module, "arguments": arguments, "cwd": str(command["cwd"]), "env": dict(command["env"])}
    with theirs:
        socket.send_fds(_forker(), [json.dumps(command).encode()], [*output, theirs.fileno()])
    return ours


@cache
def _forker() -> socket.socket:
    """Start the process that forks, once; return the socket that takes commands. The process ends when it closes."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        forker = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(theirs.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509  nothing in it takes a lock
        )

    @atexit.register
    def end() -> None:
        ours.close()
        forker.wait()

    return ours


# The process that forks.


def main() -> None:
    """Import what our commands import, fork for each one that arrives, and become it in the child."""
    commands = socket.socket(fileno=int(sys.argv[1]))
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    gc.freeze()
    if (command := _fork_for_each(commands)) is not None:
        module = command["module"]
        for imported in (module, f"{module}.__main__"):  # runpy warns of a main module that was imported before
            if imported not in {package.__name__ for package in PACKAGES}:
                sys.modules.pop(imported, None)
        sys.argv[1:] = command["arguments"]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _fork_for_each(commands: socket.socket) -> dict[str, Any] | None:
    """Return the command in its child; return None when the tests have ended."""
    ended, ends = socket.socketpair()
    ended.setblocking(False)
    ends.setblocking(False)
    signal.set_wakeup_fd(ends.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, tuple[socket.socket, int]] = {}
    with commands, ended, ends, selectors.DefaultSelector() as selector:
        selector.register(commands, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if ended in ready:
                ended.recv(LONGEST)
                _tell_codes(children, selector)
            for pid, (asker, orphaned) in children.items():
                if asker in ready:  # it has nothing to say: it has died
                    selector.unregister(asker)
                    os.kill(pid, orphaned)
            if commands not in ready:
                continue
            text, files, _, _ = socket.recv_fds(commands, LONGEST, 3)
            if not text:
                return None
            command: dict[str, Any] = json.loads(text)
            asker = socket.socket(fileno=files.pop())
            if not (pid := os.fork()):
                _become(command, files)
                asker.send(str(os.getpid()).encode())
                asker.close()
                for other, _ in children.values():
                    other.close()
                return command
            for file in files:
                os.close(file)
            children[pid] = asker, command["orphaned"]
            selector.register(asker, selectors.EVENT_READ)


def _become(command: Mapping[str, Any], output: Sequence[int]) -> None:
    """Be in a session of our own, in the command's folder and environment, and write to *output*."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    end_with_parent(command["orphaned"])()
    os.setsid()
    for ours, file in zip((1, 2), output, strict=True):
        os.dup2(file, ours)
        os.close(file)
    if command["starts_forks"]:
        processes.launch = launch  # its forks may have to live in a network of its own
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["env"])


def _tell_codes(children: dict[int, tuple[socket.socket, int]], selector: selectors.BaseSelector) -> None:
    """Send the exit code of each child that has ended to the test that waits for it."""
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            asker, _ = children.pop(pid)
            with asker, suppress(OSError):  # the test may have given up
                if asker in selector.get_map():
                    selector.unregister(asker)
                asker.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    main()
