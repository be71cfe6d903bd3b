"""Forged callbacks over real sockets: refused before anything is done for them, and paced when there are many."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from receiver.callbacks import ROUTE
from receiver.front import FORGED
from rig.ports import HOST, free_port
from rig.processes import running

BODY = b'{"status": "completed"}'


@asynccontextmanager
async def receiver(folder: Path, **settings: str) -> AsyncIterator[int]:
    """Run a receiver whose database is unreachable, because strangers need none; yield its port."""
    port = free_port()
    known = {
        "DATABASE_URL": f"postgresql://ringback@/nothing?host={folder}", "HOST": HOST, "PORT": str(port),
        "API_TOKENS": "token", "CALLBACK_KEYS": "key", "PUBLIC_URL": f"http://{HOST}:{port}",
    }  # fmt: skip
    async with running("receiver", port=port, settings=known | settings):
        yield port


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """Provide the port of such a receiver."""
    async with receiver(tmp_path) as listening:
        yield listening


def forged(path: str = "", *headers: str) -> bytes:
    """Return a POST to an address that was never given out."""
    path = path or f"/callbacks/nyne/{uuid7()}/{'0f' * 32}"
    head = [f"POST {path} HTTP/1.1", "Host: ringback.test", f"Content-Length: {len(BODY)}", *headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + BODY


async def talk(port: int, sent: bytes) -> bytes:
    """Send bytes whose last request closes the connection; return all that was answered."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(sent)
    async with asyncio.timeout(5):
        answered = await reader.read()
    writer.close()
    return answered


async def test_forged_callbacks_are_a_404_and_the_connection_goes_on(port: int) -> None:
    """Each is answered in turn, without a body, and a request after them is served."""
    paths = ("", "/callbacks/apollo/1/2", "/callbacks/nyne/x", "//callbacks//nyne/", f"/callbacks/nyne/{uuid7()}/%C3")
    last = b"GET /healthz HTTP/1.1\r\nHost: ringback.test\r\nConnection: close\r\n\r\n"

    answered = await talk(port, b"".join(map(forged, paths)) + last)

    heads, _, rest = answered.partition(b"HTTP/1.1 200")
    assert heads.count(b"HTTP/1.1 404 Not Found\r\n") == heads.count(b"\r\n\r\n") == len(paths)
    assert heads.lower().count(b"content-length: 0\r\n") == heads.lower().count(b"\r\ndate: ") == len(paths)
    assert rest


async def test_forged_callbacks_behind_another_request_are_answered_too(port: int) -> None:
    """A thousand of them, waiting for one answer, do not pile up on the stack."""
    first = b"GET /readyz HTTP/1.1\r\nHost: ringback.test\r\n\r\n"

    answered = await talk(port, first + b"".join(forged() for _ in range(1000)) + forged("", "Connection: close"))

    assert answered.count(b"HTTP/1.1 404") == 1001


async def test_forged_callbacks_are_counted(port: int) -> None:
    """The metric has them under their route, without any id or token; one that closes its connection is the last."""
    answered = await talk(port, forged() + forged("", "Connection: close") + forged())

    metrics = await talk(port, b"GET /metrics HTTP/1.1\r\nHost: ringback.test\r\nConnection: close\r\n\r\n")

    assert answered.count(b"HTTP/1.1 ") == 2
    assert answered.count(b"\r\nconnection: close\r\n") == 1
    assert f'ringback_http_requests_total{{route="{ROUTE}",status="404"}} 2.0'.encode() in metrics


async def test_a_flood_waits_in_line_and_others_do_not(port: int) -> None:
    """Strangers are served at their rate, however many requests they send at once; a check of health is not in line."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        sent = b"".join(forged() for _ in range(FORGED // 4)) + forged("", "Connection: close")
        flood = [group.create_task(talk(port, sent)) for _ in range(5)]
        await talk(port, forged("", "Connection: close"))  # by now all of them are in line
        health = await talk(port, b"GET /healthz HTTP/1.1\r\nHost: ringback.test\r\nConnection: close\r\n\r\n")
        waiting = [task for task in flood if not task.done()]

    assert health.startswith(b"HTTP/1.1 200")
    assert len(waiting) == len(flood)
    assert sum(task.result().count(b"HTTP/1.1 404") for task in flood) == 5 * (FORGED // 4 + 1)
    assert time.monotonic() - began > 1.2


async def test_a_stranger_that_is_alone_in_line_is_served_at_the_same_rate(port: int) -> None:
    """A connection that returns to an empty line does not have it served twice."""
    sent = b"".join(forged() for _ in range(FORGED)) + forged("", "Connection: close")
    began = time.monotonic()

    answered = await talk(port, sent)

    assert answered.count(b"HTTP/1.1 404") == FORGED + 1
    assert time.monotonic() - began > 0.9


async def test_a_genuine_request_behind_forged_ones_waits_for_its_turn_only(port: int) -> None:
    """A proxy may send both on one connection: after a genuine request, that connection is no stranger's any more."""
    genuine = b"GET /healthz HTTP/1.1\r\nHost: ringback.test\r\n\r\n"

    answered = await talk(port, (forged() + genuine) * 50 + forged("", "Connection: close"))

    assert re.findall(rb"HTTP/1.1 (\d+)", answered) == [b"404", b"200"] * 50 + [b"404"]


async def test_a_connection_in_line_is_not_idle(tmp_path: Path) -> None:
    """It is answered, however short the time that a client may keep an idle connection."""
    async with receiver(tmp_path, IDLE_TIMEOUT_SECONDS="0.05") as port:
        sent = forged() * 4 + forged("", "Connection: close")
        answered = await asyncio.gather(*(talk(port, sent) for _ in range(400)))

    assert {one.count(b"HTTP/1.1 404") for one in answered} == {5}


async def test_a_stranger_that_leaves_the_line_harms_nothing(port: int) -> None:
    """Connections that are reset while they wait are passed over, and the next in line is served."""
    for _ in range(50):
        _, writer = await asyncio.open_connection(HOST, port)
        writer.write(forged() * 4)
        await writer.drain()
        writer.transport.abort()

    assert (await talk(port, forged() + forged("", "Connection: close"))).count(b"HTTP/1.1 404") == 2
