"""`ringback prune`: whole months go when nobody can ask for anything in them any more, and no sooner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from enrichment.identity import key_hash
from store.followers import promote

from console import prune as command
from console.prune import Pruned
from enrichment.settings import Settings
from store import prune as store
from store.partitions import HISTORY
from tests import factories
from tests.old_history import DAYS, MONTHS, NOW, OLD, OLDER, at, finished_job, lookup, make_months, open_lookup
from tests.wishes import POLICY, end, status, take, take_one, wish

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]
    Make: TypeAlias = Callable[[Pool], Awaitable[Any]]


@pytest.fixture
async def history(pool: Pool) -> Pool:
    """A database that has been there for some months."""
    await make_months(pool)
    return pool


async def prune(settings: Settings, *, days: int = DAYS, dry_run: bool = False) -> tuple[dict[str, str], list[str]]:
    """What became of each month, and what was said about it."""
    said: list[str] = []
    pruned = Pruned(days, dry_run)
    await command._prune(settings, pruned, said.append)
    return {str(month["month"]): str(month["fate"]) for month in pruned.months}, said


async def left(pool: Pool) -> dict[str, int]:
    """How many rows each table of the history has, and the keys."""
    return {
        table: await pool.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
        for table in (*HISTORY, "keys")
    }


async def test_a_month_that_is_over_goes_as_a_whole(history: Pool, settings: Settings) -> None:
    """Events, lookups, jobs, callbacks and ledger of one month go together, and the keys that led there."""
    await finished_job(history)
    new = await take_one(history, work_email="new@acme.co")
    await end(history, new.id)
    before = await left(history)

    fates, said = await prune(settings)

    assert before == dict.fromkeys(HISTORY, 1) | {"events": 2, "lookups": 2, "finished_jobs": 2, "keys": 3}
    assert await left(history) == dict.fromkeys(HISTORY, 0) | {"events": 1, "lookups": 1, "finished_jobs": 1, "keys": 2}
    assert fates[str(MONTHS[1])] == "dropped"
    assert f"{MONTHS[1]}: dropped, 1 lookups, " in "\n".join(said)
    assert "Keys of dropped lookups: 1 deleted." in said


async def test_the_sums_of_money_outlive_the_rows(history: Pool, settings: Settings) -> None:
    """What was charged can still be compared with a bill when the questions are forgotten."""
    await finished_job(history, reserved_on=OLD.date())

    await prune(settings)

    assert await history.fetchval("SELECT sum(charged) FROM usage WHERE day = $1", OLD.date()) == 3


async def test_a_dry_run_drops_nothing(history: Pool, settings: Settings) -> None:
    """It says what would go."""
    await finished_job(history)
    before = await left(history)

    fates, said = await prune(settings, dry_run=True)

    assert fates[str(MONTHS[1])] == "dropped"
    assert f"{MONTHS[1]}: would be dropped, 1 lookups" in "\n".join(said)
    assert await left(history) == before


async def test_a_second_run_finds_nothing(history: Pool, settings: Settings) -> None:
    """What is gone is gone; and the oldest month that there is, is named."""
    await prune(settings)

    fates, said = await prune(settings)

    assert fates == {}
    assert said[0].startswith(f"No month is older than {DAYS} days; the oldest there is: 20")


async def keep_open(pool: Pool) -> None:
    """Somebody is still looked for."""
    await open_lookup(pool)


async def keep_asking(pool: Pool) -> None:
    """A late answer has ended the lookup, while its next question is on its way."""
    await factories.job(pool, "awaiting", lookup_id=(await lookup(pool))["id"])


async def keep_job(pool: Pool) -> None:
    """A question of that month is open, about a lookup that began before."""
    await factories.job(pool, "awaiting", id=at(OLD), lookup_id=(await lookup(pool, OLDER))["id"])


async def keep_leader(pool: Pool) -> None:
    """A lookup of today waits for one of that month, which has ended: it was not told yet."""
    await open_lookup(pool, NOW, reused_from=(await lookup(pool))["id"])


async def keep_recent_end(pool: Pool) -> None:
    """A lookup was asked again by a person, and its answer is of yesterday: it may be taken again."""
    await lookup(pool, finished_at=NOW - timedelta(days=1))


async def keep_late_answer(pool: Pool) -> None:
    """A job was answered yesterday, long after it was given up."""
    await finished_job(pool, finished_at=NOW - timedelta(days=1))


async def keep_doubt(pool: Pool) -> None:
    """A job is over, and its provider is still to be asked whether its callback told the truth."""
    await finished_job(pool, check_at=NOW, check_request_id="req-2")


async def keep_of_older(pool: Pool) -> None:
    """A lookup of the month before is open, and a job of this month says who was asked already."""
    await finished_job(pool, lookup_id=(await open_lookup(pool, OLDER))["id"])


KEPT: list[tuple[Make, str]] = [
    (keep_open, "1 lookups that are still open"),
    (keep_asking, "1 open questions"),
    (keep_job, "1 open questions"),
    (keep_leader, "1 open lookups that follow one of it"),
    (keep_recent_end, f"1 that ended less than {DAYS} days ago"),
    (keep_late_answer, f"1 that ended less than {DAYS} days ago"),
    (keep_doubt, "1 jobs whose answer is still to be verified"),
    (keep_of_older, "1 jobs of older lookups that stay"),
]


@pytest.mark.parametrize(("make", "why"), KEPT, ids=[make.__name__ for make, _ in KEPT])
async def test_what_may_still_be_asked_for_keeps_its_month(
    history: Pool, settings: Settings, make: Make, why: str
) -> None:
    """The month stays as it is, keys included, and the reason is said."""
    await make(history)
    before = await left(history)

    fates, said = await prune(settings)

    assert fates[str(MONTHS[1])] == "kept"
    assert any(line.startswith(f"{MONTHS[1]}: stays, ") and line.endswith(why) for line in said)
    assert await left(history) == before


async def test_a_month_that_stays_does_not_keep_the_others(history: Pool, settings: Settings) -> None:
    """One lookup that a person asked again does not hold up what came after it."""
    await lookup(history, OLDER, finished_at=NOW)
    await finished_job(history)

    fates, _ = await prune(settings)

    assert (fates[str(MONTHS[0])], fates[str(MONTHS[1])]) == ("kept", "dropped")
    assert (await left(history))["keys"] == 1


async def test_a_month_goes_only_when_all_of_it_is_old_enough(history: Pool, settings: Settings) -> None:
    """Whole months only: one that ended less than so many days ago is not looked at."""
    days = (NOW - MONTHS[1].next.begin).days

    assert str(MONTHS[1]) not in (await prune(settings, days=days + 1, dry_run=True))[0]
    assert str(MONTHS[1]) in (await prune(settings, days=days, dry_run=True))[0]


async def test_what_is_asked_again_at_the_last_moment_stays(history: Pool) -> None:
    """A person's retry between the look and the drop wins: what was accepted is not lost."""
    row = await lookup(history, final_status="failed")
    async with history.acquire(timeout=5) as connection:
        found = await store.look_at(connection, MONTHS[1], NOW - timedelta(days=DAYS))
        await promote(history, row["id"], POLICY, by_a_person=True)

        assert not found.needed
        assert await store.drop_month(connection, found) is False

        await end(history, row["id"])
        assert await store.drop_month(connection, found) is False
    assert (await left(history))["lookups"] == 1


async def test_tables_in_use_are_waited_for_and_then_left(
    history: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump that runs for long: it is tried a few times, nothing is changed, and one is told what to do."""
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
    """The month went, and then the power: the next run deletes the keys that lead nowhere."""
    await lookup(history)
    async with history.acquire(timeout=5) as connection:
        await store.drop_month(connection, await store.look_at(connection, MONTHS[1], NOW - timedelta(days=DAYS)))
    assert (await left(history))["keys"] == 1

    await prune(settings)

    assert (await left(history))["keys"] == 0


async def test_whoever_comes_back_afterwards_is_looked_up_anew(history: Pool, settings: Settings) -> None:
    """Nothing remembers the person; and a key whose first speaker is gone is spoken for by the new one."""
    await lookup(history, work_email="jane@acme.co", final_status="found", mobile="+15551234567")
    await prune(settings)

    taken = await take_one(history, work_email="jane@acme.co")

    assert (taken.status, taken.duplicate) == ("queued", False)
    assert (await left(history))["keys"] == 2


async def test_keys_of_whoever_is_there_stay(
    history: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All keys are looked at, some at a time; only those that lead nowhere go."""
    monkeypatch.setattr(store, "CHUNK", 3)
    for _ in range(5):
        await lookup(history)
    for _ in range(5):
        await lookup(history, NOW)

    await prune(settings)

    assert (await left(history))["keys"] == 5


async def test_a_key_stays_while_its_former_speaker_is_there(history: Pool, settings: Settings) -> None:
    """The one that was retried is gone, and the one before it, which is younger, may still be heard."""
    row = await lookup(history)
    younger = await lookup(history, NOW)
    await history.execute("UPDATE keys SET before = $2 WHERE lookup_id = $1", row["id"], younger["id"])

    await prune(settings)

    assert (await left(history))["keys"] == 2


async def test_what_came_without_a_month_is_said(history: Pool, settings: Settings) -> None:
    """The default partition is never dropped: who wonders why something is still there is told."""
    await lookup(history, OLDER - timedelta(days=90))

    _, said = await prune(settings)

    assert "1 older lookups stay: they came when their month was not made yet." in said


async def test_an_event_that_comes_again_before_its_key_is_deleted_is_new(history: Pool) -> None:
    """Between the drop of a month and the deletion of its keys nothing that is accepted is lost."""
    row = await lookup(history)
    await history.execute("INSERT INTO keys (key, lookup_id) VALUES ($1, $2)", key_hash("event", "evt-1"), row["id"])
    async with history.acquire(timeout=5) as connection:
        await store.drop_month(connection, await store.look_at(connection, MONTHS[1], NOW - timedelta(days=DAYS)))

    first, second = await take(history, *(wish("evt-1", work_email=f"{name}@acme.co") for name in ("jane", "jane")))
    third = await take_one(history, "evt-1", work_email="jane@acme.co")

    assert [one.duplicate for one in (first, second, third)] == [False, True, True]
    assert first.id == second.id == third.id
    assert await status(history, first.id) == "queued"
