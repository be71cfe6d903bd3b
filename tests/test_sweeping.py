"""Sweeps of a pretend HubSpot, over a socket: every contact whose event was missed is found."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from rig.processes import environment
from sandbox.hubspot.answers import failure
from sandbox.hubspot.calls import Call
from sandbox.hubspot.records import HUMAN
from sandbox.wire import Answer
from tests.commands import ROOT, running
from tests.conftest import MakeSettings
from tests.crm_sweeping import TOKEN, Sweeping, playing, sweeping
from tests.factories import lookup

if TYPE_CHECKING:
    from tests.order import Pool


@pytest.fixture
async def world(pool: Pool, make_settings: MakeSettings) -> AsyncIterator[Sweeping]:
    """Provide a reconciler's sweep of a HubSpot that shows every change at once."""
    async with playing() as (hubspot, url):
        settings = make_settings(hubspot_access_token=TOKEN, hubspot_base_url=url)
        async with sweeping(pool, settings, hubspot, url) as opened:
            yield opened


async def watermark(pool: Pool) -> float:
    """Return the age of the watermark in seconds."""
    age: float = await pool.fetchval("SELECT EXTRACT(epoch FROM now() - swept_to)::float8 FROM connections")
    return age


async def test_a_contact_whose_event_was_missed_is_found(world: Sweeping) -> None:
    """No webhook came: the sweep names the contact, wakes the readers, and moves the watermark."""
    record_id = world.create(email="jane@acme.co")

    await world.sweep()

    assert await world.named() == {record_id: "sweep"}
    assert len(world.wakes) == 1
    assert await watermark(world.pool) < 5


async def test_a_contact_with_a_mobile_is_left_alone(world: Sweeping) -> None:
    """HubSpot keeps out what needs no number, so our own write is not swept either."""
    world.create(email="jane@acme.co", mobilephone="+15551234567")

    await world.sweep()

    assert await world.named() == {}


async def test_events_dropped_for_a_day_change_nothing(world: Sweeping) -> None:
    """All was down for a day: windows catch up, and name each contact of that day once, and no older one."""
    await world.pool.execute("UPDATE connections SET swept_to = now() - interval '24 h', connected_at = swept_to")
    world.create(hours_ago=30, email="old@acme.co")
    created = {world.create(hours_ago=hour, email=f"jane{hour}@acme.co") for hour in range(24)}

    passes = 1
    while await world.sweep():
        passes += 1

    assert passes == 4 + 1
    assert set(await world.named()) == created
    await world.end_readings()
    await world.sweep()
    assert await world.named() == {}


@pytest.mark.parametrize("search_at_once", [False, True])
async def test_the_indexs_lag_hides_nobody(pool: Pool, make_settings: MakeSettings, search_at_once: bool) -> None:
    """A change that searches show late is found by the next sweep, whose window begins before the watermark."""
    async with playing(index_lag=(0, 0) if search_at_once else (30, 30)) as (hubspot, url):
        settings = make_settings(hubspot_access_token=TOKEN, hubspot_base_url=url)
        async with sweeping(pool, settings, hubspot, url) as world:
            record_id = world.create(email="jane@acme.co")

            await world.sweep()
            assert (await world.named() == {}) is not search_at_once
            assert await watermark(pool) < 5
            hubspot.index.catch_up()  # half a minute later
            await world.sweep()

            assert set(await world.named()) == {record_id}


async def test_more_than_a_search_can_show_are_found(world: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search ends at 10,000 results (here: 400); the sweep goes on behind the last id, and finds all."""
    monkeypatch.setattr("sandbox.hubspot.search.MOST_RESULTS", 400)
    created = {world.create(email=f"jane{number}@acme.co") for number in range(1050)}

    await world.sweep()

    assert set(await world.named()) == created
    assert len(world.asked("/search")) == 6


async def test_an_import_that_stamps_all_alike_is_read_to_its_end(world: Sweeping) -> None:
    """Five hundred contacts of one millisecond: the pages go by id, so none hides behind its time."""
    created = {world.create(email=f"jane{number}@acme.co") for number in range(500)}
    for contact in world.hubspot.portal.contacts.values():
        contact.modified_at = contact.created_at
        world.hubspot.portal.index(contact)

    await world.sweep()

    assert set(await world.named()) == created


async def test_trouble_between_two_pages_leaves_the_watermark(world: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """HubSpot fails after the first page: named contacts stay named, and the next sweep reads the window again."""
    created = {world.create(email=f"jane{number}@acme.co") for number in range(450)}
    monkeypatch.setattr("submitter.sweeps.TRIES", 1)
    before = await watermark(world.pool)

    searches = 0

    def work(call: Call) -> Answer:
        nonlocal searches
        searches += 1
        return failure(502) if searches == 2 else search(call)

    (endpoint,) = (one for one in world.hubspot.endpoints if one.search)
    search = endpoint.work
    world.hubspot.endpoints = tuple(one._replace(work=work) if one.search else one for one in world.hubspot.endpoints)
    await world.sweep()

    assert len(await world.named()) == 200
    assert await watermark(world.pool) >= before
    assert await world.pool.fetchval("SELECT error FROM connections")
    await world.sweep()
    assert set(await world.named()) == created
    assert await world.pool.fetchval("SELECT error FROM connections") is None
    assert await watermark(world.pool) < 5


async def test_two_reconcilers_at_once_read_a_window_once(
    world: Sweeping, pool: Pool, make_settings: MakeSettings
) -> None:
    """Both find the sweep due; one claims it."""
    settings = make_settings(hubspot_access_token=TOKEN, hubspot_base_url=world.url)
    created = {world.create(email=f"jane{number}@acme.co") for number in range(250)}
    async with sweeping(pool, settings, world.hubspot, world.url) as other:
        await pool.execute("UPDATE connections SET sweep_due_at = now() - interval '1 ms'")
        await asyncio.gather(world.sweeper.sweep(), other.sweeper.sweep())

    assert set(await world.named()) == created
    assert len(world.asked("/search")) == 2


async def test_a_sweep_stops_between_two_pages(world: Sweeping) -> None:
    """A process that is stopping gives its window up, and the next sweep is due at once."""
    world.create(email="jane@acme.co")
    world.stop.set()

    await world.sweep()

    assert world.asked("/search") == []
    assert await world.pool.fetchval("SELECT sweep_due_at <= now() FROM connections")
    assert await world.pool.fetchval("SELECT error FROM connections") is None


async def test_a_token_that_was_revoked_pauses_hubspot(world: Sweeping) -> None:
    """The reason is in the connection for `ringback status`, and no process calls until the token is good again."""
    world.hubspot.tokens.clear()

    await world.sweep()

    assert "HUBSPOT_ACCESS_TOKEN" in await world.pool.fetchval("SELECT error FROM connections")
    assert await world.pool.fetchval("SELECT paused_reason IS NOT NULL FROM providers WHERE name = 'hubspot'")


async def test_a_limit_of_searches_is_kept(pool: Pool, make_settings: MakeSettings) -> None:
    """Two thousand contacts are ten searches, and HubSpot allows five a second: no search is refused."""
    async with playing(searches_per_second=5) as (hubspot, url):
        settings = make_settings(hubspot_access_token=TOKEN, hubspot_base_url=url)
        async with sweeping(pool, settings, hubspot, url) as world:
            for number in range(1300):
                world.create(email=f"jane{number}@acme.co")

            await world.sweep()

            assert len(await world.named()) == 1300
            assert hubspot.journal.policies == {}


async def test_no_sweep_without_a_connection(world: Sweeping) -> None:
    """`ringback disconnect` stops the sweeps."""
    await world.sweep()
    await world.pool.execute("DELETE FROM connections")
    asked = len(world.hubspot.journal.received)

    await world.sweep()
    await world.walker.walk()

    assert len(world.hubspot.journal.received) == asked


async def test_the_account_is_learned_by_the_first_sweep(world: Sweeping) -> None:
    """Only a token was set: events of other accounts are ignored once the first sweep has read the account."""
    await world.pool.execute("UPDATE connections SET account = NULL")

    await world.sweep()

    assert await world.pool.fetchval("SELECT account FROM connections") == "62515"


async def test_a_loser_of_a_merge_is_named_with_its_winner(world: Sweeping) -> None:
    """The winner lists the ids that it absorbed; those of open lookups are read, and re-mapped."""
    first, second = world.create(email="jane@acme.co"), world.create(email="jane@home.co")
    await world.sweep()
    await world.end_readings()
    await lookup(world.pool, source="hubspot", record_id=first)
    winner = world.hubspot.portal.merge(world.find(first), world.find(second), HUMAN)
    world.age(winner)

    await world.sweep()

    assert set(await world.named()) == {first, str(winner.id)}


async def test_the_reconciler_sweeps_and_walks_by_itself(database_url: str, pool: Pool) -> None:
    """Only the token is set: the process connects, sweeps new contacts from then on, and walks once."""
    async with playing() as (hubspot, url):
        settings = environment(
            DATABASE_URL=database_url, HUBSPOT_BASE_URL=url, HUBSPOT_ACCESS_TOKEN=TOKEN, HUBSPOT_SWEEP_SECONDS="1",
            LEADMAGIC_API_KEY="key", NYNE_API_KEY="key", NYNE_API_SECRET="secret",
        )  # fmt: skip
        command = (sys.executable, "-m", "submitter.reconciler")
        async with running(command, settings, cwd=ROOT) as process:
            await process.says('"swept"')
            created = str(hubspot.portal.create({"email": "jane@acme.co"}, HUMAN).id)

            async def found() -> str | None:
                named_by: str | None = await pool.fetchval(
                    "SELECT named_by FROM readings WHERE record_id = $1", created
                )
                return named_by

            assert await process.until(found) == "sweep"
            await process.says('"walked"')
            assert await process.ends(signal.SIGTERM) == 0
