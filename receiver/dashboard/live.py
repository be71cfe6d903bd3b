"""/live: the page "Now" as it changes, by server-sent events. Each event is the whole, so none can be missed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import asyncpg
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from receiver.dashboard.desk import Desk
from receiver.dashboard.now import NowPage
from receiver.dashboard.rendering import HEADERS, render
from receiver.problems import UNAVAILABLE, Problem

EVERY = 2.0  # seconds between two looks
QUIET = 15.0  # seconds without a change, then a comment keeps proxies from closing the connection
MOST_STREAMS = 100  # of this process; who comes later reads the page as it was


class Live:
    """The handler of the stream."""

    def __init__(self, desk: Desk, now: NowPage) -> None:
        self._desk = desk
        self._now = now
        self._open = 0

    async def stream(self, request: Request) -> Response:
        """Send the page at every change, until the session ends or the process stops."""
        if self._open >= MOST_STREAMS:
            raise Problem(503, "Too many pages are open that follow what happens. Load this one again to see more.")
        headers = HEADERS | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would wait for more
        return StreamingResponse(self._events(request), headers=headers, media_type="text/event-stream")

    async def _events(self, request: Request) -> AsyncIterator[bytes]:
        scopes, until = request.state.holder.scopes, request.state.until
        self._open += 1
        try:
            sent, sent_at = "", 0.0
            while time.time() < until:
                part = await self._part(scopes)
                if part != sent:
                    yield _event(part)
                    sent, sent_at = part, time.monotonic()
                elif time.monotonic() - sent_at > QUIET:
                    yield b": still here\n\n"
                    sent_at = time.monotonic()
                if await self._desk.door.stops_within(EVERY):
                    return
        finally:
            self._open -= 1

    async def _part(self, scopes: frozenset[str]) -> str:
        try:
            return render("now_part.html", now=await self._now.read(), scopes=scopes)
        except (TimeoutError, asyncpg.PostgresError, *UNAVAILABLE):
            return render("away.html")


def _event(part: str) -> bytes:
    return "".join(f"data: {line}\n" for line in part.splitlines()).encode() + b"\n"
