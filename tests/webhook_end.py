"""The receiving end of the result webhook, which records every POST and answers as told; and a sender."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
from aiohttp import web

from submitter.process import Process
from submitter.results import ResultSender
from tests.factories import delivery

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATIENCE = 10.0  # seconds, until a test is stuck


@dataclass
class Answer:
    """One answer: cut off after its beginning, without an end, never, once *release* is set, or a closed connection."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False
    is_endless: bool = False
    is_hung_up: bool = False
    never: bool = False
    release: asyncio.Event | None = None


@dataclass(frozen=True)
class Arrived:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


class WebhookEnd:
    """The server. It uses up its answers one by one, and repeats the last."""

    def __init__(self) -> None:
        self.port = 0
        self.arrived: list[Arrived] = []
        self.answers: deque[Answer] = deque([Answer()])
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def arrive(self, count: int) -> list[Arrived]:
        """Wait until so many requests have arrived, and return them."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: len(self.arrived) >= count)
        return self.arrived

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Record the request, and answer."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.arrived.append(Arrived(request.raw_path, headers, await request.read()))
        async with self._news:
            self._news.notify_all()
        told = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        assert request.transport is not None
        if told.is_hung_up:
            request.transport.abort()
        if told.release is not None:
            await told.release.wait()
        if told.never:
            await asyncio.Event().wait()
        if not told.is_cut and not told.is_endless:
            return web.Response(status=told.status, body=told.body, headers=told.headers)
        response = web.StreamResponse(status=told.status, headers=told.headers)
        await response.prepare(request)
        await response.write(told.body)
        while told.is_endless:
            await response.write(b"x" * 4096)
        request.transport.abort()
        return response


@asynccontextmanager
async def webhook_end() -> AsyncIterator[WebhookEnd]:
    """Serve inside the block."""
    end = WebhookEnd()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", end.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    end.port = runner.addresses[0][1]
    try:
        yield end
    finally:
        await runner.cleanup()


def settings_for(end: WebhookEnd, **overrides: Any) -> dict[str, Any]:
    """Return the settings with which results go to *end*."""
    given = {
        "result_webhook_url": end.url,
        "result_webhook_secret": SECRET,
        "result_webhook_allow_private": True,
    }
    return given | overrides


async def send_due(process: Process) -> int:
    """Claim once, send the claimed deliveries, and write the results; return how many there were."""
    sender = ResultSender(process)
    async with sender.open():
        claimed = await sender.loop.claim_once()
        await sender.loop.settled()
    return len(claimed.items)


async def sent(process: Process, **overrides: Any) -> asyncpg.Record:
    """Try one delivery, and return it as it is then."""
    row = await delivery(process.pool, **overrides)
    assert await send_due(process) == 1
    return await now(process, row["id"])


async def now(process: Process, id: UUID) -> asyncpg.Record:
    """Return the delivery as it is now, and the seconds until it is due."""
    row: asyncpg.Record | None = await process.pool.fetchrow(
        "SELECT *, EXTRACT(epoch FROM due_at - now())::float8 AS due_in FROM deliveries WHERE id = $1", id
    )
    assert row is not None
    return row
