"""The flood guard: searches that a source begins beyond its hourly limit are held until a person releases them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from enrichment.guards import Guards, read_guards
from store.budgets import Room, release_affordable
from store.floods import forget_floods, let_through
from store.intake import Event, Receipt, ingest
from store.lookups import release_many, retry
from tests.claims import take
from tests.explained import capture
from tests.order import Order, one_connection
from tests.wishes import POLICY, end, job_of, status, wish

if TYPE_CHECKING:
    from tests.conftest import ClientWith, MakeSettings, Start
    from tests.explained import Connection
    from tests.wishes import Pool

EVENT: dict[str, Any] = {"providers": ["nyne"]}


def policy(**floods: int) -> Any:
    """Return the policy with these limits."""
    return replace(POLICY, guards=Guards(floods))


async def come(db: Pool, *emails: str, source: str = "hubspot", **floods: int) -> list[Receipt]:
    """Take in one event of *source* for each e-mail, in one commit; the limit is two, unless given."""
    events = [Event(source, b"{}", (wish(work_email=email, providers=("nyne",)),)) for email in emails]
    return [one for (one,) in await ingest(db, events, policy(**(floods or {"hubspot": 2})))]


async def holds(db: Pool) -> Counter[str | None]:
    """Count the jobs by why they are held."""
    return Counter(row["held"] for row in await db.fetch("SELECT held FROM jobs"))


async def hour_passes(db: Pool, minutes: int = 61) -> None:
    """Make all counts an hour older."""
    await db.execute(
        "UPDATE floods SET minute = minute - $1::interval WHERE minute > '-infinity'", timedelta(minutes=minutes)
    )


async def test_further_searches_are_held_and_nothing_is_lost(db: Pool) -> None:
    """Two may begin; the third and fourth are stored, and are not asked."""
    taken = await come(db, *(f"{number}@acme.co" for number in range(4)))

    assert [one.status for one in taken] == ["queued", "queued", "held", "held"]
    assert [await status(db, one.id) for one in taken] == ["queued", "queued", "held", "held"]
    claimed = await take(db)
    assert {ours.lookup_id for ours in claimed.jobs} == {one.id for one in taken[:2]}


async def test_the_hour_slides(db: Pool) -> None:
    """Never more than the limit within any hour; after it, as many again."""
    await come(db, "a@acme.co")
    await hour_passes(db, 30)
    await come(db, "b@acme.co")
    await come(db, "c@acme.co")
    await hour_passes(db, 30)  # the first one is an hour old: within a minute of it, it counts
    await come(db, "d@acme.co")
    assert await holds(db) == {None: 2, "flood": 2}

    await hour_passes(db, 2)
    await come(db, "e@acme.co")
    await come(db, "f@acme.co")

    assert await holds(db) == {None: 3, "flood": 3}


async def test_what_begins_no_search_does_not_count(db: Pool) -> None:
    """A lookup that joins a search or takes an answer, and the same event again, cost nothing."""
    first, *_ = await come(db, "a@acme.co", "a@acme.co", "a@acme.co")
    await end(db, first.id, mobile="+15551234567")
    await come(db, "a@acme.co", "b@acme.co")

    assert await holds(db) == {None: 1}
    assert await db.fetchval("SELECT sum(begun) FROM floods") == 2


async def test_each_source_has_a_limit_of_its_own(db: Pool) -> None:
    """One commit with the events of several: each is counted for itself, and a source without a limit is not."""
    sources = ["hubspot", "generic", "api"] * 3
    events = [
        Event(source, b"{}", (wish(work_email=f"{number}@acme.co", providers=("nyne",)),))
        for number, source in enumerate(sources)
    ]

    taken = await ingest(db, events, policy(hubspot=1, api=2))

    told = Counter((source, one.status) for source, (one,) in zip(sources, taken, strict=True))
    assert told == {
        ("hubspot", "queued"): 1, ("hubspot", "held"): 2, ("api", "queued"): 2, ("api", "held"): 1,
        ("generic", "queued"): 3,
    }  # fmt: skip
    assert {row["source"] for row in await db.fetch("SELECT source FROM floods")} == {"hubspot", "api"}


async def test_sources_without_a_limit_cost_no_statement(db: Pool) -> None:
    """The statements of an intake are the same as without any flood guard."""
    event = Event("generic", b"{}", (wish(work_email="a@acme.co"),))
    async with db.acquire() as proxy:
        connection = cast("Connection", proxy)
        await capture(connection, lambda one: ingest(one, [event], policy()))  # the driver learns the types

        without = await capture(connection, lambda one: ingest(one, [event], policy()))
        guarded = await capture(connection, lambda one: ingest(one, [event], policy(hubspot=1)))

    assert [query for query, _ in guarded] == [query for query, _ in without]


async def test_two_intakes_at_once_cannot_both_take_the_last_place(db: Pool, order: Order) -> None:
    """The second waits for the first's count, even where the first begins a minute."""
    await come(db, "a@acme.co")
    await hour_passes(db, 1)
    async with order.first() as session:
        event = Event("hubspot", b"{}", (wish(work_email="b@acme.co", providers=("nyne",)),))
        ((first,),) = await ingest(one_connection(session), [event], policy(hubspot=2))
        second = await order.waiting(come(db, "c@acme.co"))

    assert (first.status, [one.status for one in await second]) == ("queued", ["held"])


async def test_the_first_intakes_of_a_source_cannot_both_take_the_last_place(db: Pool, order: Order) -> None:
    """Nothing was counted before: there is a row to wait for all the same."""
    async with order.first() as session:
        assert await let_through(session, {"hubspot": 1}, {"hubspot": 1}) == {"hubspot": 1}
        second = await order.waiting(come(db, "b@acme.co", hubspot=1))

    assert [one.status for one in await second] == ["held"]


async def test_many_intakes_at_once_let_through_what_the_limit_says(db: Pool) -> None:
    """Of several sources in one commit, in any order: they neither deadlock nor let too many through."""

    async def mixed(number: int) -> None:
        sources = ("hubspot", "api") if number % 2 else ("api", "hubspot")
        events = [
            Event(source, b"{}", (wish(work_email=f"{source}-{number}@acme.co", providers=("nyne",)),))
            for source in sources
        ]
        await ingest(db, events, policy(hubspot=5, api=7))

    await asyncio.gather(*(mixed(number) for number in range(20)))

    through = await db.fetch("SELECT source, count(*) FROM jobs WHERE held IS NULL GROUP BY source ORDER BY source")
    assert [tuple(row) for row in through] == [("api", 7), ("hubspot", 5)]
    assert (await holds(db))["flood"] == 28


# Release


async def test_what_a_person_lets_go_is_never_held_for_it_again(db: Pool) -> None:
    """It is asked, and may still wait for a budget; the flood guard is over for it."""
    *_, third = await come(db, *(f"{number}@acme.co" for number in range(3)))
    await come(db, "more@acme.co")

    assert await release_many(db, [third.id]) == {third.id}
    await db.execute("UPDATE jobs SET held = 'budget' WHERE lookup_id = $1", third.id)
    await release_affordable(db, "nyne", Room(), 10)

    assert third.id in {ours.lookup_id for ours in (await take(db)).jobs}
    assert (await holds(db))["flood"] == 1


async def test_a_retry_by_a_person_is_not_held_and_does_not_count(db: Pool) -> None:
    """A person knows what they ask for."""
    first, second = await come(db, "a@acme.co", "b@acme.co")
    await end(db, first.id, state="failed")

    assert await retry(db, first.id, policy(hubspot=2))

    now = await job_of(db, first.id)
    assert now is not None
    assert (now["held"], await status(db, second.id)) == (None, "queued")
    assert await db.fetchval("SELECT sum(begun) FROM floods") == 2


async def test_nobody_but_a_person_lets_a_flood_go(start: Start) -> None:
    """The reconciler releases jobs held for budgets, providers and the brake, but not for a flood."""
    async with start() as world:
        await come(world.pool, *(f"{number}@acme.co" for number in range(3)))
        await hour_passes(world.pool, 600)

        assert await world.reconciler.look_after_providers() == 0
        await world.reconciler.pass_on()

        assert (await holds(world.pool))["flood"] == 1


async def test_old_counts_are_removed(start: Start) -> None:
    """Once no sliding hour reaches them."""
    async with start() as world:
        await come(world.pool, "a@acme.co")
        assert await forget_floods(world.pool) == 0
        await hour_passes(world.pool, 121)

        await world.reconciler.forget_floods()

        assert await world.pool.fetchval("SELECT count(*) FROM floods WHERE minute > '-infinity'") == 0


async def test_the_settings_limit_a_source(db: Pool, client_with: ClientWith) -> None:
    """API_FLOOD_LOOKUPS_PER_HOUR: the answer to the event says that the lookup is held."""
    client = await client_with(api_flood_lookups_per_hour=1)

    told = [
        (await client.post("/v1/lookups", EVENT | {"work_email": f"{number}@acme.co"})).json()["lookups"][0]["status"]
        for number in range(2)
    ]

    assert told == ["queued", "held"]


async def test_what_a_person_approved_is_neither_held_nor_counted(db: Pool) -> None:
    """A backfill showed its cost before: it passes the guard, and leaves the hour to the others."""
    approved = [
        Event("hubspot", b"{}", (wish(work_email=f"old-{number}@acme.co", providers=("nyne",)),), is_approved=True)
        for number in range(5)
    ]
    await ingest(db, approved, policy(hubspot=2))

    others = await come(db, *(f"new-{number}@acme.co" for number in range(3)))

    assert await holds(db) == {None: 7, "flood": 1}
    assert [one.status for one in others] == ["queued", "queued", "held"]


def test_zero_means_no_limit(make_settings: MakeSettings) -> None:
    """As with sweeps: 0 turns the guard off; without the setting, every CRM has it."""
    assert read_guards(make_settings()).floods == {"hubspot": 500}
    assert read_guards(make_settings(hubspot_flood_lookups_per_hour=0)).floods == {}
