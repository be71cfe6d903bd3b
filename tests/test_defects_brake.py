"""Ways around the flood guard, the brake and the budgets: each was a defect."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.guards import Budget, Guards
from enrichment.suppression import read_identifier
from store import providers
from store.budgets import lock_room, release_affordable
from store.database import transaction
from store.erasure import erase_lookups
from store.intake import Event, Receipt, ingest
from store.lookups import retry
from store.partitions import first_id
from store.pauses import Scope, add_pause, release_braked, remove_pause_of
from store.suppressions import end_waiting, suppress
from store.sweep import pass_over_removed
from tests.claims import take
from tests.wishes import POLICY, apply, end, ending, job_of, status, wish

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.wishes import Pool

ONE_AN_HOUR = replace(POLICY, guards=Guards({"hubspot": 1}))
BOTH = ("leadmagic", "nyne")


async def come(db: Pool, providers: tuple[str, ...] = BOTH, policy: Any = ONE_AN_HOUR, **contact: Any) -> Receipt:
    """Take in an event of HubSpot, which may begin one search an hour."""
    event = Event("hubspot", b"{}", (wish(providers=providers, **contact),))
    ((taken,),) = await ingest(db, [event], policy)
    return taken


async def flooded(db: Pool, providers: tuple[str, ...] = BOTH, **contact: Any) -> Receipt:
    """Use up the hour, and let a lookup come that is held for the flood."""
    await come(db, work_email="first@acme.co")
    held = await come(db, providers, **contact)
    assert held.status == "held"
    return held


async def held_at(db: Pool, lookup: Receipt) -> tuple[str, str | None]:
    """Return where the lookup's job is, and why it is held."""
    job = await job_of(db, lookup.id)
    assert job is not None
    return job["provider"], job["held"]


async def test_a_flood_is_held_although_its_provider_is_taken_out(db: Pool) -> None:
    """The next provider's question waits for a person, too."""
    held = await flooded(db, work_email="jane@acme.co")

    await pass_over_removed(db, ("nyne",), 10)

    assert await held_at(db, held) == ("nyne", "flood")


async def test_a_flood_that_nobody_released_for_weeks_ends_without_a_question(start: Start) -> None:
    """After weeks under the flood guard, a lookup ends without a question to any provider."""
    async with start() as world:
        held = await flooded(world.pool, work_email="jane@acme.co")
        old = first_id(datetime.now(UTC) - timedelta(days=36))
        await world.pool.execute("UPDATE jobs SET id = $1 WHERE lookup_id = $2", old, held.id)

        await world.reconciler.end_stale()

        assert (await status(world.pool, held.id), await job_of(world.pool, held.id)) == ("failed", None)


async def test_who_waited_for_a_flood_is_held_when_its_search_is_erased(start: Start) -> None:
    """It begins a search of its own, and that is one more of the flood."""
    async with start() as world:
        first = await flooded(world.pool, work_email="jane@acme.co", profile_url="linkedin.com/in/janedoe")
        other = await come(world.pool, profile_url="linkedin.com/in/janedoe")

        await erase_lookups(world.pool, ONE_AN_HOUR, [first.id])

        assert await held_at(world.pool, other) == ("leadmagic", "flood")


async def test_who_waited_for_a_flood_is_held_when_its_person_is_suppressed(db: Pool) -> None:
    """The same, when the contact that its search began for is suppressed."""
    await flooded(db, work_email="jane@acme.co", profile_url="linkedin.com/in/janedoe")
    other = await come(db, profile_url="linkedin.com/in/janedoe")
    identifiers = [read_identifier("email", "jane@acme.co")]
    await suppress(db, identifiers, ONE_AN_HOUR, None)

    await end_waiting(db, identifiers, ONE_AN_HOUR)

    assert await held_at(db, other) == ("leadmagic", "flood")
    assert await status(db, other.id) == "held"


async def test_a_person_who_retries_is_not_held(db: Pool) -> None:
    """A retry that had to wait for a search is a person's wish still, when it is decided anew."""
    jane = await come(db, ("nyne",), work_email="jane@acme.co", profile_url="linkedin.com/in/janedoe")
    await end(db, jane.id, state="failed")
    await come(db, ("nyne",), policy=POLICY, profile_url="linkedin.com/in/janedoe")
    assert await retry(db, jane.id, ONE_AN_HOUR)
    assert (await take(db)).jobs

    other = await job_of(db, jane.id)
    assert other is not None
    await apply(db, ending(other["id"], "failed"), policy=ONE_AN_HOUR)

    assert await held_at(db, jane) == ("nyne", None)


OBSTACLES = ("vendor", "all", "provider", "source", "budget")
NOTHING_LEFT = [Budget(None, "day", Decimal(0), "hubspot")]


async def obstruct(db: Pool, obstacle: str, *, is_over: bool = False) -> None:
    """Put an obstacle in the way of HubSpot's questions, or take it out; budgets are the caller's."""
    scopes = {"all": Scope(), "provider": Scope(provider="nyne"), "source": Scope(source="hubspot")}
    if obstacle == "vendor":
        await (providers.resume(db, "nyne") if is_over else providers.pause(db, "nyne", "402", timedelta(hours=1)))
    elif obstacle in scopes:
        async with transaction(db) as connection:
            if is_over:
                await remove_pause_of(connection, scopes[obstacle], who="me")
            else:
                await add_pause(connection, scopes[obstacle], reason="?", who="me")


async def go_round(db: Pool, budgets: list[Budget]) -> int:
    """Do once what the submitters and the reconciler do over and over; return how many questions were asked."""
    asked = 0
    for name in BOTH:
        claimed = await take(db, name, budgets=budgets)
        asked += len(claimed.jobs)
        if claimed.paused:
            await providers.pass_turns(db, name)
    await release_braked(db, 100)
    for name in BOTH:
        await providers.release_paused(db, name, 100)
        async with transaction(db) as connection:
            await release_affordable(connection, name, await lock_room(connection, name, Decimal(3), budgets), 100)
    return asked


@pytest.mark.parametrize("chain", [("nyne",), ("nyne", "leadmagic")])
@pytest.mark.parametrize("order", list(itertools.permutations(OBSTACLES))[::17], ids="-".join)
async def test_whatever_the_order_nothing_waits_for_ever(db: Pool, chain: tuple[str, ...], order: Any) -> None:
    """A job that several reasons hold one after the other is asked once, after the last one ends."""
    lookup = await come(db, chain, work_email="jane@acme.co")
    for obstacle in reversed(order):
        await obstruct(db, obstacle)
        assert await go_round(db, NOTHING_LEFT) == 0
    for obstacle in order:
        await obstruct(db, obstacle, is_over=True)
        left = order[order.index(obstacle) + 1 :]
        budgets = NOTHING_LEFT if "budget" in left else []
        blocked = {"all", "source", "budget"}.intersection(left) or (
            {"vendor", "provider"}.intersection(left) and len(chain) == 1
        )
        asked = sum([await go_round(db, budgets) for _ in range(3)])
        if blocked:
            assert (left, asked) == (left, 0)
        elif asked:
            break
    assert (await status(db, lookup.id), sum([await go_round(db, []) for _ in range(3)])) == ("running", 0)
