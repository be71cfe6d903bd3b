"""The outermost layer of the app: count requests in flight, answer for handlers that fail, and close."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.hang_ups import hang_up_or_itself
from receiver.metrics import Metrics
from receiver.problems import RETRY_AFTER, Problem, broken, problem_response
from receiver.room import Hold, Room
from receiver.turnstile import Turnstile

# Monitoring requests these even while the process stops.
ALWAYS_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})

NO_STORE = (b"cache-control", b"no-store")  # most answers are about people
NOSNIFF = (b"x-content-type-options", b"nosniff")


class Door:
    """The state of the process: *ready*; then not ready, as /readyz says; then *closed*, and requests are refused."""

    def __init__(self) -> None:
        self.closed = False
        self.in_flight = 0
        self._idle = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Tell whether the process takes requests and is not about to stop."""
        return not self._stopping.is_set()

    def announce(self) -> None:
        """Announce that the process stops: it is not ready any more, and streams end."""
        self._stopping.set()

    def close(self) -> None:
        """Refuse requests from now on."""
        self.announce()
        self.closed = True

    async def stops_within(self, seconds: float) -> bool:
        """Wait for the announcement; tell whether it came within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def leave(self) -> None:
        """Count one request less in flight."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def emptied(self, timeout: float) -> bool:
        """Close the door; tell whether every request has ended within *timeout* seconds.

        uvicorn stops the app without waiting for the handlers that it cancelled, so we wait here.
        """
        self.close()
        self._idle.clear()
        if self.in_flight == 0:
            return True
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


class Gate:
    """Pure ASGI: cleans paths, refuses when the door is closed, counts, paces, and turns uncaught errors into a 500."""

    def __init__(self, app: ASGIApp, *, door: Door, metrics: Metrics, room: Room) -> None:
        self._app = app
        self._door = door
        self._room = room
        metrics.watch_bodies(lambda: room.all.held, lambda: room.unverified.held)
        self._metrics = metrics
        self._turnstile = Turnstile()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begun = 0, time.perf_counter()
        hold = scope["hold"] = Hold(self._room)
        scope["path"] = tidy(scope["path"])

        async def counting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                hold.release()  # the body has been read, or never will be
                await self._turnstile.wait(scope["path"], status)
                message["headers"] = _with_defaults(message["headers"])
            try:
                await send(message)
            except RuntimeError as error:
                raise hang_up_or_itself(error) from None

        self._door.in_flight += 1
        try:
            if self._door.closed and scope["path"] not in ALWAYS_OPEN:
                await _refusal()(scope, receive, counting_send)
            else:
                await self._app(scope, receive, counting_send)
        except ClientDisconnect:
            if status:
                raise  # part of an answer was sent, and uvicorn does not know yet that the client is gone
        except Exception as error:  # noqa: BLE001  it is logged, and answered
            response = broken(error, _route(scope))
            if status:
                raise ConnectionAbortedError from None  # part of an answer was sent: cut it off
            await response(scope, receive, counting_send)
        finally:
            hold.release()
            self._door.leave()
            route = _route(scope)
            self._metrics.requests.labels(route, status or "gone").inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)


def tidy(path: str) -> str:
    """Remove double and trailing slashes: many senders join addresses carelessly.

    A redirect would not help: few of them would follow it with a POST.
    """
    if "//" not in path and not path.endswith("/"):
        return path
    return "/" + "/".join(part for part in path.split("/") if part)


def _with_defaults(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return a copy of *headers*, which answers may share, with NOSNIFF and, unless caching is set, NO_STORE."""
    given = list(headers)
    if not any(name == b"cache-control" for name, _ in given):
        given.append(NO_STORE)
    return [*given, NOSNIFF]


def _refusal() -> ASGIApp:
    return problem_response(
        Problem(
            503,
            "This process is stopping; nothing was acknowledged. Send it again.",
            headers={"Retry-After": RETRY_AFTER, "Connection": "close"},
        )
    )


def _route(scope: Scope) -> str:
    """Return the route's pattern, so that no id or token gets into a label or a log line."""
    route = scope.get("route")
    return route.path if route is not None else "none"
