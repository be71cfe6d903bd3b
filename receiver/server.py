"""uvicorn with our own shutdown: announce it, refuse requests, finish, and exit with 0."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress

import structlog
import uvicorn
from starlette.types import ASGIApp

from receiver.front import Front
from receiver.gate import Door

log = structlog.get_logger()

BACKLOG = 4096
KEEP_ALIVE = 75  # seconds; longer than a load balancer's, or it may write into a connection that we just closed
# From the first 503 of /readyz to the first refused request: load balancers check about every second.
NOTICE = 1.0  # seconds
# A body may take ten seconds, and a commit ten more; platforms kill after thirty.
GRACE = 20  # seconds


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 means any free port. Raise OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


class Server(uvicorn.Server):
    """Serves until a signal. uvicorn alone would refuse connections at once, and end by killing the process."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=Front,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # no handler uses the client's address
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=GRACE,
            )
        )
        self._door = door
        self._stopped = asyncio.Event()

    async def main_loop(self) -> None:
        """Renew the Date header once a second, until `stop`. uvicorn's own loop wakes ten times a second."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopped.wait()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop only the server at SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._say_so)
        loop.add_signal_handler(signal.SIGINT, self.stop)  # from a keyboard: no load balancer to warn
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)

    def _say_so(self) -> None:
        if self._door.ready:
            log.info("draining")
            self._door.ready = False
            asyncio.get_running_loop().call_later(NOTICE, self.stop)

    def stop(self) -> None:
        """Accept no more requests, finish those in flight, and let `serve` return."""
        self._door.ready, self._door.closed = False, True
        self.should_exit = True
        self._stopped.set()
