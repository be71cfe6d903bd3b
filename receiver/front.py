"""Refuse forged callbacks before anything is done for them: no task, no route, no handler.

A flood of them shares the event loop with genuine callbacks, and these wait for whatever each turn of the loop does
for strangers. So a forged one costs as little as it can, and above a rate its answer waits: a connection has one
request at a time, so a flood slows down to that rate.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from typing import Any

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from receiver.callbacks import PREFIX, ROUTE, Addresses
from receiver.clients import Clients
from receiver.connection import Connection
from receiver.gate import tidy
from receiver.metrics import Metrics
from receiver.turnstile import Turnstile

ANSWERS = 5_000  # to forged callbacks, per second and process; beyond that they wait
AT_ONCE = ANSWERS // 200  # what 5 ms bring: a burst is spread, so that genuine callbacks come in between
LONGEST_WAIT = 1.0  # seconds
# A stranger learns nothing from the answer.
NOT_OURS = (
    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
)


class Strangers:
    """Tell forged callbacks from ours, count them, and pace their answers."""

    def __init__(self, addresses: Addresses, metrics: Metrics) -> None:
        self._addresses = addresses
        self._refused = metrics.requests.labels(ROUTE, 404)
        self._turnstile = Turnstile(per_second=ANSWERS, at_once=AT_ONCE, longest=LONGEST_WAIT)

    def is_forged(self, scope: Any) -> bool:
        """Tell whether this is a POST to a callback address that we never gave out; note the address if we did."""
        path: str = scope["path"]
        if scope["method"] != "POST" or not path.startswith(PREFIX):
            return False
        scope["callback"] = self._addresses.find(tidy(path))
        return scope["callback"] is None

    def delay(self, now: float) -> float:
        """Count one answer to a stranger; return the seconds until it is due, 0 at less than ANSWERS a second."""
        self._refused.inc()
        return self._turnstile.take_turn(now)


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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if not self._strangers.is_forged(cycle.scope):
            super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]
        elif delay := self._strangers.delay(self.loop.time()):
            self.loop.call_later(delay, self._refuse_forged, cycle)
        else:
            self._refuse_forged(cycle)

    def _refuse_forged(self, cycle: RequestResponseCycle) -> None:
        if cycle.disconnected or self.transport.is_closing():  # it was refused while it waited, or the client is gone
            return
        cycle.response_started = cycle.response_complete = True
        if cycle.keep_alive:
            self.transport.write(self._answer(b"\r\n"))
            self.loop.call_soon(self.on_response_complete)  # not now: this may run inside the parser
        else:
            self.transport.write(self._answer(b"connection: close\r\n\r\n"))
            self.leave()

    def _answer(self, end: bytes) -> bytes:
        given = [name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers]  # Date
        return b"".join((NOT_OURS, *given, end))
