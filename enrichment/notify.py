"""Wake-up calls between processes, by NOTIFY: a hint that saves waiting, never the truth, which is in the table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import structlog

from enrichment.database import UNREACHABLE, DatabaseDown, connect

log = structlog.get_logger()

CHANNEL = "ringback_jobs"
# A commit that carries a NOTIFY takes a lock on the whole database; so it travels alone, and not too often.
APART = 0.010  # seconds
RECONNECT_AFTER = 1.0  # seconds
PING_EVERY = 30.0  # seconds: a dead connection is an endless silence


class Notifier:
    """Tells the submitters that there are new jobs, on a connection of its own."""

    def __init__(self, url: str, *, name: str) -> None:
        self._url = url
        self._name = name
        self._news = asyncio.Event()

    def wake(self) -> None:
        """The submitters hear of it within milliseconds; costs the caller nothing."""
        self._news.set()

    async def run(self) -> None:
        """News is passed on until this is cancelled, the first at once, the rest together, APART seconds later."""
        while True:
            try:
                connection = await connect(self._url, name=self._name)
                try:
                    await self._pass_on(connection)
                finally:
                    connection.terminate()
            except (*UNREACHABLE, asyncpg.PostgresError, DatabaseDown):
                await asyncio.sleep(RECONNECT_AFTER)

    async def _pass_on(self, connection: asyncpg.Connection[Any]) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await connection.execute("SELECT pg_notify($1, '')", CHANNEL)
            await asyncio.sleep(APART)


class Listener:
    """Hears what the notifiers say, on a connection of its own, past any pooler."""

    def __init__(self, url: str, heard: Callable[[], None], *, name: str) -> None:
        self._url = url
        self._heard = heard
        self._name = name

    async def run(self) -> None:
        """*heard* is called at every wake-up until this is cancelled, and after every reconnection."""
        while True:
            try:
                connection = await connect(self._url, name=self._name)
                try:
                    await connection.add_listener(CHANNEL, lambda *_: self._heard())
                    self._heard()
                    while True:
                        await asyncio.sleep(PING_EVERY)
                        await connection.execute("SELECT 1")
                finally:
                    connection.terminate()
            except (*UNREACHABLE, asyncpg.PostgresError, DatabaseDown) as error:
                log.info("listener_away", error=type(error).__name__)
                await asyncio.sleep(RECONNECT_AFTER)
