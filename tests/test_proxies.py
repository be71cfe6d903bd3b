"""The receiver behind the real nginx and the real Caddy, set up as ops/ ships them."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from rig.ports import HOST, free_port
from rig.processes import environment, python
from tests.called_back import path_for
from tests.commands import Running, running
from tests.conftest import SANE, TOKEN
from tests.in_front import NAMES, Front, in_front, program

if TYPE_CHECKING:
    from tests.wishes import Pool

BODY = 1 << 20  # bytes that a body may have
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
JOB = UUID("01890a5d-ac96-774b-bcce-b302099a8057")

each_proxy = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(program(name) is None, reason=f"no {name} here; apt-get install {name}")
        )
        for name in NAMES
    ],
)


@asynccontextmanager
async def receiving(database_url: str, port: int) -> AsyncIterator[Running]:
    """Run a receiver at *port* inside the block."""
    settings = {
        "DATABASE_URL": database_url, "HOST": HOST, "PORT": str(port), "API_TOKENS": TOKEN,
        "CALLBACK_KEYS": SANE["callback_keys"], "PUBLIC_URL": "https://ringback.example.com",
    }  # fmt: skip
    async with running(python("receiver"), environment(**settings)) as process:
        await process.says('"event": "listening"')
        yield process


async def post(front: Front, path: str, body: bytes | dict[str, Any], **headers: str) -> tuple[int, Any]:
    """Send a body; return the status, and when to send it again."""
    data = io.BytesIO(json.dumps(body).encode() if isinstance(body, dict) else body)
    async with front.session.post(f"{front.url}{path}", data=data, headers=HEADERS | headers) as answer:
        await answer.read()
        return answer.status, answer.headers.get("Retry-After")


def event(number: int, size: int = 0) -> bytes:
    """Return an event of *size* bytes, or of as many as it needs."""
    bare = json.dumps({"event_id": f"evt-{number}", "work_email": f"jane-{number}@acme.co", "note": ""}).encode()
    return bare[:-2] + b"x" * (size - len(bare)) + bare[-2:]


@each_proxy
async def test_sizes_get_through_up_to_ours_and_no_further(name: str, database_url: str, tmp_path: Path) -> None:
    """An event of 1 MiB and a head of 40 KB arrive; larger ones are refused; gzip is left to the receiver."""
    port = free_port()
    async with receiving(database_url, port), in_front(name, port, tmp_path) as front:
        largest = await post(front, "/events/generic", event(1, BODY))
        larger = await post(front, "/events/generic", event(2, BODY + 1))
        long_head = await post(front, "/events/generic", event(3), **{f"X-{n}": "x" * 8_000 for n in range(5)})
        too_long = await post(front, "/events/generic", event(4), **{f"X-{n}": "x" * 8_000 for n in range(12)})
        packed = {"Content-Encoding": "gzip"}
        zipped = await post(front, "/events/generic", gzip.compress(event(5)), **packed)
        async with (
            aiohttp.ClientSession(f"http://{HOST}:{port}", headers=HEADERS | packed) as direct,
            direct.post("/events/generic", data=gzip.compress(event(6))) as answer,
        ):
            unproxied = answer.status

    assert (largest[0], larger[0], long_head[0]) == (202, 413, 202)
    assert too_long[0] in {400, 431}
    assert zipped[0] == unproxied


@each_proxy
async def test_many_requests_over_kept_connections(name: str, database_url: str, tmp_path: Path, pool: Pool) -> None:
    """A hundred and sixty events by eight senders: each is a 202, and each is stored."""
    port = free_port()
    async with receiving(database_url, port), in_front(name, port, tmp_path) as front:

        async def send(first: int) -> set[int]:
            return {(await post(front, "/events/generic", event(n)))[0] for n in range(first, first + 20)}

        statuses = set.union(*await asyncio.gather(*(send(first) for first in range(0, 160, 20))))

    assert statuses == {202}
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 160


@each_proxy
async def test_a_receiver_restarts_behind_it(name: str, database_url: str, tmp_path: Path, pool: Pool) -> None:
    """An event is acknowledged and stored, or gets a 503 with a Retry-After, and is taken afterwards."""
    port = free_port()
    answers: list[tuple[int, Any]] = []
    sent = 0
    back = asyncio.Event()

    async def send(front: Front) -> None:
        nonlocal sent
        while not back.is_set():
            sent += 1
            answers.append(await post(front, "/events/generic", event(sent)))

    async with receiving(database_url, port) as first, in_front(name, port, tmp_path) as front:
        senders = [asyncio.create_task(send(front)) for _ in range(2)]
        assert await first.ends(signal.SIGTERM) == 0
        async with receiving(database_url, port):
            assert (await post(front, "/events/generic", event(0)))[0] in {202, 503}
            back.set()
            await asyncio.gather(*senders)
            last = await post(front, "/events/generic", event(sent + 1))

    assert {answer[0] for answer in answers} <= {202, 503}
    assert all(again for status, again in answers if status == 503)
    assert last[0] == 202
    stored = await pool.fetchval("SELECT count(*) FROM lookups")
    assert stored >= sum(status == 202 for status, _ in answers) + 1


@each_proxy
async def test_no_log_has_a_callback_s_token_or_a_query(name: str, database_url: str, tmp_path: Path) -> None:
    """Taken, refused, too large, oddly written, without a receiver: logs tell of each, and name no token or person."""
    path = path_for(JOB)
    token = path.rpartition("/")[2]
    person = "ada%40acme.test"
    port = free_port()

    async def ask(front: Front) -> int:
        async with front.session.get(f"{front.url}/v1/lookups?q={person}", headers=HEADERS) as answer:
            return answer.status

    async def everything(front: Front) -> list[int]:
        odd = [
            path,
            path.replace("/callbacks", "//callbacks/"),
            path.replace("callbacks", "%63allbacks"),
            f"{path}?a=b",
        ]
        sent = [post(front, one, {"status": "completed"}) for one in odd]
        sent.append(post(front, path, b"x" * (BODY + 1)))
        sent.append(post(front, path, b"{}", **{f"X-{n}": "x" * 8_000 for n in range(12)}))
        first, *others = await asyncio.gather(ask(front), *sent)
        return [first, *(status for status, _ in others)]

    async with receiving(database_url, port) as receiver, in_front(name, port, tmp_path) as front:
        taken = await everything(front)
        await broken_off(front, path)
        await receiver.ends(signal.SIGKILL)
        away = await everything(front)

        async def logged() -> str | None:
            wrote = front.wrote()
            return wrote if wrote.count("/v1") >= 2 else None

        wrote = await front.program.until(logged)

    assert taken[:2] == [200, 200]
    assert away[0] == 503
    assert "/callbacks" in wrote
    assert token not in wrote
    assert "acme" not in wrote
    assert TOKEN not in wrote


@each_proxy
async def test_metrics_are_not_public(name: str, database_url: str, tmp_path: Path) -> None:
    """However the path is written."""
    port = free_port()
    async with receiving(database_url, port), in_front(name, port, tmp_path) as front:
        found = {}
        for path in ("/metrics", "/metrics/", "//metrics", "//metrics//", "/%6detrics", "/./metrics", "/v1/../metrics"):
            found[path] = await raw_status(front, path)

    assert {path: status for path, status in found.items() if status not in {308, 404}} == {}


@each_proxy
async def test_what_the_receiver_gets_to_see(name: str, tmp_path: Path) -> None:
    """HTTP/1.1 over connections that are used again, and the client's address, whatever the client claims it to be."""
    seen: list[web.Request] = []

    async def look(request: web.Request) -> web.Response:
        seen.append(request)
        await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", look)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, HOST, port).start()
    try:
        async with in_front(name, port, tmp_path) as front:
            for _ in range(5):
                await post(front, "/events/generic", b"{}", **{"X-Forwarded-For": "203.0.113.9"})
    finally:
        await runner.cleanup()

    assert {request.headers["X-Forwarded-For"] for request in seen} == {HOST}
    assert {tuple(request.version) for request in seen} == {(1, 1)}
    assert {request.headers.get("Connection") for request in seen} == {None}
    peers = {request.transport for request in seen}
    assert len(peers) == 1


async def broken_off(front: Front, path: str) -> None:
    """Announce a body and hang up."""
    host, port = front.url.partition("//")[2].split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())


async def raw_status(front: Front, path: str) -> int:
    """Ask for exactly this path; return the status."""
    host, port = front.url.partition("//")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=_any_certificate(front))
    authority = f"{host}:{port}" if front.url.startswith("http:") else host
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


def _any_certificate(front: Front) -> Any:
    if front.url.startswith("http:"):
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
