"""`ringback prune` beside everything else: retries, late answers and replays at the last moment, and busy tables."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from console import prune as command
from enrichment.settings import Settings
from store import prune as store
from store.deliveries import replay
from store.lookups import retry
from tests import factories
from tests.old_history import DAYS, MONTHS, NOW, OLD, OLDER, at, finished_job, lookup
from tests.pruning import left, prune
from tests.wishes import MOBILE, POLICY, answer, apply, end, read, status, take, take_one, wish

if TYPE_CHECKING:
    from tests.wishes import Pool


async def test_what_is_asked_again_at_the_last_moment_stays(history: Pool) -> None:
    """A person's retry between the look and the drop wins: nothing accepted is lost."""
    row = await lookup(history, final_status="failed")
    async with history.acquire(timeout=5) as connection:
        found = await store.look_at(connection, MONTHS[1], NOW - timedelta(days=DAYS))
        await retry(history, row["id"], POLICY)

        assert not found.needed
        assert await store.drop_month(connection, found) is False

        await end(history, row["id"])
        assert await store.drop_month(connection, found) is False
    assert (await left(history))["lookups"] == 1


async def test_a_late_number_at_the_last_moment_stays(history: Pool) -> None:
    """An answer that comes after the look has a 200: its month stays, though its lookup has followed already."""
    old = await lookup(history, final_status="unresolved")
    row = await finished_job(history, state="unknown", answered_by=None, credits=0, possible=3, lookup_id=old["id"])
    async with history.acquire(timeout=5) as connection:
        found = await store.look_at(connection, MONTHS[1], NOW - timedelta(days=DAYS))
        assert not found.needed
        await apply(history, answer(row["id"], "callback", MOBILE))

        assert await store.drop_month(connection, found) is False

    assert (await read(history, old["id"]))["mobile"] == MOBILE


async def test_a_result_that_is_replayed_at_the_last_moment_stays(history: Pool) -> None:
    """A person's replay between the look and the drop wins, and its result stays."""
    row = await factories.delivery(history, "given_up", id=at(OLD), lookup_id=(await lookup(history))["id"])
    async with history.acquire(timeout=5) as connection:
        found = await store.look_at(connection, MONTHS[1], NOW - timedelta(days=DAYS))
        assert not found.needed
        assert await replay(history, [row["id"]]) == {row["id"]}

        assert await store.drop_month(connection, found) is False


async def test_tables_in_use_are_waited_for_and_then_left(
    history: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a long dump runs, it is tried a few times, nothing is changed, and the output says what to do."""
    await finished_job(history)
    before = await left(history)
    monkeypatch.setattr(command, "TRIES", 2)
    monkeypatch.setattr(command, "PAUSE", 0.01)
    async with history.acquire(timeout=5) as reader, reader.transaction():
        await reader.fetch("SELECT FROM callbacks")

        fates, said = await prune(settings)

    assert fates[str(MONTHS[1])] == "busy"
    assert any("pg_stat_activity, and run this again" in line for line in said)
    assert await left(history) == before


async def test_it_goes_through_once_the_tables_are_free(
    history: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two tries the others go on, and one of the tries comes through."""
    monkeypatch.setattr(command, "PAUSE", 0.01)
    monkeypatch.setattr(command, "TRIES", 1000)
    await finished_job(history)
    async with history.acquire(timeout=5) as reader:
        transaction = reader.transaction()
        await transaction.start()
        await reader.fetch("SELECT FROM lookups")
        pruning = asyncio.create_task(prune(settings))
        for name in ("jane", "joe"):
            await take_one(history, work_email=f"{name}@acme.co")
        await transaction.rollback()
        fates, _ = await pruning

    assert fates[str(MONTHS[1])] == "dropped"
    assert (await left(history))["lookups"] == 2


async def test_it_works_while_everything_runs(history: Pool, settings: Settings) -> None:
    """Lookups come and end while months go: all of them are there afterwards, and none of the old ones."""
    for moment in (OLDER, OLD):
        await finished_job(history, moment)
    stop = asyncio.Event()
    taken: list[UUID] = []

    async def live(number: int) -> None:
        while not stop.is_set():
            one = await take_one(history, work_email=f"jane-{number}-{len(taken)}@acme.co")
            await end(history, one.id)
            taken.append(one.id)

    async with asyncio.TaskGroup() as lives:
        for number in range(3):
            lives.create_task(live(number))
        fates, _ = await prune(settings)
        stop.set()

    assert set(fates.values()) == {"dropped"}
    assert {row["id"] for row in await history.fetch("SELECT id FROM lookups")} == set(taken)


async def test_an_interrupted_run_is_made_up_for(history: Pool, settings: Settings) -> None:
    """After a run that died between the drop and the keys, the next one deletes the keys that lead nowhere."""
    await lookup(history)
    async with history.acquire(timeout=5) as connection:
        await store.drop_month(connection, await store.look_at(connection, MONTHS[1], NOW - timedelta(days=DAYS)))
    assert (await left(history))["keys"] == 2

    await prune(settings)

    assert (await left(history))["keys"] == 0


async def test_an_event_that_comes_again_before_its_fingerprint_is_deleted_is_new(history: Pool) -> None:
    """Between the drop of a month and the deletion of its fingerprints nothing that is accepted is lost."""
    first = await take_one(history, "evt-1", work_email="jane@acme.co")
    async with history.acquire(timeout=5) as connection:
        # As if the lookup and its search had been of a month that was dropped.
        await connection.execute("DELETE FROM lookups; DELETE FROM searches; DELETE FROM jobs")

    second, third = await take(history, *(wish("evt-1", work_email=f"{name}@acme.co") for name in ("jane", "jane")))
    fourth = await take_one(history, "evt-1", work_email="jane@acme.co")

    assert [one.duplicate for one in (second, third, fourth)] == [False, True, True]
    assert second.id == third.id == fourth.id != first.id
    assert await status(history, second.id) == "queued"
