"""A hint that only readings are due wakes the readers, and nobody else."""

from __future__ import annotations

import asyncio

from store.database import connect
from store.notify import ANYTHING, CHANNEL, READINGS, Listener, Notifier, hint
from tests.test_notify import Ear, at_work


async def test_named_contacts_wake_the_readers_alone(database_url: str) -> None:
    """Nothing else is due yet: the lookups come when the contacts have been read."""
    anything, readings = Ear(), Ear()
    notifier = Notifier(database_url, name="mouth")
    listener = Listener(database_url, anything.hear, name="ear", named=readings.hear)

    async with at_work(listener):
        await anything.more()  # it connected, and looks
        async with at_work(notifier):
            await anything.more()  # so did the notifier
            await readings.until_heard(lambda: notifier.wake(READINGS))
            assert anything.heard == 2
            await anything.until_heard(notifier.wake)


async def test_a_listener_without_readers_looks_for_everything(database_url: str) -> None:
    """A payload that nobody told it of means what it always meant."""
    ear = Ear()

    async with at_work(Listener(database_url, ear.hear, name="ear")):
        await ear.more()
        connection = await connect(database_url, name="raw")
        for payload in (READINGS, "of a later release"):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ear.more())
                tasks.create_task(connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload))
        await connection.close()


async def test_a_hint_of_two_kinds_is_one_of_anything(database_url: str) -> None:
    """What is requested while a hint is under way is put together, and loses nothing."""
    heard: asyncio.Queue[object] = asyncio.Queue()
    raw = await connect(database_url, name="raw")
    await raw.add_listener(CHANNEL, lambda *said: heard.put_nowait(said[3]))
    notifier = Notifier(database_url, name="mouth")
    notifier.wake(READINGS)  # and the one of its start

    async with at_work(notifier), asyncio.timeout(10):
        assert await heard.get() == ANYTHING
        notifier.wake(READINGS)
        assert await heard.get() == READINGS
        await hint(raw)
        assert await heard.get() == ANYTHING
    await raw.close()
