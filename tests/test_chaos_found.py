"""Defects that the chaos found, reduced: each test is named after the symptom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from enrichment.contact import Contact
from enrichment.outcome import Pause
from enrichment.providers import build_providers
from enrichment.providers.base import HttpResponse, LimitNews
from store.claim import ClaimedJob
from store.database import UNREACHABLE, close_pool, open_pool
from store.lookups import decide_again
from store.providers import claim_check, pass_turns, pause, register_provider, resume
from submitter.outcomes import CHECK_PAUSED_AFTER, JobOutcome, note_pause
from tests.at_work import NO_LIMITS, AtWork, at_work
from tests.claims import QUICK, take
from tests.factories import job
from tests.order import Order
from tests.wishes import MOBILE, OTHER_MOBILE, POLICY, answer, apply, end, jobs, read, take_one

if TYPE_CHECKING:
    from store.intake import Receipt
    from tests.conftest import MakeSettings

    Pool: TypeAlias = asyncpg.Pool[Any]

OLD = 60.0  # seconds
EMAIL = "jane@acme.co"


@pytest.fixture
async def world(make_settings: MakeSettings, database_url: str) -> AsyncIterator[AtWork]:
    """A process at work."""
    async with at_work(make_settings(database_url=database_url, **NO_LIMITS), database_url) as working:
        yield working


async def test_a_session_that_was_terminated_unnoticed_looks_like_a_database_that_is_away(
    database_url: str, pool: Pool
) -> None:
    """A session terminated by PostgreSQL is tried again, also while the end of its connection is still on its way.

    93 answers, paid for, were thrown away: asyncpg raises an error of its own kind, which was not expected.
    """
    async with without_ends(database_url) as (url, goodbye):
        fragile = await open_pool(url, name="fragile", size=1)
        async with fragile.acquire(timeout=5) as connection, asyncio.timeout(10):
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ringback fragile'"
            )
            await goodbye.wait()
            await pool.fetchval("SELECT 1")  # meanwhile the connection has read it, being idle
            with pytest.raises(asyncpg.InternalClientError) as raised:
                await connection.fetchval("SELECT 1")

        assert isinstance(raised.value, UNREACHABLE)
        assert await fragile.fetchval("SELECT 1") == 1
        await close_pool(fragile)


async def test_an_old_402_does_not_pause_a_provider_that_was_found_well_since(world: AtWork) -> None:
    """While the database was away, a 402 could not be written down; meanwhile the account was topped up.

    The provider was paused again, and since that looked like an account that goes up and down, for 100 seconds.
    """
    await note_pause(world.pool, "nyne", "out of credits")
    await resume(world.pool, "nyne")

    await world.writer.write([told_402(world, ago=OLD)])

    assert await paused(world.pool) is None


async def test_a_new_402_pauses_a_provider_that_was_found_well_before(world: AtWork) -> None:
    """A new 402 counts, although the provider's free endpoint said before that the account is well."""
    await note_pause(world.pool, "nyne", "out of credits")
    await resume(world.pool, "nyne")

    await world.writer.write([told_402(world, ago=0)])

    assert await paused(world.pool) == "out of credits"
    assert not await claim_check(world.pool, "nyne", CHECK_PAUSED_AFTER)


def test_a_larger_minute_is_not_taken_for_the_hour(make_settings: MakeSettings) -> None:
    """Where a plan allows more than the page says, its header is still about the minute.

    6,000 a minute is nearer to the documented 1,000 an hour than to 100 a minute: after 6,000 questions everything
    stood still for the rest of the hour.
    """
    nyne = build_providers(make_settings(nyne_per_minute=6_000, nyne_per_hour=360_000))["nyne"]
    headers = {"ratelimit-limit": "6000", "ratelimit-remaining": "5999", "ratelimit-reset": "42"}

    news = nyne.read_limits(HttpResponse(202, headers))

    assert news == LimitNews(6_000, 60)


def told_402(world: AtWork, *, ago: float) -> JobOutcome:
    """Return Nyne's 402 of so many seconds *ago*."""
    asked = ClaimedJob(uuid7(), uuid7(), uuid7(), 1, 0, Contact(name="Jane Doe"), 0.0)
    return JobOutcome(world.process.providers["nyne"], asked, Pause("out of credits"), at=time.monotonic() - ago)


async def paused(pool: Pool) -> str | None:
    """Why Nyne is paused, None when it is not."""
    reason: str | None = await pool.fetchval("SELECT paused_reason FROM providers WHERE name = 'nyne'")
    return reason


@asynccontextmanager
async def without_ends(database_url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Inside the block the database is reached at the yielded URL, too; that the server hangs up goes unnoticed.

    The event is set once the server has said an error, such as its goodbye.
    """
    target, said = urlsplit(database_url), asyncio.Event()
    passing: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if folder := parse_qs(target.query).get("host"):
            far = await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.{target.port or 5432}")
        else:
            far = await asyncio.open_connection(target.hostname, target.port or 5432)
        tasks = {
            asyncio.create_task(pass_on(far[0], writer, said)),
            asyncio.create_task(pass_on(reader, far[1], asyncio.Event())),
        }
        passing.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.ALL_COMPLETED)
        writer.close()
        far[1].close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield target._replace(netloc=f"postgres:@127.0.0.1:{port}", query="sslmode=disable").geturl(), said
    finally:
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.wait(passing)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: asyncio.Event) -> None:
    """Bytes are passed on, until there are no more; the end is not.  An error of the server's is noted."""
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
            if data.startswith(b"E"):
                said.set()


async def failed_beside_more(pool: Pool) -> tuple[Receipt, Receipt, asyncpg.Record]:
    """Return a lookup whose question failed, one with more identifiers that is decided anew, and the failed job."""
    first = await take_one(pool, work_email=EMAIL)
    more = await take_one(pool, work_email=EMAIL, profile_url="linkedin.com/in/janedoe")
    await end(pool, first.id, state="failed")
    failed = await pool.fetchrow("SELECT * FROM finished_jobs")
    assert failed is not None
    assert (await read(pool, more.id))["reused_from"] is None
    return first, more, failed


async def test_a_lookup_that_was_decided_already_was_decided_again(pool: Pool) -> None:
    """Two processes decide the same lookup anew, one after the other: the second one leaves it alone.

    It used to take a number while its own question was out, and its callback got a 500.
    """
    _, more, _ = await failed_beside_more(pool)

    assert await decide_again(pool, [more.id], POLICY) == 0

    assert (await read(pool, more.id))["status"] == "queued"
    await end(pool, more.id, mobile=MOBILE)
    assert (await read(pool, more.id))["credits"] == 5


async def test_a_number_was_paid_for_twice_though_it_came_before_the_second_question(pool: Pool) -> None:
    """A lookup that is decided anew takes the late number; one without a key of that search is asked about itself."""
    first, more, failed = await failed_beside_more(pool)
    third = await take_one(pool, profile_url="linkedin.com/in/janedoe")
    assert (await read(pool, third.id))["reused_from"] == more.id

    await apply(pool, answer(failed["id"], "callback"))

    rows = [await read(pool, one.id) for one in (first, more)]
    assert [(row["status"], row["mobile"], row["credits"]) for row in rows] == [
        ("found", MOBILE, 3),
        ("found", MOBILE, 0),
    ]
    told = await read(pool, third.id)
    assert (told["status"], told["reused_from"], await jobs(pool)) == ("queued", None, 1)


async def test_a_question_that_is_out_is_paid_for_even_if_a_number_came_late(pool: Pool) -> None:
    """The lookup has its number at once; the answer that is still to come costs its credits, and changes nothing."""
    _, more, failed = await failed_beside_more(pool)
    await register_provider(pool, "leadmagic", QUICK, {})
    (asked,) = (await take(pool, "leadmagic", most=1)).jobs

    await apply(pool, answer(failed["id"], "callback"))
    assert ((await read(pool, more.id))["status"], await jobs(pool)) == ("found", 1)
    await apply(pool, answer(asked.id, "inline", OTHER_MOBILE))

    row = await read(pool, more.id)
    assert (row["mobile"], row["credits"], await jobs(pool)) == (MOBILE, 3, 0)


async def test_a_turn_that_two_processes_passed_was_asked_twice(pool: Pool, order: Order) -> None:
    """Two processes saw that LeadMagic is paused; the second's statement finds the job at Nyne, and leaves it alone.

    It used to append Nyne to what is left to ask: ['nyne', 'leadmagic', 'nyne'].
    """
    for name in ("leadmagic", "nyne"):
        await register_provider(pool, name, (), {60: 1000})
    await job(pool, provider="leadmagic", todo=["nyne"])
    await pause(pool, "leadmagic", "no credits", timedelta(seconds=5))
    sent: list[Any] = []
    async with order.first() as first:
        with first.query_logger(sent.append):
            await pass_turns(first, "leadmagic")
            await asyncio.sleep(0)  # asyncpg tells of a statement in the loop's next turn
        moves = next(one for one in sent if "UPDATE jobs" in one.query)
        second = await order.waiting(pool.execute(moves.query, *moves.args))

    assert await second == "UPDATE 0"
    (now,) = await pool.fetch("SELECT provider, todo, held FROM jobs")
    assert (now["provider"], now["todo"], now["held"]) == ("nyne", ["leadmagic"], None)
