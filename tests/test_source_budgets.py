"""Budgets of sources: a source without credits is held, and no other; to the credit, in every order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrichment.guards import Budget, Guards
from store.budgets import lock_room, release_affordable
from store.database import transaction
from store.intake import Event, Receipt, ingest
from store.pauses import Scope, add_pause
from store.payers import pass_on
from tests.claims import ids, take
from tests.factories import finished_job, job
from tests.order import Order, one_connection
from tests.wishes import POLICY, job_of, status, wish

if TYPE_CHECKING:
    from tests.conftest import ClientWith, Start
    from tests.wishes import Pool

PRICE = Decimal(3)
EMAIL = "jane@acme.co"
FIRST = UUID(int=0)


def budget(source: str, credits: int, period: str = "day") -> Budget:
    """Return a source's budget."""
    return Budget(None, period, Decimal(credits), source)


def guards(*budgets: Budget, **floods: int) -> Guards:
    """Return guards at the prices of the tests."""
    return Guards(floods, budgets, {"nyne": PRICE, "leadmagic": PRICE})


async def come(db: Pool, source: str, email: str = EMAIL, limits: Guards | None = None) -> Receipt:
    """Take in an event of *source*, answered by Nyne."""
    event = Event(source, b"{}", (wish(work_email=email, providers=("nyne",)),))
    ((taken,),) = await ingest(db, [event], replace(POLICY, guards=limits or Guards()))
    return taken


async def spent_by(db: Pool) -> dict[str, Decimal]:
    """Return what each source has reserved or spent."""
    rows = await db.fetch("SELECT source, sum(reserved + charged + possible) FROM usage GROUP BY source")
    return {row["source"]: row["sum"] for row in rows}


async def release(db: Pool, budgets: list[Budget]) -> int:
    """Release what the budgets allow, as the reconciler does."""
    async with transaction(db) as connection:
        room = await lock_room(connection, "nyne", PRICE, budgets)
        return await release_affordable(connection, "nyne", room, 500) if room.questions else 0


# What a budget allows


async def test_a_source_without_credits_does_not_keep_others_waiting(db: Pool) -> None:
    """Its jobs stand before those of others, are held, and the others are claimed in the same pass."""
    stopped = {(await job(db, source="hubspot"))["id"] for _ in range(6)}
    others = {(await job(db, source="generic"))["id"] for _ in range(3)}

    claimed = await take(db, most=4, budgets=[budget("hubspot", 2)])

    assert {ours.id for ours in claimed.jobs} == others
    assert (claimed.held, claimed.more) == (6, True)
    assert await ids(db, held="budget") == stopped
    assert await spent_by(db) == {"generic": 9}


async def test_a_source_is_asked_for_as_long_as_it_can_pay(db: Pool) -> None:
    """Seven credits are two questions at three; its third is held, and the other source takes the place."""
    rows = [(await job(db, source="hubspot"))["id"] for _ in range(3)]
    other = (await job(db, source="generic"))["id"]

    claimed = await take(db, most=3, budgets=[budget("hubspot", 7)])

    assert {ours.id for ours in claimed.jobs} == {*rows[:2], other}
    assert {ours.source for ours in claimed.jobs} == {"hubspot", "generic"}
    assert await ids(db, held="budget") == {rows[2]}


@pytest.mark.parametrize(
    ("limits", "questions"),
    [
        ([budget("hubspot", 9)], 1),  # 6 are spent: at leadmagic, on another day of the month, and today
        ([budget("hubspot", 8)], 0),
        ([budget("hubspot", 100), budget("hubspot", 9, "month")], 1),
        ([budget("generic", 0)], 3),
        ([budget("hubspot", 100), Budget(None, "day", Decimal(9))], 1),
        ([budget("hubspot", 100), Budget("nyne", "day", Decimal(6))], 2),
        ([budget("hubspot", 100), Budget("leadmagic", "day", Decimal(0))], 3),
    ],
)
async def test_a_source_pays_at_every_provider(db: Pool, limits: list[Budget], questions: int) -> None:
    """A source pays at every provider; the budgets of all and of the provider apply as well."""
    await finished_job(db, provider="leadmagic", source="hubspot", credits=6)
    for _ in range(3):
        await job(db, source="hubspot")

    assert len((await take(db, budgets=limits)).jobs) == questions


async def test_claimers_at_once_never_overspend_a_source(db: Pool) -> None:
    """However many ask at the same instant, at whichever provider, its budget is kept to the credit."""
    for _ in range(20):
        await job(db, source="hubspot")
        await job(db, source="hubspot", provider="leadmagic")
        await job(db, source="generic")
    limits = [budget("hubspot", 31)]

    claims = await asyncio.gather(*(take(db, name, 7, limits) for name in ("nyne", "leadmagic") for _ in range(4)))

    spent = await spent_by(db)
    assert spent["hubspot"] == 30
    assert spent["generic"] == 3 * sum(ours.source == "generic" for one in claims for ours in one.jobs)


async def test_the_second_claim_sees_what_the_first_reserved(db: Pool, order: Order) -> None:
    """The first has claimed and not committed: the second waits, and then has nothing left."""
    for _ in range(2):
        await job(db, source="hubspot")
    await job(db, provider="leadmagic", source="hubspot")
    limits = [budget("hubspot", 3)]
    async with order.first() as first:
        assert len((await take(one_connection(first), budgets=limits, most=1)).jobs) == 1
        second = await order.waiting(take(db, "leadmagic", budgets=limits))

    assert (await second).held == 1
    assert await spent_by(db) == {"hubspot": 3}


# Held, and released


async def test_only_sources_with_room_are_released(db: Pool) -> None:
    """The jobs of the source without credits stay held; of another source, as many go on as it can pay for."""
    poor = {(await job(db, source="hubspot", held="budget"))["id"] for _ in range(3)}
    for source, count in (("generic", 3), ("api", 2)):
        for _ in range(count):
            await job(db, source=source, held="budget")
    limits = [budget("hubspot", 2), budget("generic", 7)]

    assert await release(db, limits) == 2 + 2

    assert poor <= await ids(db, held="budget")
    claimed = await take(db, budgets=limits)
    assert sorted(ours.source for ours in claimed.jobs) == ["api", "api", "generic", "generic"]
    assert (claimed.held, await release(db, limits)) == (0, 0)


async def test_no_more_are_released_than_all_budgets_allow(db: Pool) -> None:
    """The source has room and the provider has not: nothing is released, only to be held again."""
    for _ in range(3):
        await job(db, source="hubspot", held="budget")

    assert await release(db, [budget("hubspot", 100), Budget("nyne", "day", Decimal(0))]) == 0
    assert await release(db, [budget("hubspot", 100), Budget("nyne", "day", Decimal(4))]) == 1


async def test_a_day_with_new_credits_goes_on_by_itself(start: Start) -> None:
    """A job that its source could not pay for yesterday is asked today."""
    async with start(hubspot_budget_credits_per_day=Decimal(3)) as world:
        for _ in range(2):
            await job(world.pool, source="hubspot")
        await world.ask("nyne")
        await world.ask("nyne")
        assert await world.reconciler.look_after_providers() == 0

        await world.pool.execute("UPDATE usage SET day = day - 1")
        assert await world.reconciler.look_after_providers() == 1

        assert len((await world.ask("nyne")).items) == 1


@settings(
    max_examples=15, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    sources=st.lists(st.sampled_from(["hubspot", "generic", "api"]), max_size=12),
    credits=st.lists(st.integers(0, 20), min_size=3, max_size=3),
    steps=st.lists(st.sampled_from(["claim", "claim 2", "release"]), max_size=8),
)
async def test_whatever_the_order_no_budget_is_overspent(
    db: Pool, sources: list[str], credits: list[int], steps: list[str]
) -> None:
    """With jobs of several sources, claims and releases, neither a source nor all together overspend."""
    await db.execute("TRUNCATE jobs, lookups, searches, keys, usage")
    limits = [budget("hubspot", credits[0]), budget("generic", credits[1]), Budget(None, "day", Decimal(credits[2]))]
    for source in sources:
        await job(db, source=source)

    for step in steps:
        if step == "release":
            await release(db, limits)
        else:
            await take(db, most=2 if step == "claim 2" else 100, budgets=limits)

    spent = await spent_by(db)
    assert spent.get("hubspot", 0) <= credits[0]
    assert spent.get("generic", 0) <= credits[1]
    assert sum(spent.values()) <= credits[2]
    assert await db.fetchval("SELECT count(*) FROM jobs") == len(sources)


# Another source pays


async def held_of(db: Pool, source: str, held: str, email: str = EMAIL) -> Receipt:
    """Take in a lookup of *source* whose job is held."""
    taken = await come(db, source, email)
    await db.execute("UPDATE jobs SET held = $2 WHERE lookup_id = $1", taken.id, held)
    return taken


async def payer(db: Pool, lookup: Receipt) -> tuple[Any, ...]:
    """Return the source that pays for the lookup's job, and why the job is held."""
    now = await job_of(db, lookup.id)
    assert now is not None
    return now["source"], now["held"]


async def test_a_source_that_can_pay_lets_the_search_go_on(db: Pool) -> None:
    """Its lookup waits for a search whose source has no credits: it pays, in the commit of its event."""
    first = await held_of(db, "hubspot", "budget")

    second = await come(db, "generic", limits=guards(budget("hubspot", 0), budget("generic", 3)))

    assert await payer(db, first) == ("generic", None)
    assert [await status(db, one.id) for one in (first, second)] == ["queued", "queued"]
    await take(db)
    assert await spent_by(db) == {"generic": 3}


@pytest.mark.parametrize("held", ["flood", "brake"])
async def test_a_flood_and_a_brake_of_a_source_are_its_own(db: Pool, held: str) -> None:
    """They keep no other source's lookup waiting."""
    first = await held_of(db, "hubspot", held)
    if held == "brake":
        await add_pause(db, Scope(source="hubspot"), reason="a list", who="ops")

    await come(db, "generic")

    assert await payer(db, first) == ("generic", None)


@pytest.mark.parametrize(
    ("held", "limits", "paused"),
    [
        ("budget", guards(budget("hubspot", 0), budget("generic", 2)), None),  # cannot pay itself
        ("budget", guards(budget("hubspot", 100)), None),  # held for another budget than the source's
        ("budget", guards(), None),
        ("paused", guards(budget("hubspot", 0)), None),
        ("brake", guards(), "nyne"),  # not because of its source
        ("flood", guards(), "generic"),
        ("flood", guards(budget("generic", 0)), None),
    ],
)
async def test_a_search_is_not_paid_for_by_a_source_that_is_held_itself(
    db: Pool, held: str, limits: Guards, paused: str | None
) -> None:
    """Nor does it pay for one that is held for another reason than its source."""
    first = await held_of(db, "hubspot", held)
    if paused:
        await add_pause(db, Scope("nyne") if paused == "nyne" else Scope(source=paused), reason="why", who="ops")

    await come(db, "generic", limits=limits)

    assert await payer(db, first) == ("hubspot", held)


async def test_the_same_source_again_does_not_release_it(db: Pool) -> None:
    """Its own second lookup waits like the first one."""
    first = await held_of(db, "hubspot", "flood")

    await come(db, "hubspot")

    assert await payer(db, first) == ("hubspot", "flood")


async def test_what_it_pays_for_counts_as_begun(db: Pool) -> None:
    """A flood of lookups that join held searches is a flood, too."""
    held = [await held_of(db, "api", "flood", f"{number}@acme.co") for number in range(3)]
    limits = guards(hubspot=2)

    for number in range(3):
        await come(db, "hubspot", f"{number}@acme.co", limits)

    assert [await payer(db, one) for one in held] == [("hubspot", None), ("hubspot", None), ("api", "flood")]


async def test_intake_does_not_wait_for_a_job_that_another_session_has(db: Pool, order: Order) -> None:
    """The job's session may wait for a search that intake has locked: intake skips it, and the next pass finds it."""
    first = await held_of(db, "hubspot", "flood")
    async with order.first() as session:
        await session.execute("SELECT FROM jobs FOR UPDATE")
        await asyncio.wait_for(come(db, "generic"), 5)
    assert await payer(db, first) == ("hubspot", "flood")

    passed = await pass_on(db, FIRST, 10, guards())

    assert (passed.looked, passed.jobs, passed.last) == (1, 1, None)
    assert await payer(db, first) == ("generic", None)


async def test_a_pass_goes_through_all_lookups_that_wait(db: Pool) -> None:
    """Lookups that cannot help do not keep it from those after them."""
    held = []
    for number, source in enumerate(["hubspot", "hubspot", "generic"]):
        held.append(await come(db, "hubspot", f"{number}@acme.co"))
        await come(db, source, f"{number}@acme.co")
    await db.execute("UPDATE jobs SET held = 'flood'")

    first = await pass_on(db, FIRST, 2, guards())
    assert first.last is not None
    second = await pass_on(db, first.last, 2, guards())

    assert [(one.looked, one.jobs) for one in (first, second)] == [(2, 0), (1, 1)]
    assert [await payer(db, one) for one in held] == [("hubspot", "flood"), ("hubspot", "flood"), ("generic", None)]


# Shown


async def test_the_api_shows_what_is_left_to_a_source(db: Pool, client_with: ClientWith) -> None:
    """GET /v1/usage: the credits by source, and the budget of each."""
    await finished_job(db, source="hubspot", credits=6)
    client = await client_with(hubspot_budget_credits_per_day=Decimal(10))

    told = (await client.get("/v1/usage")).json()

    assert [(day["source"], day["charged"]) for day in told["days"]] == [("hubspot", 6)]
    assert told["budgets"] == [
        {"provider": None, "source": "hubspot", "period": "day", "credits": 10, "used": 6, "left": 4}
    ]
