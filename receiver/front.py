"""Refuse forged callbacks before anything is done for them: no task, no route, no handler.

A flood of them shares the event loop with genuine callbacks, and these wait for whatever each turn of the loop does
for strangers. So a forged one costs as little as it can, and a connection that brought one waits in line for its next
request to be parsed: each turn of the loop serves a few of the line, and then everybody else.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop
from collections import deque
from typing import Any

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from receiver.callbacks import PREFIX, ROUTE, Addresses
from receiver.clients import Clients
from receiver.connection import Connection, Part
from receiver.gate import tidy
from receiver.metrics import Metrics
from receiver.turnstile import Turnstile

FORGED = 5_000  # forged callbacks served in line, per second and process; beyond that the line gets longer
PER_TURN = 4  # of them in one turn of the event loop: less than half a millisecond
BURST = FORGED // 100  # what 10 ms bring, which a timer may be late
# A stranger learns nothing from the answer.
NOT_OURS = (
    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
)


class Strangers:
    """Tell forged callbacks from ours, count them, and keep the line of the connections that brought one."""

    def __init__(self, addresses: Addresses, metrics: Metrics) -> None:
        self._addresses = addresses
        self._refused = metrics.requests.labels(ROUTE, 404)
        self._turnstile = Turnstile(per_second=FORGED, at_once=BURST)
        self._line: deque[Front] = deque()
        self._is_serving = False  # `_serve` is due: it must not be twice, or each would serve at the full rate

    def is_forged(self, scope: Any) -> bool:
        """Tell whether this is a POST to a callback address that we never gave out; note the address if we did."""
        path: str = scope["path"]
        if scope["method"] != "POST" or not path.startswith(PREFIX):
            return False
        scope["callback"] = self._addresses.find(tidy(path))
        return scope["callback"] is None

    def refused(self) -> None:
        """Count one forged callback."""
        self._refused.inc()

    def line_up(self, connection: Front) -> None:
        """Put a connection at the end of the line."""
        self._line.append(connection)
        if not self._is_serving:
            self._is_serving = True
            get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        """Serve the first of the line; go on in the next turn of the event loop, or when the next ones are due."""
        loop = get_running_loop()
        delay = 0.0
        try:
            for _ in range(min(PER_TURN, len(self._line))):
                delay = self._turnstile.take_turn(loop.time())
                self._line.popleft().serve()
        finally:  # whatever happens to one, the others are served
            self._is_serving = bool(self._line)
            if self._is_serving:
                loop.call_later(delay, self._serve)


class Front(Connection):
    """A client's connection, which answers forged callbacks by itself."""

    def __init__(
        self,
        config: Config,
        server_state: Clients,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._strangers: Strangers = config.loaded_app.state.strangers
        self._is_in_line = False
        self._may_begin = True  # the next request; not after a forged one, until it is its turn

    def advance(self) -> None:
        """Feed the parser, or wait in line for the next request's turn."""
        super().advance()
        if self._arrived and not self._is_in_line and not self._may_feed() and super()._may_feed():
            self._is_in_line = True
            self._strangers.line_up(self)

    def serve(self) -> None:
        """Take the turn that the connection waited for in line."""
        self._is_in_line, self._may_begin = False, True
        self.advance()

    def check(self, now: float) -> None:
        """Close the connection when it stalls, which it does not while it waits in line: it waits for us."""
        if self._is_in_line:
            self._since = now
        super().check(now)

    def _may_feed(self) -> bool:
        return (self._may_begin or self._part is not Part.NOTHING) and super()._may_feed()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        self._may_begin = not self._strangers.is_forged(cycle.scope)
        if self._may_begin:
            super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]
        else:
            self._refuse_forged(cycle)

    def _refuse_forged(self, cycle: RequestResponseCycle) -> None:
        self._strangers.refused()
        cycle.response_started = cycle.response_complete = True
        if cycle.keep_alive:
            self.transport.write(self._answer(b"\r\n"))
            self.loop.call_soon(self.on_response_complete)  # not now: this runs inside the parser
        else:
            self.transport.write(self._answer(b"connection: close\r\n\r\n"))
            self.leave()

    def _answer(self, end: bytes) -> bytes:
        given = [name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers]  # Date
        return b"".join((NOT_OURS, *given, end))
