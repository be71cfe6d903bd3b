"""Floods of questions that anybody may ask: each answer is made once, and the callers wait for it, not the events."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from receiver.fresh import Fresh
from receiver.openapi import document
from receiver.readiness import Readiness
from receiver.turnstile import AT_ONCE, LONGEST, PER_SECOND, Turnstile
from rig.proxy import proxied
from store.database import close_pool, open_pool
from tests.asgi import Client
from tests.commands import until
from tests.conftest import MakeSettings
from tests.test_health import AUTHORIZED, receiving
from tests.test_patience import SOON, receiver_at

if TYPE_CHECKING:
    from tests.wishes import Pool

SHARED = ("/readyz", "/metrics")
CALLERS = 64


async def connections_of(pool: Pool, name: str) -> int:
    """How many sessions of this name the server has."""
    count: int = await pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1", name
    )
    return count


@pytest.mark.parametrize(("fresh", "later"), [(60.0, 1), (0.0, 2)])
async def test_a_value_is_computed_once_for_all_who_ask_while_it_is_fresh(fresh: float, later: int) -> None:
    """Those who come meanwhile wait for the same one; later it is computed anew."""
    computed: list[None] = []

    async def compute() -> int:
        await asyncio.sleep(0)
        computed.append(None)
        return len(computed)

    value = Fresh(compute, fresh)

    together = await asyncio.gather(*(value.get() for _ in range(CALLERS)))

    assert (set(together), await value.get()) == ({1}, later)


async def test_a_late_value_is_waited_for_by_nobody_longer_than_he_can() -> None:
    """The computation goes on, and serves who asks later; an error reaches all who ask."""
    go = asyncio.Event()

    async def compute() -> int:
        await go.wait()
        raise LookupError

    value = Fresh(compute)

    with pytest.raises(TimeoutError):
        await value.get(0.01)
    go.set()
    for _ in range(2):
        with pytest.raises(LookupError):
            await value.get()


def test_the_turnstile_lets_some_pass_at_once_and_makes_nobody_wait_for_long() -> None:
    """A scrape waits for nothing; in a flood, no delay is longer than LONGEST, and it ends with the flood."""
    turnstile = Turnstile()

    delays = [turnstile.take_turn(100.0) for _ in range(AT_ONCE + PER_SECOND)]
    after = turnstile.take_turn(100.0 + 2 * LONGEST)

    assert set(delays[:AT_ONCE]) == {0.0}
    assert delays[AT_ONCE + 10] == pytest.approx(10 / PER_SECOND, abs=2 / PER_SECOND)
    assert max(delays) <= LONGEST + 1e-6
    assert after == 0.0


@pytest.mark.parametrize(
    ("path", "status", "paced"),
    [
        ("/metrics", 200, True), ("/docs/viewer/start.js", 200, True), ("/v1/lookups", 401, True), ("/x", 404, True),
        ("/events/generic", 429, True), ("/v1/lookups", 200, False), ("/events/generic", 202, False),
        ("/callbacks/nyne/1/x", 200, False), ("/events/generic", 503, False),
    ],
)  # fmt: skip
async def test_only_what_costs_us_little_is_paced(path: str, status: int, paced: bool) -> None:
    """Refusals and pages for anyone; never the answer to who proved who it is."""
    turnstile = Turnstile()
    for _ in range(2 * AT_ONCE):
        turnstile.take_turn(time.monotonic())
    waiting = asyncio.ensure_future(turnstile.wait(path, status))

    await asyncio.sleep(0)

    assert waiting.done() != paced
    await waiting


async def test_questions_about_health_take_no_connection_of_the_pool(
    database_url: str, pool: Pool, make_settings: MakeSettings
) -> None:
    """With every pooled connection in use /readyz is answered, by one session that is closed at the end."""
    async with receiver_at(database_url, make_settings) as client:
        taken = [await pool.acquire() for _ in range(8)]
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(CALLERS)))
        for connection in taken:
            await pool.release(connection)
        assert {answer.status for answer in answers} == {200}
        assert await connections_of(pool, "ringback receiver readiness") == 1

    async def closed() -> bool | None:
        return await connections_of(pool, "ringback receiver readiness") == 0 or None

    assert await until(closed)


async def test_readiness_follows_the_database_within_seconds(database_url: str) -> None:
    """Its session ended, its network silent, and back: /readyz says so each time, soon, and never a stale yes."""
    async with proxied(database_url) as proxy:
        pool = await open_pool(proxy.url, name="tests", size=2)
        readiness = Readiness(pool, proxy.url)

        async def turns(expected: bool | None) -> float:
            async def look() -> float | None:
                return time.monotonic() if await readiness.acknowledges() is expected else None

            begun = time.monotonic()
            async with asyncio.timeout(SOON):
                return await until(look) - begun

        took = [await turns(True)]
        proxy.cut()
        took.append(await turns(None))
        proxy.mend()
        took.append(await turns(True))
        proxy.fall_silent()
        took.append(await turns(None))
        proxy.mend()
        took.append(await turns(True))
        readiness.close()
        await close_pool(pool)

    assert max(took[:3]) < 2.5
    assert took[3] < 3.5
    assert took[4] < SOON


async def test_readiness_waits_for_the_schema(database_url: str) -> None:
    """A pool that was not found usable stores nothing yet."""
    pool = await open_pool(database_url, name="tests", size=2)
    pool.usable = False
    readiness = Readiness(pool, database_url)

    assert await readiness.acknowledges() is None
    readiness.close()
    await close_pool(pool)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_a_description_is_not_sent_to_who_has_it(offline: Client, path: str) -> None:
    """Its tag stays the same until the next release; another tag gets the text."""
    whole = await offline.get(path)
    tag = whole.headers["etag"]

    same = [await offline.get(path, {"if-none-match": value}) for value in (tag, f'"x", {tag}', f"W/{tag}", "*")]
    other = await offline.get(path, {"if-none-match": '"x"'})

    assert [(answer.status, answer.body) for answer in same] == [(304, b"")] * 4
    assert same[0].headers["etag"] == tag
    assert (other.status, other.body) == (200, whole.body)


def test_the_description_is_made_once() -> None:
    """Every asker gets the same object."""
    assert document() is document()


async def test_callers_that_ask_at_once_again_are_slowed_down(database_url: str) -> None:
    """However many there are, they get about PER_SECOND answers, and events are taken in between."""
    stop = asyncio.Event()
    answered = 0

    async def ask(session: aiohttp.ClientSession, path: str) -> None:
        nonlocal answered
        while not stop.is_set():
            async with session.get(path) as answer:
                assert answer.status in {200, 401}
                await answer.read()
            answered += 1

    async with (
        receiving(database_url) as receiver,
        aiohttp.ClientSession(receiver.url, connector=aiohttp.TCPConnector(limit=0)) as session,
        asyncio.TaskGroup() as callers,
    ):
        begun = time.monotonic()
        for number in range(CALLERS * 4):
            path = ("/metrics", "/readyz", "/openapi.json", "/docs", "/v1/lookups")[number % 5]
            callers.create_task(ask(session, path))
        for number in range(10):
            event = {"event_id": str(number), "name": "Jane Doe", "work_email": "jane@acme.co"}
            async with session.post("/events/generic", json=event, headers=AUTHORIZED) as answer:
                assert answer.status == 202
        took = time.monotonic() - begun
        stop.set()

    assert answered <= PER_SECOND * took + AT_ONCE + 2 * 4 * CALLERS
