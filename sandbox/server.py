"""One vendor on one socket: it listens, announces its URL, and stops cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BACKLOG = 4096
KEEP_ALIVE = 75  # seconds; a vendor's gateway outlasts the idle connections of a client's pool
PATIENCE = 2.0  # seconds that requests in flight have after a SIGTERM; then they are cut, not answered


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 is any free one. Raise OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # Connections inherit it. asyncio sets it only on sockets that name their protocol, and the body of an answer would
    # wait 40 ms for the acknowledgement of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def address(listener: socket.socket) -> str:
    """Return the base URL under which the socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(app: ASGIApp, listener: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; call *ready* with the base URL once requests are answered."""
    server = Server(app)
    url = address(listener)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    server.when_ready = lambda: ready(url)
    await server.serve(sockets=[listener])


@contextlib.asynccontextmanager
async def running(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve the app inside the block, on this event loop; yield its base URL."""
    started = asyncio.Event()
    listener = listen(host, port)
    url = address(listener)
    server = Server(app)
    server.when_ready = started.set
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await started.wait()
        yield url
    finally:
        server.stop()
        await task


class Connection(HttpToolsProtocol):
    """A connection that the app may cut, as a dying vendor does; ASGI alone cannot do that."""

    def on_message_begin(self) -> None:
        """Put the transport into the scope of each request."""
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


class Server(uvicorn.Server):
    """Uvicorn without its signal handling, which would end the process by the signal and not with 0."""

    def __init__(self, app: ASGIApp) -> None:
        """Prepare to serve *app*; only errors are logged."""
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE,
            )
        )
        self.when_ready: Callable[[], object] = lambda: None
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Refuse new connections, and leave requests in flight a moment to finish."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        """Renew the Date header once a second, until `stop`. uvicorn's own loop wakes ten times a second."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopped.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then call when_ready."""
        await super().startup(sockets)
        self.when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection; cut those that outlast PATIENCE."""
        cut = asyncio.get_running_loop().call_later(PATIENCE, self._cut_all)
        await super().shutdown(sockets)
        cut.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the code that started the server."""
        yield

    def _cut_all(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.transport.abort()
