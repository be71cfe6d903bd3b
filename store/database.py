"""Connections to PostgreSQL, each wait with its deadline."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from asyncpg.pool import PoolAcquireContext

from enrichment.settings import Settings
from store import embedded

# A pool, or one connection when statements belong to one transaction.
Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Db = asyncpg.Pool | asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

CONNECT_TIMEOUT = 5.0  # seconds, for one connection
ACQUIRE_TIMEOUT = 5.0  # seconds, for a connection out of the pool
COMMAND_TIMEOUT = 15.0  # seconds, for one statement, as we see it
CLOSE_TIMEOUT = 5.0  # seconds, for the pool to close before its connections are cut

# The same bounds kept by the server, for when we are gone or frozen.
SERVER_SETTINGS = {
    "statement_timeout": "15s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "jit": "off",  # our statements are short; compiling them takes longer than running them
    "max_parallel_workers_per_gather": "0",  # and so does starting workers: with two years of months, ten times longer
}

STATEMENTS_KEPT = 100  # prepared statements of one connection
# In DATABASE_URL, 0 is for a pooler that cannot tell whose prepared statement is whose: each is then parsed anew.
_KEPT_IN_URL = re.compile(r"([?&])statement_cache_size=(\d+)(&?)")

# What a database looks like from here that is away, restarting, closed, read-only or overloaded, or that asks to be
# asked again because two transactions met.
UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # A session that was terminated while it was idle, used again before the end of its connection has arrived.
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)


Method = TypeVar("Method", bound=Callable[..., Any])
if TYPE_CHECKING:
    AnyConnection: TypeAlias = asyncpg.Connection[Any]
    AnyPool: TypeAlias = asyncpg.Pool[Any]
else:
    AnyConnection, AnyPool = asyncpg.Connection, asyncpg.Pool


class DatabaseDown(Exception):
    """PostgreSQL cannot be used; the message says why and what to do."""


def _leaving(method: Method) -> Method:
    """*method* of a connection, which is closed when its server turns out to be read-only."""

    @wraps(method)
    async def left(connection: AnyConnection, *args: Any, **kwargs: Any) -> Any:
        try:
            return await method(connection, *args, **kwargs)
        except asyncpg.ReadOnlySQLTransactionError:
            connection.terminate()
            raise

    return cast("Method", left)


class WritingConnection(AnyConnection):
    """A connection to a primary: after a failover it does not stay with the server that is read-only now."""

    execute = _leaving(asyncpg.Connection.execute)
    executemany = _leaving(asyncpg.Connection.executemany)
    fetch = _leaving(asyncpg.Connection.fetch)
    fetchrow = _leaving(asyncpg.Connection.fetchrow)
    fetchval = _leaving(asyncpg.Connection.fetchval)


class PatientPool(AnyPool):
    """A pool in which nobody waits for ever: not for a connection either, where its own fetch and execute take one."""

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext[Any]:
        """A connection, after *timeout* seconds at the latest."""
        return super().acquire(timeout=ACQUIRE_TIMEOUT if timeout is None else timeout)


def database_url(settings: Settings) -> str:
    """The URL of PostgreSQL: the one that was set, or the embedded server's, started if need be."""
    if settings.database_url is None:
        try:
            return embedded.start(settings.ringback_home)
        except embedded.EmbeddedError as error:
            raise DatabaseDown(str(error)) from error
    return settings.database_url.get_secret_value()


async def connect(url: str, *, name: str) -> asyncpg.Connection[Any]:
    """One connection outside any pool.  Raises DatabaseDown."""
    url, kept = _statements_kept(url)
    try:
        return await asyncpg.connect(
            url,
            statement_cache_size=kept,
            connection_class=WritingConnection,
            timeout=CONNECT_TIMEOUT,
            command_timeout=COMMAND_TIMEOUT,
            server_settings=SERVER_SETTINGS | {"application_name": f"ringback {name}"},
            target_session_attrs=_wanted(url),
        )
    except (*UNREACHABLE, asyncpg.PostgresError, ValueError) as error:
        raise DatabaseDown(_advice(error)) from error


async def open_pool(url: str, *, name: str, size: int) -> asyncpg.Pool[Any]:
    """A pool whose first connection is proven to work.  Raises DatabaseDown."""
    url, kept = _statements_kept(url)
    try:
        return await PatientPool(
            url,
            statement_cache_size=kept,
            min_size=1,
            max_size=size,
            max_queries=50_000,
            max_inactive_connection_lifetime=300.0,
            loop=None,
            connection_class=WritingConnection,
            record_class=asyncpg.Record,
            timeout=CONNECT_TIMEOUT,
            command_timeout=COMMAND_TIMEOUT,
            server_settings=SERVER_SETTINGS | {"application_name": f"ringback {name}"},
            target_session_attrs=_wanted(url),
            reset=_nothing_to_reset,
        )
    except (*UNREACHABLE, asyncpg.PostgresError, ValueError) as error:
        raise DatabaseDown(_advice(error)) from error


@asynccontextmanager
async def transaction(pool: asyncpg.Pool[Any]) -> AsyncIterator[Connection]:
    """Yield a connection inside a transaction that is committed at the end of the block."""
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection, connection.transaction():
        yield connection


async def close_pool(pool: asyncpg.Pool[Any]) -> None:
    """The pool is closed, by force after CLOSE_TIMEOUT."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await pool.close()
    except (TimeoutError, *UNREACHABLE):
        pool.terminate()


async def _nothing_to_reset(_: asyncpg.Connection[Any]) -> None:
    # asyncpg's reset is a round trip at every release. Nothing of ours needs it: we never SET, LISTEN, or take a
    # session's advisory lock on a pooled connection. An open transaction is still rolled back.
    return


def _wanted(url: str) -> SessionAttribute | None:
    """Of several hosts in *url*, only one that can be written to is of use; unless it says otherwise."""
    return None if "target_session_attrs=" in url else SessionAttribute.read_write


def _statements_kept(url: str) -> tuple[str, int]:
    """*url* without our own parameter, and what that says."""
    if not (said := _KEPT_IN_URL.search(url)):
        return url, STATEMENTS_KEPT
    return url.replace(said[0], said[1] if said[3] else ""), int(said[2])


def _advice(error: Exception) -> str:
    what = str(error) or type(error).__name__
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        remedy = "check the user and password in DATABASE_URL"
    elif isinstance(error, asyncpg.InvalidCatalogNameError):
        remedy = "create that database, or correct DATABASE_URL"
    elif isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        what, remedy = "it is read-only", "let DATABASE_URL lead to the primary, or name all hosts in it"
    elif isinstance(error, ValueError):
        what, remedy = (
            "DATABASE_URL cannot be read",
            "it should look like postgresql://user:password@host:5432/name",
        )
    else:
        remedy = "start PostgreSQL, or correct DATABASE_URL, or unset it to use the embedded one"
    return f"PostgreSQL cannot be used: {what}. Remedy: {remedy}."
