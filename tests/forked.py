"""`ringback` as a fork of a process that has imported it: it starts in a twentieth of the time.

Each command has arguments, environment, folder, output and exit code of its own, like `python -m console`; only the
imports are shared. A test about the start itself runs the command with tests.commands.running.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import console
import store
from console.__main__ import main as ringback
from rig.processes import end_with_parent

ROOT = Path(__file__).parent.parent
LONGEST = 1 << 16  # bytes of a command with its environment


async def run(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], within: float) -> tuple[int, str, str]:
    """Run `ringback` to its end; return exit code, output and errors. Raises TimeoutError after *within* seconds."""
    command = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)}).encode()
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    pid = 0
    with ours, TemporaryFile() as out, TemporaryFile() as err:
        ours.setblocking(False)
        with theirs:
            socket.send_fds(_forker(), [command], [out.fileno(), err.fileno(), theirs.fileno()])
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within):
                pid = int(await loop.sock_recv(ours, LONGEST))
                code = int(await loop.sock_recv(ours, LONGEST))
                pid = 0
        finally:
            if pid:
                os.kill(pid, signal.SIGKILL)
        out.seek(0)
        err.seek(0)
        return code, out.read().decode(), err.read().decode()


@functools.cache
def _forker() -> socket.socket:
    """Start the process that forks, once; return the socket that takes commands. The process ends when it closes."""
    ours, theirs = socket.socketpair()
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
    """Import what `ringback` imports, fork for each command that arrives, and become it in the child."""
    commands = socket.socket(fileno=int(sys.argv[1]))
    for package in (console, store):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    gc.freeze()
    if (command := _fork_for_each(commands)) is not None:
        sys.argv[1:] = command["arguments"]
        ringback()


def _fork_for_each(commands: socket.socket) -> dict[str, Any] | None:
    """Return the command in its child; return None when the tests have ended."""
    ended, ends = socket.socketpair()
    ended.setblocking(False)
    ends.setblocking(False)
    signal.set_wakeup_fd(ends.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, socket.socket] = {}
    with commands, ended, ends, selectors.DefaultSelector() as selector:
        selector.register(commands, selectors.EVENT_READ, commands)
        selector.register(ended, selectors.EVENT_READ, ended)
        while True:
            ready = [key.data for key, _ in selector.select()]
            if ended in ready:
                ended.recv(LONGEST)
                _tell_codes(children)
            if commands not in ready:
                continue
            text, files, _, _ = socket.recv_fds(commands, LONGEST, 3)
            if not text:
                return None
            *output, asker = files
            command: dict[str, Any] = json.loads(text)
            if not (pid := os.fork()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                end_with_parent(signal.SIGKILL)()
                _take_the_place_of_ours(command, output)
                os.close(asker)
                for other in children.values():
                    other.close()
                return command
            for file in output:
                os.close(file)
            children[pid] = socket.socket(fileno=asker)
            children[pid].send(str(pid).encode())


def _take_the_place_of_ours(command: Mapping[str, Any], output: Sequence[int]) -> None:
    """Write to *output* instead of our own, in the command's folder and environment."""
    for ours, file in zip((1, 2), output, strict=True):
        os.dup2(file, ours)
        os.close(file)
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["env"])


def _tell_codes(children: dict[int, socket.socket]) -> None:
    """Send the exit code of each child that has ended to the test that waits for it."""
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with children.pop(pid) as asker, suppress(OSError):  # the test may have given up
                asker.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    main()
