"""Outcomes while the database is away: kept, written when it is back, and written once."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from enrichment.outcome import Answered
from rig.postgres import execute
from rig.proxy import proxied
from store.claim import ClaimedJob
from submitter import submit
from submitter.outcomes import JobOutcome
from tests.at_work import BOTH, PATIENCE, AtWork, ended, until, wish_for
from tests.fake_provider import FakeProvider, accepted, found, held, nothing
from tests.wishes import jobs, status

if TYPE_CHECKING:
    from tests.conftest import Start


async def outcome_of(world: AtWork, lookup_id: UUID) -> str:
    """Everything on its way is written; the lookup's status."""
    async with asyncio.timeout(PATIENCE):
        await world.settle()
    return await status(world.pool, lookup_id)


@pytest.mark.parametrize("provider", BOTH)
async def test_an_outcome_survives_an_outage(
    start: Start, fake: FakeProvider, database_url: str, provider: str
) -> None:
    """The database goes away while the provider answers: the answer is kept, and written when it is back."""
    async with proxied(database_url) as proxy, start(proxy.url) as world:
        lookup_id = await wish_for(world, provider)
        slow = held(found() if provider == "leadmagic" else accepted("req-1"))
        fake.questions.append(slow)
        await world.claim(provider)
        await fake.arrive(1)

        proxy.cut()
        assert slow.release
        slow.release.set()
        await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
        proxy.mend()

        assert await outcome_of(world, lookup_id) == ("found" if provider == "leadmagic" else "running")
        assert await world.pool.fetchval("SELECT request_id FROM jobs") == ("req-1" if provider == "nyne" else None)
        assert len(fake.paid) == 1


async def test_an_outcome_survives_a_database_that_is_closed(
    start: Start, fake: FakeProvider, database_url: str, server_url: str
) -> None:
    """While PostgreSQL refuses connections, the answer is kept as well."""
    name = urlsplit(database_url).path.strip("/")
    sessions = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
    async with proxied(database_url) as proxy, start(proxy.url) as world:
        lookup_id = await wish_for(world)
        slow = held(found())
        fake.questions.append(slow)
        await world.claim("leadmagic")
        await fake.arrive(1)

        await execute(server_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", sessions)
        proxy.knocked.clear()
        assert slow.release
        slow.release.set()
        await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
        await execute(server_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

        assert await outcome_of(world, lookup_id) == "found"


async def test_an_outcome_is_written_once_whatever_the_answer_to_the_commit(
    start: Start, fake: FakeProvider, database_url: str
) -> None:
    """An outcome written twice, because the first commit was not acknowledged, is one outcome."""
    async with start() as world:
        lookup_id = await wish_for(world, *BOTH)
        fake.questions.append(nothing())
        (claimed,) = (await world.ask("leadmagic")).items

        await told_again(world, claimed)

        assert await ended(world, lookup_id) == [("leadmagic", "answered", 0, 0)]
        assert await jobs(world.pool) == 1


async def told_again(world: AtWork, claimed: ClaimedJob) -> None:
    """The writer writes an outcome again that it has written before."""
    leadmagic = world.process.providers["leadmagic"]
    await world.writer.write([JobOutcome(leadmagic, claimed, Answered(None, Decimal(0)))])


async def test_a_submitter_outlives_an_outage(start: Start, fake: FakeProvider, database_url: str) -> None:
    """While the database is away it waits; when it is back it goes on without a restart."""
    async with proxied(database_url) as proxy, start(proxy.url) as world:
        stop = asyncio.Event()
        running = asyncio.create_task(world.submitters["leadmagic"].loop.run(stop))
        proxy.cut()
        await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
        proxy.mend()
        lookup_id = await wish_for(world)
        await fake.arrive(1)
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await running

        assert await status(world.pool, lookup_id) == "not_found"


async def test_an_outcome_that_the_database_refuses_is_kept_and_holds_up_no_other(
    start: Start, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paid answer is not dropped after one try, and its neighbours are written meanwhile."""
    monkeypatch.setattr(submit, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(submit, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(submit, "WRITE_AGAIN", 1_000)
    async with start() as world:
        lookups = [await wish_for(world, work_email=f"{number}@acme.co") for number in range(3)]
        await world.pool.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'odd'; END $$"
        )
        await world.pool.execute(
            f"""
            CREATE TRIGGER odd BEFORE UPDATE ON lookups
                FOR EACH ROW WHEN (new.id = '{lookups[1]}') EXECUTE FUNCTION refuse()
            """
        )
        fake.questions.append(found())
        await world.claim("leadmagic")

        async def others_are_written() -> bool:
            return [await status(world.pool, id) for id in lookups] == ["found", "running", "found"]

        await until(others_are_written)
        await world.pool.execute("DROP TRIGGER odd ON lookups")

        assert await outcome_of(world, lookups[1]) == "found"
        assert len(fake.paid) == 3


async def test_a_submitter_outlives_an_error_that_nobody_planned(start: Start, fake: FakeProvider) -> None:
    """A claim that fails for another reason than an outage is tried again."""
    async with start() as world:
        await world.pool.execute("ALTER TABLE limits RENAME TO moved")
        stop = asyncio.Event()
        running = asyncio.create_task(world.submitters["leadmagic"].loop.run(stop))
        lookup_id = await wish_for(world)
        await asyncio.wait([running], timeout=0.3)
        assert not running.done()
        await world.pool.execute("ALTER TABLE moved RENAME TO limits")
        await fake.arrive(1)
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await running

        assert await status(world.pool, lookup_id) == "not_found"
