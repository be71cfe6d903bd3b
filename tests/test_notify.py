"""Hints that jobs may be due: they reach every listener, seldom, and through outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from rig.proxy import proxied
from store import notify
from store.database import connect
from store.notify import CHANNEL, Listener, Notifier

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

PATIENCE = 10.0  # seconds, until a test is stuck


class Ear:
    """A listener that counts its hints and can be waited on."""

    def __init__(self) -> None:
        self.heard = 0
        self._news = asyncio.Event()

    def hear(self) -> None:
        """Once more."""
        self.heard += 1
        self._news.set()

    async def more(self) -> None:
        """It hears something from now on."""
        self._news.clear()
        async with asyncio.timeout(PATIENCE):
            await self._news.wait()

    async def until_heard(self, say: Callable[[], None]) -> None:
        """Call *say* again and again until the hint arrives."""
        before = self.heard
        async with asyncio.timeout(PATIENCE):
            while self.heard == before:
                say()
                await asyncio.sleep(0.01)


@asynccontextmanager
async def at_work(*loops: Notifier | Listener) -> AsyncIterator[None]:
    """Inside the block they run."""
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)


async def cut_off(pool: Pool, name: str) -> None:
    """The session of that name is ended by the server."""
    ended = await pool.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = $1",
        f"ringback {name}",
    )
    assert ended


async def test_a_wake_is_heard_in_another_process(database_url: str) -> None:
    """A hint wakes listeners in other processes."""
    ear = Ear()
    notifier, listener = Notifier(database_url, name="mouth"), Listener(database_url, ear.hear, name="ear")

    async with at_work(notifier, listener):
        await ear.until_heard(notifier.wake)


async def test_a_listener_that_connects_looks_once(database_url: str) -> None:
    """Jobs committed before a listener connected gave it no hint, so it looks once."""
    ear = Ear()

    async with at_work(Listener(database_url, ear.hear, name="ear")):
        await ear.more()


async def test_many_wakes_are_few_hints(database_url: str) -> None:
    """A commit that notifies takes a lock of the whole database, so a storm of wakes is a handful of hints."""
    ear = Ear()
    raw = await connect(database_url, name="raw")
    await raw.add_listener(CHANNEL, lambda *_: ear.hear())
    notifier = Notifier(database_url, name="mouth")

    async with at_work(notifier):
        await ear.more()  # the first one, at the start
        for _ in range(1000):
            notifier.wake()
        await ear.more()
        for _ in range(1000):
            notifier.wake()
            await asyncio.sleep(0)
        await ear.more()

    assert ear.heard <= 10
    await raw.close()


async def test_a_lost_connection_is_replaced(database_url: str, pool: Pool) -> None:
    """Hints go on after the server has ended the session that sends them."""
    ear = Ear()
    notifier, listener = Notifier(database_url, name="mouth"), Listener(database_url, ear.hear, name="ear")

    async with at_work(notifier, listener):
        await ear.until_heard(notifier.wake)
        await cut_off(pool, "mouth")
        await ear.until_heard(notifier.wake)


async def test_a_listener_that_was_cut_off_is_back_at_once_and_looks(database_url: str, pool: Pool) -> None:
    """It reconnects without waiting for its next ping, and looks for jobs that it missed."""
    ear = Ear()

    async with at_work(Listener(database_url, ear.hear, name="ear")):
        await ear.more()
        await cut_off(pool, "ear")
        await ear.more()


async def test_both_outlive_an_outage(database_url: str) -> None:
    """While the database is away, neither side crashes; afterwards hints arrive again."""
    ear = Ear()
    async with proxied(database_url) as proxy:
        notifier, listener = Notifier(proxy.url, name="mouth"), Listener(proxy.url, ear.hear, name="ear")
        proxy.cut()
        async with at_work(notifier, listener):
            await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
            proxy.mend()
            await ear.until_heard(notifier.wake)


def test_a_connection_that_died_silently_is_noticed() -> None:
    """A listener without hints pings its connection from time to time."""
    assert notify.PING_EVERY <= 60
    assert notify.PATIENCE < notify.PING_EVERY
