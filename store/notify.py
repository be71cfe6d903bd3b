"""Send and receive hints that jobs may be due: a coalesced NOTIFY and its listener.

The listener also polls, so a hint that fails is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg

from store.database import UNREACHABLE, DatabaseDown, Db, connect

CHANNEL = "ringback_jobs"
# Payloads. A listener that does not know one looks for everything.
ANYTHING = ""
PAUSES = "pauses"  # the brake has changed
READINGS = "readings"  # contacts of a CRM were named, and nothing else is due

# A commit that notifies takes a database-wide lock, so hints are few, and each has its own commit.
SHORTEST_PAUSE = 0.01  # seconds between two hints
LONGEST_PAUSE = 30.0  # seconds between two tries while the database is unusable
PATIENCE = 5.0  # seconds for one statement
PING_EVERY = 30.0  # seconds; without pings, a listener does not notice a connection that died silently

_AWAY = (DatabaseDown, asyncpg.PostgresError, *UNREACHABLE)


async def hint(db: Db) -> None:
    """Send one hint. Call outside a transaction."""
    await db.execute(f"SELECT pg_notify('{CHANNEL}', '')", timeout=PATIENCE)


class Notifier:
    """Sends a hint after each wake: at once when idle, and at most one per SHORTEST_PAUSE."""

    def __init__(self, url: str, *, name: str) -> None:
        self._url = url
        self._name = name
        self._woken = asyncio.Event()
        self._payloads: set[str] = set()

    def wake(self, payload: str = ANYTHING) -> None:
        """Request a hint without waiting for it."""
        self._payloads.add(payload)
        self._woken.set()

    async def run(self) -> None:
        """Send hints on a separate connection until cancelled."""
        connection: asyncpg.Connection[Any] | None = None
        pause = SHORTEST_PAUSE
        self.wake()  # connects now, so that the first hint need not wait for it
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                payloads, self._payloads = self._payloads, set()
                payload = payloads.pop() if len(payloads) == 1 else ANYTHING
                try:
                    if connection is None or connection.is_closed():
                        connection = await connect(self._url, name=self._name)
                    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload, timeout=PATIENCE)
                    pause = SHORTEST_PAUSE
                except _AWAY:
                    pause = min(pause * 2, LONGEST_PAUSE)
                await asyncio.sleep(pause)
        finally:
            if connection is not None:
                connection.terminate()


class Listener:
    """Calls *wake* at every hint, and whenever hints may have been missed.

    *braked* is called before it at hints that the brake changed, *named* in its place where only readings are due.
    """

    def __init__(
        self,
        url: str,
        wake: Callable[[], None],
        *,
        name: str,
        braked: Callable[[], None] = lambda: None,
        named: Callable[[], None] | None = None,
    ) -> None:
        self._url = url
        self._wake = wake
        self._braked = braked
        self._named = named or wake
        self._name = name
        self.is_listening = False

    async def run(self) -> None:
        """Listen on a separate connection until cancelled; connect again when it is lost."""
        pause = SHORTEST_PAUSE
        while True:
            try:
                connection = await connect(self._url, name=self._name)
            except DatabaseDown:
                pause = min(pause * 2, LONGEST_PAUSE)
                await asyncio.sleep(pause)
                continue
            pause = SHORTEST_PAUSE
            try:
                await self._listen(connection)
            except _AWAY:
                pass
            finally:
                self.is_listening = False
                connection.terminate()
            await asyncio.sleep(pause)

    async def _listen(self, connection: asyncpg.Connection[Any]) -> None:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(CHANNEL, self._hear)
        self.is_listening = True
        while not lost.is_set():
            self._wake()  # for jobs committed before we listened, or missed
            try:
                async with asyncio.timeout(PING_EVERY):
                    await lost.wait()
            except TimeoutError:
                await connection.execute("SELECT 1", timeout=PATIENCE)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload == READINGS:
            self._named()
            return
        if payload == PAUSES:
            self._braked()
        self._wake()
