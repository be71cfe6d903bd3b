"""/live: the page "Now" as it changes, by server-sent events. Each event is the whole, so none can be missed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import asyncpg
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from receiver.dashboard.desk import Desk
from receiver.dashboard.now import Now, NowPage
from receiver.dashboard.rendering import HEADERS, render
from receiver.problems import UNAVAILABLE, Problem

EVERY = 2.0  # seconds between two looks
QUIET = 15.0  # seconds without a change, then a comment keeps proxies from closing the connection
# Of one stream; the page asks for the next one. The shipped Caddy cuts an answer after 60, which is an error to a page.
LONGEST = 50.0  # seconds
MOST_STREAMS = 100  # of this process; who comes later reads the page as it was
TYPE = "text/event-stream"
STREAMING = HEADERS | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would wait for more


class Live:
    """The handler of the stream."""

    def __init__(self, desk: Desk, now: NowPage) -> None:
        self._desk = desk
        self._now = now
        self._open = 0
        self._made: dict[frozenset[str], tuple[Now, bytes]] = {}  # of each kind of visitor, the last event

    async def stream(self, request: Request) -> Response:
        """Send the page at every change, until the session ends or the process stops."""
        if self._open >= MOST_STREAMS:
            raise Problem(503, "Too many pages are open that follow what happens. Load this one again to see more.")
        if request.method == "HEAD":
            return Response(headers=STREAMING, media_type=TYPE)
        return StreamingResponse(self._events(request), headers=STREAMING, media_type=TYPE)

    async def goodbye(self, _: Request) -> Response:
        """Tell a page whose session has ended; htmx would connect again after any answer that is no such event."""
        return Response(_goodbye(), headers=STREAMING, media_type=TYPE)

    async def _events(self, request: Request) -> AsyncIterator[bytes]:
        scopes, until = request.state.holder.scopes, request.state.until
        self._open += 1
        try:
            sent, sent_at, begun = b"", 0.0, time.monotonic()
            while time.time() < until:
                part = await self._part(scopes)
                if part != sent:
                    yield part
                    sent, sent_at = part, time.monotonic()
                elif time.monotonic() - sent_at > QUIET:
                    yield b": still here\n\n"
                    sent_at = time.monotonic()
                if await self._desk.door.stops_within(max(0.0, min(EVERY, until - time.time()))):
                    return
                if time.monotonic() - begun > LONGEST:
                    return
            yield _goodbye()
        finally:
            self._open -= 1

    async def _part(self, scopes: frozenset[str]) -> bytes:
        """Return the event of what is read now: it is made once for all who may see the same."""
        try:
            now = await self._now.read()
        except (TimeoutError, asyncpg.PostgresError, *UNAVAILABLE):
            return _event(render("away.html"))
        of, event = self._made.get(scopes, (None, b""))
        if of is not now:
            event = _event(render("now_part.html", now=now, scopes=scopes))
            self._made[scopes] = now, event
        return event


def _goodbye() -> bytes:
    """Return the last event of a session, and the one at which the page stops listening."""
    return _event(render("session_ended.html")) + b"event: ended\ndata:\n\n"


def _event(part: str) -> bytes:
    return "".join(f"data: {line}\n" for line in part.splitlines()).encode() + b"\n"
