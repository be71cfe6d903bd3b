"""A result leaves at once, whichever process ended its lookup; a sender without work is quiet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from store.notify import Listener
from submitter.finishing import Finisher
from submitter.results import ResultSender
from tests.at_work import AtWork, until
from tests.called_back import call_back, found
from tests.factories import delivery, job, lookup
from tests.webhook_end import Answer, WebhookEnd, settings_for, webhook_end
from tests.wishes import ending, take_one

if TYPE_CHECKING:
    from tests.conftest import ClientWith, Start

NEVER = 600.0  # seconds between two looks: only a hint can bring one


@pytest.fixture
async def end() -> AsyncIterator[WebhookEnd]:
    """The other side."""
    async with webhook_end() as server:
        yield server


@pytest.fixture
async def world(start: Start, end: WebhookEnd) -> AsyncIterator[AtWork]:
    """A process that sends its results to *end*."""
    async with start(**settings_for(end)) as working:
        yield working


@asynccontextmanager
async def sending(world: AtWork, url: str) -> AsyncIterator[ResultSender]:
    """Send inside the block as the submitter does, and look at the table only after hints."""
    sender = ResultSender(world.process)
    listener = Listener(url, sender.loop.awake.set, name="tests listener")
    sender.loop.hears_hints = lambda: listener.is_listening
    stop = asyncio.Event()
    tasks = [asyncio.create_task(listener.run()), asyncio.create_task(sender.run(stop))]
    try:
        yield sender
    finally:
        stop.set()
        await tasks[1]
        tasks[0].cancel()


@pytest.fixture
def only_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let senders look at the table at hints only."""
    monkeypatch.setattr("submitter.leased.LOOK_EVERY", NEVER)
    monkeypatch.setattr("submitter.leased.IDLE_LOOK_EVERY", NEVER)


async def at_rest(world: AtWork, sender: ResultSender) -> None:
    """Wait until the receiver has sent its first hint, and the sender has looked after it and rests."""
    row = await delivery(world.pool)

    async def has_sent() -> bool:
        sender.loop.awake.set()
        told = await world.pool.fetchval("SELECT state::text FROM deliveries WHERE id = $1", row["id"])
        hinted = await world.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'ringback receiver notifier' AND state = 'idle' AND query LIKE 'SELECT pg_notify%'"
        )
        return bool(told == "delivered" and hinted and sender.loop.hears_hints())

    await until(has_sent)

    async def rests() -> bool:
        return not sender.loop.awake.is_set()

    await until(rests)


async def has_arrived(end: WebhookEnd, id: UUID) -> None:
    """Wait until the delivery has arrived."""

    async def arrived() -> bool:
        return any(one.headers["webhook-id"] == str(id) for one in end.arrived)

    await until(arrived)


@pytest.mark.usefixtures("only_hints")
async def test_a_number_that_a_provider_calls_back_leaves_at_once(
    world: AtWork, end: WebhookEnd, client_with: ClientWith, database_url: str
) -> None:
    """The receiver ended the lookup; a submitter, in another process, hears of it."""
    client = await client_with(**settings_for(end))
    async with sending(world, database_url) as sender:
        await at_rest(world, sender)
        row = await job(world.pool, "awaiting")

        await call_back(client, row, found(row["request_id"]))

        id = await world.pool.fetchval("SELECT id FROM deliveries WHERE lookup_id = $1", row["lookup_id"])
        await has_arrived(end, id)


@pytest.mark.usefixtures("only_hints")
async def test_a_lookup_that_a_person_cancels_leaves_at_once(
    world: AtWork, end: WebhookEnd, client_with: ClientWith, database_url: str
) -> None:
    """The same for an end that no provider brought."""
    client = await client_with(**settings_for(end))
    async with sending(world, database_url) as sender:
        await at_rest(world, sender)
        row = await lookup(world.pool, final_status="failed")

        assert (await client.post(f"/v1/lookups/{row['id']}/cancel", b"")).status == 200

        id = await world.pool.fetchval("SELECT id FROM deliveries WHERE lookup_id = $1", row["id"])
        await has_arrived(end, id)


@pytest.mark.usefixtures("only_hints")
async def test_a_replay_leaves_at_once(
    world: AtWork, end: WebhookEnd, client_with: ClientWith, database_url: str
) -> None:
    """A person who mended the receiver sees the replay at once."""
    client = await client_with(**settings_for(end))
    async with sending(world, database_url) as sender:
        await at_rest(world, sender)
        row = await delivery(world.pool, "given_up")

        assert (await client.post(f"/v1/deliveries/{row['id']}/replay", b"")).status == 202

        await has_arrived(end, row["id"])


@pytest.mark.parametrize("delivers", [True, False])
async def test_the_submitters_own_senders_are_woken_without_a_detour(world: AtWork, delivers: bool) -> None:
    """By the commit that ended the lookup, and only if it wrote deliveries; the providers' loops sleep on."""
    woken: list[str] = []

    def say(word: str) -> Callable[[], None]:
        return lambda: woken.append(word)

    finisher = Finisher(world.pool, world.process.installation, say("ask"), say("deliver"))
    wish = await take_one(world.pool, work_email="jane@acme.co", providers=("leadmagic",))
    row = await world.pool.fetchrow("SELECT id FROM jobs WHERE lookup_id = $1", wish.id)
    assert row is not None
    if not delivers:  # it was answered before
        await finisher.end([ending(row["id"], mobile="+15551234567")])
        woken.clear()

    await finisher.end([ending(row["id"], mobile="+15551234567")])

    assert woken == (["deliver"] if delivers else [])


async def test_a_failed_try_is_made_again_without_a_hint(
    world: AtWork, end: WebhookEnd, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time comes without a hint."""
    monkeypatch.setattr("submitter.leased.LOOK_EVERY", 0.05)
    monkeypatch.setattr("submitter.leased.IDLE_LOOK_EVERY", 0.05)
    end.answers.extendleft([Answer(503)])
    async with sending(world, database_url):
        row = await delivery(world.pool)
        await world.pool.execute("UPDATE deliveries SET due_at = now()")
        await end.arrive(1)

        async def waits() -> bool:
            return bool(await world.pool.fetchval("SELECT tries = 1 FROM deliveries WHERE id = $1", row["id"]))

        await until(waits)
        await world.pool.execute("UPDATE deliveries SET due_at = now() + interval '0.1 s'")

        await end.arrive(2)


async def test_a_stopping_sender_finishes_what_it_began(world: AtWork, end: WebhookEnd, database_url: str) -> None:
    """The answer to a result on the wire is waited for and written."""
    slow = Answer(200, release=asyncio.Event())
    end.answers[0] = slow
    row = await delivery(world.pool)
    async with sending(world, database_url):
        await end.arrive(1)
        assert slow.release is not None
        asyncio.get_running_loop().call_later(0.1, slow.release.set)

    now = await world.pool.fetchval("SELECT state::text FROM deliveries WHERE id = $1", row["id"])
    assert now == "delivered"


async def test_a_retry_of_tomorrow_costs_no_look_each_second(world: AtWork) -> None:
    """The sender rests as if nothing waited."""
    await delivery(world.pool, due_at=datetime.now(UTC) + timedelta(days=1))
    sender = ResultSender(world.process)

    assert (await sender.loop.claim_once()).idle
