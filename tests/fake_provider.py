"""A small server that plays both providers: it records the questions, and gives prepared answers."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

LEADMAGIC = "/v1/people/mobile-finder"
NYNE = "/person/phone"


@dataclass(frozen=True)
class Asked:
    """One request that arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """An answer, given at once, or once *release* is set; *reached* is set when it is next."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[Asked], Awaitable[None]] | None = None  # awaited between the question and its answer
    drops: bool = False  # cuts the connection instead of answering
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event | None = None


def held(reply: Reply) -> Reply:
    """Return *reply*, to be given only once its `release` is set."""
    reply.release = asyncio.Event()
    return reply


def hang() -> Reply:
    """Return a reply that never comes."""
    return held(Reply())


def drop() -> Reply:
    """Return a reply that reads the question and closes the connection."""
    return Reply(drops=True)


def found(mobile: str = "+1-555-123-4567", credits: float = 5) -> Reply:
    """Return LeadMagic's number."""
    return Reply(200, {"mobile_number": mobile, "credits_consumed": credits, "message": "Mobile number found"})


def nothing() -> Reply:
    """Return LeadMagic's answer without a number."""
    return Reply(200, {"mobile_number": None, "credits_consumed": 0, "message": "Mobile number not found"})


def accepted(request_id: str = "req-1") -> Reply:
    """Return Nyne's 202."""
    return Reply(202, {"success": True, "data": {"request_id": request_id, "status": "queued"}})


def running(request_id: str = "req-1") -> Reply:
    """Return Nyne's answer to a poll that came too early."""
    return Reply(200, {"success": True, "data": {"request_id": request_id, "status": "processing"}})


def completed(request_id: str = "req-1", mobile: str | None = "+15551234567") -> Reply:
    """Return Nyne's answer to a poll, or a callback's body."""
    result = {"mobile": mobile} if mobile else {}
    return Reply(200, {"request_id": request_id, "status": "completed", "completed": True, "result": result})


def forgotten() -> Reply:
    """Return Nyne's answer about a request that it does not know."""
    return Reply(404, {"error": "request_not_found", "message": "Request not found"})


def broke(status: int = 402) -> Reply:
    """Return an answer that the account is out of credits."""
    return Reply(status, {"error": "insufficient_credits", "message": "Insufficient credits"})


class FakeProvider:
    """A server that plays LeadMagic and Nyne. It uses up each list of replies one by one, and repeats the last."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.questions: deque[Reply] = deque()  # to paid POSTs
        self.polls: deque[Reply] = deque()
        self.health: deque[Reply] = deque()
        self._arrived = asyncio.Condition()

    @property
    def paid(self) -> list[Asked]:
        """Return the paid questions that arrived."""
        return [asked for asked in self.asked if asked.method == "POST"]

    @property
    def polled(self) -> list[str]:
        """Return the request_ids that were polled, in order."""
        return [asked.query["request_id"] for asked in self.asked if "request_id" in asked.query]

    async def arrive(self, count: int) -> list[Asked]:
        """Wait until so many paid questions have arrived, and return them."""
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.paid) >= count)
        return self.paid

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Record the request and give the next reply."""
        raw = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.path, dict(request.query), headers, json.loads(raw) if raw else None)
        self.asked.append(asked)
        async with self._arrived:
            self._arrived.notify_all()
        replies = self._replies(asked)
        reply = replies.popleft() if len(replies) > 1 else replies[0]
        reply.reached.set()
        if reply.before is not None:
            await reply.before(asked)
        if reply.release is not None:
            await reply.release.wait()
        if reply.drops and request.transport is not None:
            request.transport.abort()
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        return web.Response(status=reply.status, body=body, headers=reply.headers, content_type="application/json")

    def _replies(self, asked: Asked) -> deque[Reply]:
        if asked.method == "POST":
            return self.questions or deque([nothing() if asked.path == LEADMAGIC else accepted()])
        if asked.path == NYNE:
            return self.polls or deque([running(asked.query["request_id"])])
        return self.health or deque([Reply(200, {"credits": 0, "limits": {"available_credits": 0}})])


def well() -> Reply:
    """Return the answer of either free endpoint: there are credits."""
    return Reply(200, {"credits": 1000, "limits": {"available_credits": 1000}})


@asynccontextmanager
async def playing() -> AsyncIterator[FakeProvider]:
    """Serve the fake inside the block, at its URL."""
    fake = FakeProvider()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
