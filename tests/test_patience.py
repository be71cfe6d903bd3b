"""While PostgreSQL is away a message is held: stored when it comes back in time, refused when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from receiver import patience
from receiver.app import create_app
from receiver.gate import Door
from rig.proxy import Proxy, proxied
from store.database import close_pool, connect, open_pool
from tests.asgi import Client, living
from tests.called_back import found, path_for, verdicts
from tests.conftest import TOKEN, MakeSettings
from tests.factories import job
from tests.order import waiting_for_a_lock
from tests.receiving import EVENT, lookups, stored
from tests.test_database_away import SHORT

if TYPE_CHECKING:
    from tests.wishes import Pool

SOON = 10.0  # seconds, until a test is stuck


@asynccontextmanager
async def receiver_at(url: str, make_settings: MakeSettings, door: Door | None = None) -> AsyncIterator[Client]:
    """Inside the block a receiver works on the database at *url*."""
    pool = await open_pool(url, name="tests", size=2)
    app = create_app(make_settings(), pool, url, door)
    async with living(app):
        yield Client(app, {"authorization": f"Bearer {TOKEN}"})
    await close_pool(pool)


async def held(proxy: Proxy) -> None:
    """Wait until the receiver has tried the closed door twice: by the second time, it holds the request."""
    for _ in range(2):
        proxy.knocked.clear()
        await asyncio.wait_for(proxy.knocked.wait(), SOON)


async def test_what_comes_while_postgresql_is_away_is_stored_when_it_is_back(
    database_url: str, pool: Pool, make_settings: MakeSettings
) -> None:
    """An event and a callback are held during an outage, and acknowledged once they are committed."""
    row = await job(pool, "awaiting")
    before = await stored(pool)
    async with proxied(database_url) as proxy, receiver_at(proxy.url, make_settings) as client:
        proxy.cut()
        event = asyncio.create_task(client.post("/events/generic", EVENT))
        callback = asyncio.create_task(client.post(path_for(row["id"]), found(row["request_id"])))
        await held(proxy)
        untouched = await stored(pool)

        proxy.mend()

        async with asyncio.timeout(SOON):
            answers = await asyncio.gather(event, callback)

    assert untouched == before
    assert [answer.status for answer in answers] == [202, 200]
    assert len(lookups(answers[0])) == 1
    assert await verdicts(pool) == ["applied"]


async def test_a_commit_that_was_cut_off_is_made_again_and_once(client: Client, pool: Pool, database_url: str) -> None:
    """When PostgreSQL drops us before the commit, nothing is there; the sender hears of the commit that succeeds."""
    watcher, blocker = [await connect(database_url, name="tests") for _ in range(2)]
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE lookups IN SHARE MODE")

    posting = asyncio.create_task(client.post("/events/generic", EVENT))
    for pid in await waiting_for_a_lock(watcher):
        await watcher.execute("SELECT pg_terminate_backend($1)", pid)
    await waiting_for_a_lock(watcher)
    between = await stored(pool)
    await transaction.rollback()

    assert len(lookups(await posting)) == 1
    assert between == (0, 0, 0)
    assert (await stored(pool))[:2] == (1, 1)
    await watcher.close()
    await blocker.close()


async def test_a_commit_whose_answer_was_lost_is_acknowledged_once_it_is_found(
    database_url: str, pool: Pool, make_settings: MakeSettings
) -> None:
    """When the connection breaks after the commit, the event is written again, and finds its own lookup."""
    async with proxied(database_url) as proxy, receiver_at(proxy.url, make_settings) as client:
        proxy.lose_answers_to(b"COMMIT")
        posting = asyncio.create_task(client.post("/events/generic", EVENT))
        await held(proxy)
        proxy.mend()
        async with asyncio.timeout(SOON):
            answer = await posting

    assert answer.status == 202
    (lookup,) = lookups(answer)
    assert (lookup["status"], lookup["duplicate"]) == ("queued", False)
    assert (await stored(pool))[:2] == (1, 1)


async def test_an_outage_that_lasts_is_a_503(
    database_url: str, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the sender's patience ends, nothing is acknowledged, and Retry-After says when to try again."""
    monkeypatch.setattr(patience, "FOR_AN_EVENT", SHORT)
    async with proxied(database_url) as proxy, receiver_at(proxy.url, make_settings) as client:
        proxy.cut()

        answer = await client.post("/events/generic", EVENT)

    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_silent_network_holds_nobody_longer(
    database_url: str, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is the sender's, also while a statement hangs; /readyz and /metrics answer in time."""
    monkeypatch.setattr(patience, "FOR_AN_EVENT", SHORT)
    monkeypatch.setattr("receiver.readiness.PATIENCE", SHORT)
    monkeypatch.setattr("receiver.shared_metrics.PATIENCE", SHORT)
    async with proxied(database_url) as proxy, receiver_at(proxy.url, make_settings) as client:
        proxy.fall_silent()
        begun = asyncio.get_running_loop().time()

        event, ready, metrics = await asyncio.gather(
            client.post("/events/generic", EVENT), client.get("/readyz"), client.get("/metrics")
        )

        took = asyncio.get_running_loop().time() - begun
        proxy.mend()

    assert (event.status, ready.status, metrics.status) == (503, 503, 200)
    assert b"ringback_database_up 0.0" in metrics.body
    assert took < SHORT + 1.0


async def test_the_patience_is_the_sender_s() -> None:
    """Providers wait longest, Pipedrive ten seconds, other CRMs five; each is answered before it gives up."""
    assert patience.FOR_A_CALLBACK == 20
    assert [patience.patience_with(source) for source in ("pipedrive", "hubspot", "generic", "api")] == [9, 4, 4, 4]
