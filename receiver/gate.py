"""The outermost layer of the app: counts what is in flight, answers when nobody else does, and closes."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.metrics import Metrics
from receiver.problems import RETRY_AFTER, Problem, broken, problem_response

# Asked by machines that watch us while we stop.
ALWAYS_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})


class Door:
    """Whether work comes in: open, then *ready* is False (we say so), then *closed* (we refuse)."""

    def __init__(self) -> None:
        self.ready = True
        self.closed = False
        self.in_flight = 0
        self._idle = asyncio.Event()

    def leave(self) -> None:
        """One request less is in flight."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def emptied(self, timeout: float) -> bool:
        """Whether nothing is in flight any more, after *timeout* seconds at the latest.

        uvicorn stops the app without waiting for the handlers that it cancelled, so we wait ourselves.
        """
        self.ready, self.closed = False, True
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
    """Pure ASGI: refuses when the door is closed, counts, and turns what nobody caught into a 500."""

    def __init__(self, app: ASGIApp, *, door: Door, metrics: Metrics) -> None:
        self._app = app
        self._door = door
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def counting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._door.in_flight += 1
        try:
            if self._door.closed and scope["path"] not in ALWAYS_OPEN:
                await _refusal()(scope, receive, counting_send)
            else:
                await self._app(scope, receive, counting_send)
        except ClientDisconnect:
            pass  # nobody is left to answer, and nothing was stored
        except Exception as error:  # noqa: BLE001  it is logged, and answered
            response = broken(error, _route(scope))
            if status:
                raise ConnectionAbortedError from None  # half an answer went out: only cutting it off is honest
            await response(scope, receive, counting_send)
        finally:
            self._door.leave()
            self._metrics.requests.labels(_route(scope), status or "gone").inc()


def _refusal() -> ASGIApp:
    return problem_response(
        Problem(
            503,
            "This process is stopping; nothing was acknowledged. Send it again.",
            headers={"Retry-After": RETRY_AFTER, "Connection": "close"},
        )
    )


def _route(scope: Scope) -> str:
    """The route's pattern, so that no id or token becomes a label or a log line."""
    route = scope.get("route")
    return route.path if route is not None else "none"
