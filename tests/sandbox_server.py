"""A pretend vendor as a process of its own, a client for its admin, and a mailbox for its callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
from aiohttp import web

from tests.forked import LONGEST, ROOT, send

DEADLINE = 10.0


@contextlib.contextmanager
def playing(*arguments: str) -> Iterator[str]:
    """Run `python -m sandbox ARGUMENTS` inside the block; yield its URL; check that it exits with 0."""
    read, write = os.pipe()
    with os.fdopen(read) as out:
        options = [*arguments, "--port", "0"]
        environment = {"cwd": ROOT, "env": os.environ, "orphaned": signal.SIGKILL, "starts_forks": False}
        with send("sandbox", options, output=(write, 2), **environment) as process:
            os.close(write)
            process.settimeout(DEADLINE)
            pid = int(process.recv(LONGEST))
            try:
                yield json.loads(out.readline())["listening"]
            finally:
                os.kill(pid, signal.SIGTERM)
                assert int(process.recv(LONGEST)) == 0


class Admin:
    """A client of one vendor: its own endpoints, and /sandbox."""

    def __init__(self, session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
        """Take the vendor's credentials as *headers*."""
        self.session = session
        self.url = url
        self.headers = headers

    async def send(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and lower-case headers of the vendor's answer."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = more.pop("headers", self.headers)
        async with self.session.request(method, self.url + path, data=data, headers=headers, **more) as response:
            heads = {name.lower(): value for name, value in response.headers.items()}
            return response.status, await response.read(), heads

    async def get(self, path: str, **query: str) -> Any:
        """Return the JSON of one admin page."""
        async with self.session.get(f"{self.url}/sandbox/{path}", params=query) as response:
            return await response.json()

    async def post(self, path: str, document: Any = None) -> Any:
        """Return the JSON answer to an admin POST."""
        async with self.session.post(f"{self.url}/sandbox/{path}", json=document) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def asked(self, times: int) -> None:
        """Wait until so many paid questions have reached the vendor."""
        async with asyncio.timeout(DEADLINE):
            while (await self.get("stats"))["posts"] < times:
                pass

    async def settled(self) -> Any:
        """Wait until no job and no callback is under way; return the stats."""
        async with asyncio.timeout(DEADLINE):
            while True:
                stats = await self.get("stats")
                if not stats["jobs_unfinished"] and not stats["callbacks_pending"]:
                    return stats


@contextlib.asynccontextmanager
async def visiting(url: str, headers: dict[str, str]) -> AsyncIterator[Admin]:
    """Reset the vendor, and hold a client of it inside the block."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE)) as session:
        admin = Admin(session, url, headers)
        await admin.post("reset")
        yield admin


class Mailbox:
    """A receiver of callbacks: 200 where the path ends in the right token, else 404."""

    def __init__(self) -> None:
        """Start empty."""
        self.url = ""
        self.accepted: list[bytes] = []
        self.refused: list[bytes] = []
        self._arrivals: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(self, request: web.Request) -> web.Response:
        """Keep one callback."""
        body = await request.read()
        right = request.path.endswith("/right-token")
        (self.accepted if right else self.refused).append(body)
        if right:
            self._arrivals.put_nowait(body)
        return web.Response(status=200 if right else 404)

    async def next(self) -> bytes:
        """Return the next accepted callback."""
        async with asyncio.timeout(DEADLINE):
            return await self._arrivals.get()


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Mailbox]:
    """Serve the mailbox inside the block, at its URL."""
    mailbox = Mailbox()
    app = web.Application()
    app.router.add_post("/{tail:.*}", mailbox.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    mailbox.url = f"http://{host}:{port}/callbacks/job-1/right-token"
    try:
        yield mailbox
    finally:
        await runner.cleanup()
