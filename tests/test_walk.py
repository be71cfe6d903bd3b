"""The nightly walk over a pretend HubSpot, over a socket: what sweeps cannot show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from sandbox.hubspot.faults import Faults
from sandbox.hubspot.records import HUMAN
from store.walks import claim_step, end_step, name_walked
from tests import factories
from tests.conftest import MakeSettings
from tests.crm_sweeping import TOKEN, Sweeping, playing, sweeping

if TYPE_CHECKING:
    from tests.order import Pool


@pytest.fixture
async def world(pool: Pool, make_settings: MakeSettings) -> AsyncIterator[Sweeping]:
    """Provide a reconciler's walk over a HubSpot whose search shows nothing."""
    async with playing(index_lag=(3600, 3600)) as (hubspot, url):
        settings = make_settings(hubspot_access_token=TOKEN, hubspot_base_url=url)
        async with sweeping(pool, settings, hubspot, url) as opened:
            yield opened


async def read_and_open(world: Sweeping, record_id: str) -> None:
    """Let the contact have been read before it was last changed, and have an open lookup."""
    row = await factories.lookup(world.pool, source="hubspot", record_id=record_id)
    await world.pool.execute(
        """
        UPDATE lookups SET id = overlay(id::text PLACING '01900000' FROM 1 FOR 8)::uuid WHERE id = $1
        """,
        row["id"],
    )
    await world.pool.execute(
        """
        INSERT INTO readings (id, source, record_id, named_by, state, ended_at, named_at, lookup_id)
        VALUES (gen_random_uuid(), 'hubspot', $1, 'event', 'done', now(), now() - interval '1 min', $2)
        """,
        record_id,
        row["id"],
    )


async def test_a_deleted_contact_is_named(world: Sweeping) -> None:
    """Its event was missed, and sweeps do not show deleted contacts: the reading finds it gone, and cancels."""
    kept, gone = world.create(email="jane@acme.co"), world.create(email="joe@acme.co")
    for record_id in (kept, gone):
        await read_and_open(world, record_id)
    world.hubspot.portal.archive(world.find(gone), HUMAN)

    await world.walk()

    assert await world.named() == {gone: "walk"}


async def test_an_erased_contact_is_named(world: Sweeping) -> None:
    """Erased for good, it is in no list at all."""
    gone = world.create(email="jane@acme.co")
    await read_and_open(world, gone)
    world.hubspot.portal.erase(world.find(gone), HUMAN)

    await world.walk()

    assert await world.named() == {gone: "walk"}


async def test_both_losers_of_a_merge_are_named(world: Sweeping) -> None:
    """A merge makes a new id: the old ones are not listed any more, and their readings find the winner."""
    first, second = world.create(email="jane@acme.co"), world.create(email="jane@home.co")
    for record_id in (first, second):
        await read_and_open(world, record_id)
    winner = world.hubspot.portal.merge(world.find(first), world.find(second), HUMAN)

    await world.walk()

    assert set(await world.named()) == {first, second, str(winner.id)}


async def test_a_contact_that_was_never_named_is_named(world: Sweeping) -> None:
    """Searches lagged for longer than the overlap: a contact newer than the connection is named once."""
    world.create(hours_ago=2, email="old@acme.co")
    new = world.create(email="jane@acme.co")

    await world.walk()
    assert await world.named() == {new: "walk"}

    await world.end_readings()
    await world.walk()
    assert await world.named() == {}


async def test_a_change_that_no_sweep_showed_is_named(world: Sweeping) -> None:
    """The contact was read, and changed later: it may have got its LinkedIn profile. One with a mobile is left."""
    changed, has_one = world.create(email="jane@acme.co"), world.create(email="joe@acme.co")
    await world.walk()
    await world.pool.execute(
        """
        UPDATE readings SET state = 'skipped', ended_at = now() - interval '5 min', seen = NULL,
                            reason = CASE record_id WHEN $1 THEN 'has a mobile' ELSE 'not worth asking' END
        """,
        has_one,
    )

    await world.walk()

    assert await world.named() == {changed: "walk"}


async def test_lookups_that_ended_are_left_alone(world: Sweeping) -> None:
    """A finished lookup does not need its contact."""
    gone = world.create(email="jane@acme.co")
    await read_and_open(world, gone)
    await world.pool.execute("UPDATE lookups SET final_status = 'not_found', finished_at = now()")
    world.hubspot.portal.archive(world.find(gone), HUMAN)

    await world.walk()

    assert await world.named() == {}


async def test_what_came_during_the_walk_is_not_missed_by_it(world: Sweeping) -> None:
    """A contact behind the walk's place got its lookup meanwhile: it was not met, and is not gone."""
    for number in range(150):
        world.create(hours_ago=2, email=f"jane{number}@acme.co")
    await world.begin_walk()
    first = str(min(world.hubspot.portal.contacts))
    await factories.lookup(world.pool, source="hubspot", record_id=first)

    while await world.pool.fetchval("SELECT walk_began IS NOT NULL FROM connections"):
        await world.walk_a_page()

    assert await world.named() == {}


async def test_a_walk_goes_on_where_a_process_left_it(world: Sweeping, pool: Pool) -> None:
    """Every page is committed with the place of the next: another process continues there."""
    created = {world.create(email=f"jane{number}@acme.co") for number in range(250)}
    await world.begin_walk()
    assert len(await world.named()) == 100

    await world.walk_a_page()
    await world.walk_a_page()

    assert set(await world.named()) == created
    listed = [one.target for one in world.asked("/contacts?")]
    assert len(set(listed)) == len(listed) == 3


async def test_a_page_that_was_claimed_again_does_not_set_the_place(world: Sweeping, pool: Pool) -> None:
    """A frozen process goes on after its lease: the other one's place counts."""
    await pool.execute("UPDATE connections SET walk_due_at = now() - interval '1 ms'")
    frozen = await claim_step(pool, "hubspot")
    await pool.execute("UPDATE connections SET walk_due_at = now() - interval '1 ms'")
    other = await claim_step(pool, "hubspot")
    assert frozen is not None
    assert other is not None

    assert await name_walked(pool, frozen, []) == 0
    assert not await end_step(pool, frozen, "7", frozen.claim - frozen.claim)
    assert await end_step(pool, other, "8", frozen.claim - frozen.claim)
    assert await pool.fetchval("SELECT walk_cursor FROM connections") == "8"


async def test_a_walk_is_once_a_day(world: Sweeping, pool: Pool) -> None:
    """The next is due a day after this one began."""
    await world.walk()

    assert await pool.fetchval("SELECT walk_due_at > now() + interval '23 h 59 min' FROM connections")


async def test_a_failing_hubspot_is_walked_again_from_the_same_place(world: Sweeping, pool: Pool) -> None:
    """The error is kept, and a sweep's success does not hide it."""
    for number in range(150):
        world.create(hours_ago=2, email=f"jane{number}@acme.co")
    await world.begin_walk()
    place = await pool.fetchval("SELECT walk_cursor FROM connections")
    world.hubspot.chaos.faults = Faults(error_rate=1, error_status=502)
    await world.walk_a_page()
    world.hubspot.chaos.faults = Faults()

    assert await pool.fetchval("SELECT walk_cursor FROM connections") == place
    await pool.execute("UPDATE providers SET open_until = NULL, rest_until = NULL")
    await world.sweep()
    assert (await pool.fetchval("SELECT error FROM connections")).startswith("walk: ")
    await world.walk_a_page()
    await world.walk_a_page()
    assert await pool.fetchval("SELECT walk_cursor FROM connections") != place


async def test_a_large_account_is_walked_in_constant_memory_and_writes_little(world: Sweeping, pool: Pool) -> None:
    """Old contacts without a lookup leave no row behind."""
    for number in range(350):
        world.create(hours_ago=2, email=f"jane{number}@acme.co")

    await world.walk()

    assert await pool.fetchval("SELECT count(*) FROM readings") == 0
