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

from enrichment.process import draining_signals
from receiver.clients import Clients
from receiver.front import Front
from receiver.gate import Door

log = structlog.get_logger()

BACKLOG = 4096
# Where the system has them: a client that is gone without a word is noticed after 90 seconds.
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 90_000}
# From the first 503 of /readyz to the first refused request: load balancers check about every second.
NOTICE = 1.0  # seconds
# A body may take ten seconds, and a commit ten more; platforms kill after thirty.
GRACE = 20  # seconds


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 means any free port. Raise OSError when the port is taken.

    `::` takes IPv4 as well, and only that where the system has no IPv6. Of a name, the first address that is ours.
    """
    if host == "::" and not socket.has_dualstack_ipv6():
        host = "0.0.0.0"  # noqa: S104  the same: every address
    if host == "::":
        listener = socket.create_server((host, port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    else:
        listener = _listen_at_first(host, port)
    # Connections inherit these: https://man7.org/linux/man-pages/man7/tcp.7.html
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return listener


def _listen_at_first(host: str, port: int) -> socket.socket:
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses.sort(key=lambda address: address[0] != socket.AF_INET)
    for number, (family, _, _, _, address) in enumerate(addresses, start=1):
        try:
            return socket.create_server(address[:2], family=family, backlog=BACKLOG)
        except OSError:
            if number == len(addresses):
                raise
    raise OSError(f"{host} has no address")


class Server(uvicorn.Server):
    """Serves until a signal. uvicorn alone would refuse connections at once, and end by killing the process."""

    def __init__(self, app: ASGIApp, door: Door, clients: Clients) -> None:
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
                timeout_graceful_shutdown=GRACE,
            )
        )
        self.server_state = clients
        self._clients = clients
        self._door = door
        self._stopped = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until stopped, and see to it that no connection stalls, to the end."""
        checking = asyncio.create_task(self._clients.check())
        try:
            await super().serve(sockets)
        finally:
            checking.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the clients read their answers, for a short time, and end."""
        self._clients.leave()
        await super().shutdown(sockets)

    async def main_loop(self) -> None:
        """Renew the Date header once a second, until `stop`. uvicorn's own loop wakes ten times a second."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopped.wait()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop only the server at the signals that drain."""
        loop = asyncio.get_running_loop()
        numbers = draining_signals()
        for number in numbers:
            loop.add_signal_handler(number, self._say_so)
        loop.add_signal_handler(signal.SIGINT, self.stop)  # from a keyboard: no load balancer to warn
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _say_so(self) -> None:
        if self._door.ready:
            log.info("draining")
            self._door.announce()
            asyncio.get_running_loop().call_later(NOTICE, self.stop)

    def stop(self) -> None:
        """Accept no more requests, finish those in flight, and let `serve` return."""
        self._door.close()
        self.should_exit = True
        self._stopped.set()
