"""Connections to PostgreSQL, each wait with its deadline."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from enrichment import embedded
from enrichment.settings import Settings

# A pool, or one connection when statements belong to one transaction.
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
}

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


class DatabaseDown(Exception):
    """PostgreSQL cannot be used; the message says why and what to do."""


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
    try:
        return await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT,
            command_timeout=COMMAND_TIMEOUT,
            server_settings=SERVER_SETTINGS | {"application_name": f"ringback {name}"},
        )
    except (*UNREACHABLE, asyncpg.PostgresError, ValueError) as error:
        raise DatabaseDown(_advice(error)) from error


async def open_pool(url: str, *, name: str, size: int) -> asyncpg.Pool[Any]:
    """A pool whose first connection is proven to work.  Raises DatabaseDown."""
    try:
        return await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            timeout=CONNECT_TIMEOUT,
            command_timeout=COMMAND_TIMEOUT,
            server_settings=SERVER_SETTINGS | {"application_name": f"ringback {name}"},
            reset=_nothing_to_reset,
        )
    except (*UNREACHABLE, asyncpg.PostgresError, ValueError) as error:
        raise DatabaseDown(_advice(error)) from error


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


def _advice(error: Exception) -> str:
    what = str(error) or type(error).__name__
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        remedy = "check the user and password in DATABASE_URL"
    elif isinstance(error, asyncpg.InvalidCatalogNameError):
        remedy = "create that database, or correct DATABASE_URL"
    elif isinstance(error, ValueError):
        what, remedy = (
            "DATABASE_URL cannot be read",
            "it should look like postgresql://user:password@host:5432/name",
        )
    else:
        remedy = "start PostgreSQL, or correct DATABASE_URL, or unset it to use the embedded one"
    return f"PostgreSQL cannot be used: {what}. Remedy: {remedy}."
