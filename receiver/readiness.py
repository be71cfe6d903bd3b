"""Ask PostgreSQL whether it would acknowledge an event now, on a connection of our own.

The pool's connections are for those who store something: a flood of questions about our health takes none of them.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from receiver.fresh import Fresh
from receiver.problems import UNAVAILABLE
from store.database import PatientPool, connect, replication_is_stuck

PATIENCE = 0.9  # seconds; load balancers usually wait for one
# After so many seconds without an answer the connection is dropped: its network may be dead. Shorter, and a database
# that is only slow would be asked over a new connection each time.
LONGEST = 3.0


class Readiness:
    """What PostgreSQL said last, at most a second ago."""

    def __init__(self, pool: asyncpg.Pool[Any], url: str) -> None:
        self._pool = pool
        self._url = url
        self._connection: asyncpg.Connection[Any] | None = None
        self._said = Fresh(self._ask)

    async def acknowledges(self) -> bool | None:
        """Tell whether PostgreSQL acknowledges commits; None when it does not answer within PATIENCE."""
        try:
            return await self._said.get(PATIENCE)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Drop the connection, first of all: a statement on it need not be cancelled then."""
        self._drop()
        self._said.close()

    async def _ask(self) -> bool | None:
        if isinstance(self._pool, PatientPool):
            if not self._pool.usable:
                return None
            if self._pool.stuck:
                return False
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await connect(self._url, name="receiver readiness")
            # Dropping it ends the statement without a cancel request, which the same network would swallow.
            too_long = asyncio.get_running_loop().call_later(LONGEST, self._drop)
            try:
                return not await replication_is_stuck(self._connection)
            finally:
                too_long.cancel()
        except (asyncpg.PostgresError, *UNAVAILABLE):
            self._drop()  # perhaps a pooler's session, whose server is gone
            return None

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
