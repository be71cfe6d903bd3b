"""One connection to a primary: it never cancels a commit, and leaves a server that became read-only.

With a synchronous standby, COMMIT waits for it. When that wait is cancelled, PostgreSQL commits all the same, and says
so in a warning: the transaction is then on one server, and lost after a failover.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import asyncpg

COMMIT_TIMEOUT = 15.0  # seconds, for a commit; it is not cancelled, and goes on without its caller
COMMIT_ABANDONED = 300.0  # seconds, until the connection of such a commit is dropped

COMMIT, ROLLBACK = "COMMIT;", "ROLLBACK;"  # as asyncpg's transactions send them
# Only a transaction that wrote to the log waits for the standby. One message, so one round trip.
ACKNOWLEDGING_COMMIT = "SELECT pg_logical_emit_message(true, 'ringback', ''::text); COMMIT;"
# A host that is gone is noticed within 11 seconds, before a statement is given up: then all its connections end.
KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 11_000}

Method = TypeVar("Method", bound=Callable[..., Any])
if TYPE_CHECKING:
    AnyConnection: TypeAlias = asyncpg.Connection[Any]
else:
    AnyConnection = asyncpg.Connection


class NotReplicated(Exception):
    """A transaction was committed on this server, and perhaps on no standby."""


def _watching(method: Method) -> Method:
    """Wrap a *method* that sends a statement: close the connection when its server is read-only.

    The wrapper raises NotReplicated when the server warns that it stopped waiting for the standby. Only a statement
    that commits can bring that warning.
    """

    @wraps(method)
    async def watched(connection: WritingConnection, query: str, *args: Any, **kwargs: Any) -> Any:
        commits = query == COMMIT or not connection.is_in_transaction()
        if commits:
            connection.unreplicated = False
            connection.add_log_listener(connection.hear)
        try:
            result = await method(connection, query, *args, **kwargs)
        except asyncpg.ReadOnlySQLTransactionError:
            connection.terminate()
            raise
        finally:
            if commits:
                connection.remove_log_listener(connection.hear)
        if commits and connection.unreplicated:
            raise NotReplicated("committed, and perhaps not replicated to the standby")
        return result

    return cast("Method", watched)


class WritingConnection(AnyConnection):
    """A connection to a primary.

    After a failover it leaves a server that became read-only. Its commits are never cancelled: PostgreSQL would commit
    all the same, without waiting for the standby.
    """

    unreplicated = False
    acknowledges = False
    host: int | None = None  # its number among several in the URL
    committing: asyncio.Future[str] | None = None  # the commit under way, perhaps without its caller

    def hear(self, _: Any, message: asyncpg.PostgresLogMessage) -> None:
        """Note a warning that the server stopped waiting for the standby."""
        # Recognised by the C function that warns: the words depend on the server's language.
        self.unreplicated |= message.server_source_function == "SyncRepWaitForLSN"

    def acknowledge(self) -> None:
        """Make the transaction wait for the standby when it commits, even if it has written nothing."""
        self.acknowledges = True

    @_watching
    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Execute *query*, as asyncpg does; a commit outlives its caller and COMMIT_TIMEOUT."""
        if query not in {COMMIT, ROLLBACK}:
            return await super().execute(query, *args, timeout=timeout)
        acknowledges, self.acknowledges = self.acknowledges, False
        if query == ROLLBACK:
            return await super().execute(query, timeout=timeout)
        if acknowledges:
            query = ACKNOWLEDGING_COMMIT
        self.committing = asyncio.ensure_future(super().execute(query, timeout=COMMIT_ABANDONED))
        async with asyncio.timeout(COMMIT_TIMEOUT):
            said = await asyncio.shield(self.committing)
        if said != "COMMIT":
            raise asyncpg.InFailedSQLTransactionError("the transaction was rolled back: one of its statements failed")
        return said

    executemany = _watching(asyncpg.Connection.executemany)
    fetch = _watching(asyncpg.Connection.fetch)
    fetchrow = _watching(asyncpg.Connection.fetchrow)
    fetchval = _watching(asyncpg.Connection.fetchval)


def keep_alive(connection: asyncpg.Connection[Any]) -> None:
    """Make the kernel notice a server whose host is gone."""
    transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001  no public way
    plug = transport.get_extra_info("socket")
    if plug is None or plug.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:  # other kernels have other names
            plug.setsockopt(socket.IPPROTO_TCP, option, value)
