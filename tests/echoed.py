"""A receiver's server in a process of its own, with an app that echoes, and raw sockets to it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from rig.processes import end_with_parent, environment
from tests.commands import ROOT

PATIENCE = 10.0  # seconds, for anything
KEYS = {
    "API_TOKENS": "token", "CALLBACK_KEYS": "key", "HOST": "127.0.0.1", "PORT": "0", "LEADMAGIC_API_KEY": "key",
    "NYNE_API_KEY": "key", "NYNE_API_SECRET": "secret",
}  # fmt: skip
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def echo(self) -> dict[str, Any]:
        """What the app was asked."""
        seen: dict[str, Any] = json.loads(self.body)
        return seen


class Echo:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], words: Path, port: int) -> None:
        self.process = process
        self.port = port
        self._words = words

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        """Open a connection."""
        return socket.create_connection((host, self.port), PATIENCE)

    def ask(self, *pieces: bytes, half_close: bool = False) -> list[Answer]:
        """Send *pieces*, each in a packet of its own; return the answers until the server closes."""
        with self.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                client.sendall(piece)
            if half_close:
                client.shutdown(socket.SHUT_WR)
            return answers(received(client))

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log's lines of one kind."""
        lines = self.words().splitlines()
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def words(self) -> str:
        """Return all that it has logged."""
        return self._words.read_text(encoding="utf-8")

    def memory(self) -> int:
        """Return the bytes of memory that the process has."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="utf-8").split()[1]
        return int(pages) * 4096

    def descriptors(self) -> int:
        """Return the number of files and sockets that it has open."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())


@contextmanager
def echoing(settings: Mapping[str, str] | None = None, before: Callable[[], None] = lambda: None) -> Iterator[Echo]:
    """Run a server inside the block; call *before* in its process before it starts."""
    arrange = end_with_parent(signal.SIGKILL)

    def prepare() -> None:
        arrange()
        before()

    with NamedTemporaryFile() as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.echo_server"], cwd=ROOT, env=environment(**(KEYS | dict(settings or {}))),
            stdout=subprocess.PIPE, stderr=words, preexec_fn=prepare,  # noqa: PLW1509  this process has one thread
        )  # fmt: skip
        assert process.stdout is not None
        with process, process.stdout:
            try:
                line = process.stdout.readline()
                assert line, words.read()
                yield Echo(process, Path(words.name), int(line.split()[1]))
            finally:
                process.kill()


def received(client: socket.socket) -> bytes:
    """Return what arrives until the server closes, or resets, the connection."""
    data = b""
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionError:
        pass
    return data


def answers(data: bytes) -> list[Answer]:
    """Split *data* into HTTP answers; it must hold nothing else."""
    found = []
    while data:
        head, blank, data = data.partition(b"\r\n\r\n")
        assert blank, head
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), first
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        assert len(data) >= length, "an answer was cut off"
        if first.split()[1] != "100":
            found.append(Answer(int(first.split()[1]), headers, data[:length]))
            data = data[length:]
    return found


def until(look: Callable[[], object]) -> None:
    """Wait until *look* finds something true."""
    end = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
