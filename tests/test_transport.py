"""The transport, against real sockets that behave badly: certainly sent, certainly not sent, or unknown."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from enrichment.providers.base import HttpRequest, HttpResponse
from submitter import transport
from submitter.transport import BODY_AT_MOST, Unanswered, Unsent, open_session, send

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

TIMEOUT = 0.4  # seconds, for a whole exchange
PATIENCE = 5.0  # seconds, until a test is stuck
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A provider's session with a short timeout."""
    async with open_session(limit=4, timeout=TIMEOUT) as opened:
        yield opened


def post(url: str, path: str = "/person/phone") -> HttpRequest:
    """A paid question."""
    return HttpRequest("POST", url + path, {"X-API-Key": "key"}, {"name": "Jane Doe"})


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One whole request off the wire."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return head + await reader.readexactly(length)


class Wire:
    """A raw server whose *talk* decides what happens to each connection."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.requests: list[bytes] = []
        self.over = asyncio.Event()


@asynccontextmanager
async def wire(
    talk: Callable[[Wire, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Wire]:
    """Inside the block a raw server listens."""
    raw = Wire()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.connections += 1
        try:
            await talk(raw, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield raw
    finally:
        raw.over.set()
        server.close()


@asynccontextmanager
async def website(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Inside the block a proper HTTP server answers everything with *handler*."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def reset(writer: asyncio.StreamWriter) -> None:
    """The connection is cut as a crash cuts it: RST instead of FIN."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_an_answer_comes_back_whole(session: aiohttp.ClientSession) -> None:
    """Status, headers in lower case and body; the question arrives as it was built."""
    got: list[tuple[str, str | None, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        got.append((request.method, request.headers.get("X-API-Key"), await request.read()))
        return web.Response(status=429, headers={"Retry-After": "7"}, body=b"slow down")

    async with website(answer) as url:
        response = await send(session, post(url))

    assert isinstance(response, HttpResponse)
    assert (response.status, response.headers["retry-after"], response.body) == (429, "7", b"slow down")
    assert got == [("POST", "key", json.dumps({"name": "Jane Doe"}).encode())]


async def test_a_refused_connection_was_not_sent(session: aiohttp.ClientSession) -> None:
    """Nothing listens: asking again is safe."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

        assert isinstance(await send(session, post(url)), Unsent)


async def test_a_name_that_does_not_resolve_was_not_sent(session: aiohttp.ClientSession) -> None:
    """No address, no question."""
    assert isinstance(await send(session, post("http://ringback.invalid")), Unsent)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"])
async def test_an_address_that_is_none_was_not_sent(session: aiohttp.ClientSession, url: str) -> None:
    """A base URL that cannot be called is a definite failure, every time."""
    assert isinstance(await send(session, post(url)), Unsent)


async def test_tls_that_fails_was_not_sent(session: aiohttp.ClientSession) -> None:
    """A server that speaks no TLS has seen no question."""

    async def talk(raw: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with wire(talk) as raw:
        assert isinstance(await send(session, post(raw.url.replace("http:", "https:"))), Unsent)


async def test_a_connection_that_never_comes_about_was_not_sent() -> None:
    """However short the timeout: while there is no connection, nothing was asked."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # the backlog is full: the next SYN is dropped
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        try:
            async with open_session(limit=4, timeout=TIMEOUT) as session:
                answer = await send(session, post(url))
        finally:
            for one in waiting:
                one.close()

    assert isinstance(answer, Unsent)


async def test_a_reset_after_the_request_is_unanswered(session: aiohttp.ClientSession) -> None:
    """The question was read, and the connection broke: the outcome is unknown; it is not sent again."""

    async def talk(raw: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.requests.append(await read_request(reader))
        reset(writer)

    async with wire(talk) as raw:
        answer = await send(session, post(raw.url))

        assert isinstance(answer, Unanswered)
        assert len(raw.requests) == raw.connections == 1


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"\x00\xff garbage\r\n\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk", "garbage"],
)
async def test_half_an_answer_is_none(session: aiohttp.ClientSession, start: bytes) -> None:
    """A connection that closes in the middle of the answer leaves the outcome open."""

    async def talk(raw: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.requests.append(await read_request(reader))
        writer.write(start)
        await writer.drain()

    async with wire(talk) as raw:
        answer = await send(session, post(raw.url))

        assert isinstance(answer, Unanswered)
        assert len(raw.requests) == 1


async def test_a_provider_that_hangs_is_unanswered(session: aiohttp.ClientSession) -> None:
    """The wait for an answer ends at the timeout."""

    async def talk(raw: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await raw.over.wait()

    async with wire(talk) as raw, asyncio.timeout(PATIENCE):
        assert await send(session, post(raw.url)) == Unanswered("no answer in time")


async def test_slow_bytes_do_not_stretch_the_wait(session: aiohttp.ClientSession) -> None:
    """An answer that trickles in ends at the same timeout: it counts for the whole, not for each byte."""

    async def talk(raw: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not raw.over.is_set():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(TIMEOUT / 20)

    started = time.monotonic()
    async with wire(talk) as raw, asyncio.timeout(PATIENCE):
        answer = await send(session, post(raw.url))

    assert answer == Unanswered("no answer in time")
    assert time.monotonic() - started < 4 * TIMEOUT


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_a_huge_body_is_cut(session: aiohttp.ClientSession, packed: bool) -> None:
    """No answer is larger than what we would read, however small it was packed."""

    async def answer(request: web.Request) -> web.Response:
        body = b" " * (8 * BODY_AT_MOST)
        return web.Response(
            body=gzip.compress(body) if packed else body, headers={"Content-Encoding": "gzip"} if packed else None
        )

    async with website(answer) as url:
        response = await send(session, post(url))

    assert isinstance(response, HttpResponse)
    assert len(response.body) == BODY_AT_MOST


async def test_a_redirect_is_not_followed(session: aiohttp.ClientSession) -> None:
    """Keys and people do not travel to another address: a redirect is an answer like any other."""
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with website(answer) as url:
        response = await send(session, post(url))

    assert isinstance(response, HttpResponse)
    assert response.status == 307
    assert paths == ["/person/phone"]


async def test_cookies_are_not_kept(session: aiohttp.ClientSession) -> None:
    """One question tells the provider nothing about the one before."""
    cookies: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "who=jane"})

    async with website(answer) as url:
        await send(session, post(url))
        await send(session, post(url))

    assert cookies == [None, None]


async def test_a_post_is_never_repeated_on_a_connection_that_died(session: aiohttp.ClientSession) -> None:
    """The provider closes a kept connection as the next question arrives: it is sent once, and is unanswered."""

    async def talk(raw: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.requests.append(await read_request(reader))
        writer.write(OK)
        raw.requests.append(await read_request(reader))  # on the connection that was kept

    async with wire(talk) as raw:
        first = await send(session, post(raw.url, "/1"))
        second = await send(session, post(raw.url, "/2"))

        assert isinstance(first, HttpResponse)
        assert isinstance(second, Unanswered)
        assert [request.split()[1] for request in raw.requests] == [b"/1", b"/2"]
        assert raw.connections == 1


async def test_a_connection_is_not_kept_longer_than_providers_keep_theirs() -> None:
    """Node.js closes an idle connection after five seconds: we do so before."""
    assert transport.KEEPALIVE < 5


async def test_one_slow_provider_has_its_own_connections(session: aiohttp.ClientSession) -> None:
    """Waiting for a free connection is waiting, not asking: it ends as unsent."""
    held = asyncio.Event()

    async def talk(raw: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        held.set()
        await raw.over.wait()

    async with wire(talk) as raw, open_session(limit=1, timeout=TIMEOUT) as narrow:
        first = asyncio.create_task(send(narrow, post(raw.url)))
        await held.wait()
        second = await send(narrow, post(raw.url))

        assert isinstance(second, Unsent)
        assert isinstance(await first, Unanswered)
        assert raw.connections == 1


async def test_nothing_secret_is_in_the_reasons(session: aiohttp.ClientSession) -> None:
    """Reasons are logged and shown: they name the kind of failure, not the address, which carries a token."""

    async def talk(raw: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        reset(writer)

    async with wire(talk) as raw:
        answers = [
            await send(session, post(raw.url, "/s3cret")),
            await send(session, post("http://ringback.invalid", "/s3cret")),
            await send(session, post("http://s3cret:x y", "/s3cret")),
        ]

    assert all(isinstance(answer, Unsent | Unanswered) and "s3cret" not in answer.reason for answer in answers)
