"""Wait for locks without making others wait behind us, and find out which session we wait for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
import structlog

from store.database import UNREACHABLE, DatabaseDown
from store.steps import SchemaError

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]
# Opens another connection to the same database.
Beside: TypeAlias = "Callable[[], AbstractAsyncContextManager[Connection]]"

# Everybody queues behind a session that waits for ACCESS EXCLUSIVE, so it gives up after a second, and lets them pass.
BRIEFLY = """
    SET LOCAL lock_timeout = '1s';
    SET LOCAL statement_timeout = '600s';
    SET LOCAL idle_in_transaction_session_timeout = 0;
"""
TRY_FOR = 60.0  # seconds from the first try of a transaction that failed
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 5.0  # seconds between two tries
LOOK_EVERY = 0.4  # seconds between two looks at the sessions that we wait for: twice before the lock times out
SAY_EVERY = 30.0  # seconds between two log lines about it

Result = TypeVar("Result")
log = structlog.get_logger()


class Blockers:
    """The sessions that a statement waits for, as last seen."""

    def __init__(self, beside: Beside | None) -> None:
        """Look from a connection of *beside*; without it, look at nothing."""
        self._beside = beside
        self.seen = "a session that could not be named"
        self._said_at = -SAY_EVERY

    @asynccontextmanager
    async def watched(self, connection: Connection) -> AsyncIterator[None]:
        """Look, inside the block, at the sessions that *connection* waits for."""
        if self._beside is None:
            yield
            return
        looking = asyncio.create_task(self._look(self._beside, await connection.fetchval("SELECT pg_backend_pid()")))
        try:
            yield
        finally:
            looking.cancel()
            # A look that fails is no reason to stop a migration.
            with suppress(asyncio.CancelledError, DatabaseDown, asyncpg.PostgresError, *UNREACHABLE):
                await looking

    async def _look(self, beside: Beside, pid: int) -> None:
        await asyncio.sleep(LOOK_EVERY)  # most statements have ended by then, and need no second connection
        async with beside() as other:
            while True:
                rows = await other.fetch(
                    """
                    SELECT format('session %s (%s, in a transaction for %s s)', pid,
                                  COALESCE(NULLIF(application_name, ''), usename, 'unnamed'),
                                  round(EXTRACT(epoch FROM clock_timestamp() - xact_start))) AS session
                      FROM unnest(pg_blocking_pids($1)) AS pid
                      LEFT JOIN pg_stat_activity USING (pid)
                     ORDER BY xact_start
                    """,
                    pid,
                )
                if rows:
                    self.seen = ", ".join(dict.fromkeys(row["session"] for row in rows))
                    now = asyncio.get_running_loop().time()
                    if now - self._said_at >= SAY_EVERY:
                        self._said_at = now
                        log.warning("migration_waits", behind=self.seen)
                await asyncio.sleep(LOOK_EVERY)


async def retried(attempt: Callable[[], Awaitable[Result]], blockers: Blockers) -> Result:
    """Return what *attempt* returns; when a lock was in its way, try again, for up to TRY_FOR seconds from then on.

    How long the first try took does not count: it may have waited for hours until it was our turn.

    Raise SchemaError, which names the sessions that hold the lock.
    """
    clock = asyncio.get_running_loop().time
    deadline, pause = math.inf, SHORTEST_PAUSE
    while True:
        try:
            return await attempt()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            log.warning("migration_tried_again", behind=blockers.seen)
            deadline = min(deadline, clock() + TRY_FOR)
            if clock() + pause > deadline:
                raise SchemaError(
                    f"A table is in use: {blockers.seen} holds it. Nothing is lost; what was applied stays. "
                    "Remedy: let that session end, or end it, and run `ringback migrate` again."
                ) from error
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
