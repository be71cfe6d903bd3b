"""All clients' connections: how many there may be, what they may hold, and the clock that ends those that stall."""

from __future__ import annotations

import asyncio
import fcntl
import resource
import sys
import termios
from typing import TYPE_CHECKING, cast

import prometheus_client
import structlog
from uvicorn.server import ServerState

from enrichment.settings import Settings

if TYPE_CHECKING:
    from receiver.connection import Connection

log = structlog.get_logger()

MOST_HELD = 32 * 1024 * 1024  # bytes of requests, over all connections, that wait unparsed or have half a head
MOST_UNREAD = 64 * 1024 * 1024  # bytes of answers, over all connections, that clients have not read
MOST_DESCRIPTORS = 65_536
RESERVED = 64  # file descriptors for what is neither a client's nor PostgreSQL's: log, loop, certificates
LEAST_CONNECTIONS = 16
LEAVING = 5.0  # seconds to read the answers when the process stops


class Clients(ServerState):
    """uvicorn's shared state, with limits. One pass a second looks at all connections: a timer each would cost more."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.most = min(settings.max_connections, descriptors() - settings.database_pool - RESERVED)
        self.most = max(self.most, LEAST_CONNECTIONS)
        self.head_timeout = settings.head_timeout_seconds
        self.idle_timeout = settings.idle_timeout_seconds
        self.write_timeout = settings.write_timeout_seconds
        self.interval = min(
            1.0, *(seconds / 4 for seconds in (self.head_timeout, self.idle_timeout, self.write_timeout))
        )
        self.weight = 0
        self.open_connections = prometheus_client.Gauge(
            "ringback_http_connections", "Connections of clients.", registry=None
        )
        self.open_connections.set_function(lambda: len(self.connections))
        self.refused_connections = prometheus_client.Counter(
            "ringback_http_connections_refused", "Connections refused, being more than MAX_CONNECTIONS.", registry=None
        )

    @property
    def full(self) -> bool:
        """Tell whether a further connection is one too many."""
        return len(self.connections) >= self.most

    @property
    def overweight(self) -> bool:
        """Tell whether the connections hold too much."""
        return self.weight > MOST_HELD

    def refuse_connection(self) -> None:
        """Count and log a connection that was refused; the log has one line a second and kind."""
        self.refused_connections.inc()
        log.warning("connection_refused", most=self.most)

    def refuse_request(self, status: int) -> None:
        """Log a request that was refused with *status* before it reached the application."""
        log.warning("request_refused", status=status)

    async def check(self) -> None:
        """Close what stalls, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.interval)
            now = loop.time()
            for connection in list(self.connections):
                cast("Connection", connection).check(now)
            self._relieve()

    def _relieve(self) -> None:
        """Abort connections while all together keep too many bytes of answers, those first that read least lately."""
        waiting = [one for one in cast("set[Connection]", self.connections) if one.unread]
        total = sum(one.unread for one in waiting)
        for one in sorted(waiting, key=lambda one: one.unread_since):
            if total <= MOST_UNREAD:
                return
            total -= one.unread
            one.transport.abort()

    def leave(self) -> None:
        """Give clients less time to read their answers: the process stops."""
        self.write_timeout = min(self.write_timeout, LEAVING)


def unacknowledged(descriptor: int) -> int:
    """Return the bytes that the kernel has sent, or will send, and the client has not acknowledged; 0: unknown."""
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def descriptors() -> int:
    """Raise the limit of file descriptors to what the system allows, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
