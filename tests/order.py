"""An explicit order among sessions: the first holds a lock, and the test sees the second wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import asyncpg

from store.database import connect

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]
    Pool: TypeAlias = asyncpg.Pool[Any]

Result = TypeVar("Result")

PATIENCE = 10.0  # seconds, until a test is stuck


class Order:
    """An order in which one thing begins, and another waits for it."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def first(self) -> AsyncIterator[Connection]:
        """Hold the transaction of the first session open inside the block; commit it at the end."""
        connection = await connect(self._url, name="first")
        try:
            async with connection.transaction():
                yield connection
        finally:
            await connection.close()

    async def waiting(self, awaitable: Awaitable[Result], at_least: int = 1) -> asyncio.Task[Result]:
        """Start *awaitable*, and return its task once so many sessions wait for a lock."""
        task = asyncio.ensure_future(awaitable)
        watcher = await connect(self._url, name="watcher")
        async with asyncio.timeout(PATIENCE):
            while not task.done():
                waiting = await watcher.fetchval(
                    """
                    SELECT count(*)
                      FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'
                    """
                )
                if waiting >= at_least:
                    break
        await watcher.close()
        assert not task.done(), "it did not wait"
        return task


def one_connection(connection: Connection) -> Pool:
    """Return a pool of this connection, whose transaction is the test's."""
    return cast("Pool", _OneConnection(connection))


class _OneConnection:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self, **_: Any) -> AsyncIterator[Connection]:
        """Lend the connection."""
        yield self._connection


async def waiting_for_a_lock(watcher: Connection) -> list[int]:
    """Return the backends of this database that wait for a lock, once there is one."""
    while True:
        rows = await watcher.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        if rows:
            return [row["pid"] for row in rows]
