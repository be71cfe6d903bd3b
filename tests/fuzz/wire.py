"""Raw bytes on the sockets of a real receiver: requests that were cut, mixed, doubled, and split anywhere."""

from __future__ import annotations

import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chaos.attacks.ground import TOKEN
from chaos.attacks.probe import post
from rig.ports import HOST
from tests.fuzz.hunt import Found

PATIENCE = 0.25  # seconds for more of an answer
READ = 65536
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
SEEDS = (
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/lookups?limit=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n",
    post("/events/generic", {"work_email": "jane@acme.co"}, f"Authorization: Bearer {TOKEN}"),
    post("/callbacks/nyne/0195d2a0-0000-7000-8000-000000000000/" + "0" * 64, {"status": "completed"}),
    post("/events/hubspot", [{"objectId": 1}], "X-HubSpot-Signature-v3: x", "X-HubSpot-Request-Timestamp: 1"),
    b"POST /events/generic HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx-a: b\r\n\r\n",
    b"POST /events/generic HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\x00", b"\t", b" ", b":", b"\xff", b"\r\n\r\n", b"0\r\n\r\n", b"Content-Length: 5\r\n",
    b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Expect: 100-continue\r\n",
    b"Host: y\r\n", b"Content-Encoding: gzip\r\n", b"ffffffffffffffff\r\n", b"1;x=y\r\n", b"GET / HTTP/1.0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n", b"%00%ff%2e%2e/", b"a" * 9000, b"x-a: b\r\n" * 500,
)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What the receiver answered: how often each status."""

    cases: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        answered = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return f"{self.cases:,} connections; answers by status {answered}"


def attack(port: int, runs: Callable[[], bool], seconds: float, seed: int) -> tuple[Tally, list[Found]]:
    """Send hostile bytes for so long; return the tally, and the first case after which the receiver was not well.

    *runs* tells whether the receiver's process does.
    """
    dice, tally, until = random.Random(seed), Tally(), time.monotonic() + seconds
    while time.monotonic() < until:
        case = drawn(dice)
        said = answered(port, case)
        tally.cases += 1
        for status in map(int, _STATUS.findall(said)):
            tally.statuses[status] = tally.statuses.get(status, 0) + 1
        if why := _wrong(port, runs, said, thorough=tally.cases % 50 == 0):
            return tally, [Found("wire", case, why)]
    return tally, []


def drawn(dice: random.Random) -> list[bytes]:
    """Draw what to send on one connection, as the pieces in which it is written."""
    data = b"".join(dice.choice(SEEDS) for _ in range(dice.choice([1, 1, 1, 2, 5, 40])))
    for _ in range(dice.randrange(6)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(5):
            case 0:
                data = data[:at] + dice.choice(TOKENS) + data[at:]
            case 1:
                data = data[:at] + data[at + dice.randrange(1, 9) :]
            case 2:
                data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
            case 3:
                data = data[:at]
            case _:
                data = data[:at] + data[dice.randrange(len(data) + 1) :][:200] + data[at:]
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice([0, 0, 1, 3])))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def answered(port: int, pieces: list[bytes]) -> bytes:
    """Send *pieces* on one connection, end our side, and return all that comes back."""
    said = b""
    try:
        with _connection(port) as one:
            for piece in pieces:
                one.sendall(piece)
            one.shutdown(socket.SHUT_WR)
            while piece := one.recv(READ):
                said += piece
    except OSError:
        pass  # closed, or nothing more within PATIENCE: both are answers to garbage
    return said


def _wrong(port: int, runs: Callable[[], bool], said: bytes, *, thorough: bool) -> str | None:
    """Tell what is wrong with the receiver after an answer; None if nothing is."""
    if not runs():
        return "the receiver has ended"
    statuses = [int(status) for status in _STATUS.findall(said)]
    if any(status >= 500 for status in statuses):
        return f"answered {max(statuses)}"
    if said and not said.startswith(b"HTTP/1.1 "):
        return "answered with something that is no HTTP"
    if thorough and _STATUS.match(answered(port, [SEEDS[0]])) is None:
        return "/healthz is not answered afterwards"
    return None


@contextmanager
def _connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, port), timeout=PATIENCE) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield one
