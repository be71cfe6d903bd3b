"""The brake: a person pauses paid questions; their jobs are held, and go on by themselves after the pause."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest

from store import providers
from store.database import transaction
from store.due import HELD_AT_ONCE
from store.pauses import Scope, add_pause, release_braked, remove_pause_of
from tests.at_work import BOTH, AtWork, wish_for
from tests.claims import ids, take
from tests.conftest import TOKEN
from tests.factories import job
from tests.fake_provider import FakeProvider, completed
from tests.order import Order, one_connection
from tests.waiting_jobs import overdue
from tests.wishes import MOBILE, status

if TYPE_CHECKING:
    from tests.asgi import Client
    from tests.conftest import ClientWith
    from tests.wishes import Pool

ALL = Scope()
SCOPES = [ALL, Scope("nyne"), Scope(source="hubspot")]


async def pause(db: Pool, scope: Scope = ALL) -> None:
    """Pause by a person."""
    async with transaction(db) as connection:
        assert await add_pause(connection, scope, reason="a wrong list", who="ops")


async def resume(db: Pool, scope: Scope = ALL) -> None:
    """Resume."""
    async with transaction(db) as connection:
        assert await remove_pause_of(connection, scope, who="ops")


# The claim


@pytest.mark.parametrize("scope", SCOPES, ids=str)
async def test_a_pause_holds_what_it_concerns(db: Pool, scope: Scope) -> None:
    """All, one provider's or one source's jobs are held; the others are claimed in the same pass."""
    rows = {
        (provider, source): (await job(db, provider=provider, source=source))["id"]
        for source in ("hubspot", "generic")
        for provider in BOTH
    }
    await pause(db, scope)

    claimed = {provider: await take(db, provider, most=1) for provider in BOTH}
    again = {provider: await take(db, provider) for provider in BOTH}

    stopped = {
        id
        for (provider, source), id in rows.items()
        if scope == ALL or provider == scope.provider or source == scope.source
    }
    asked = {ours.id for one in (*claimed.values(), *again.values()) for ours in one.jobs}
    assert asked == set(rows.values()) - stopped
    assert await ids(db, held="brake") | await ids(db, held="brake", provider="leadmagic") == stopped
    assert sum(one.braked for one in claimed.values()) == len(stopped)
    assert await db.fetchval("SELECT count(*) FROM usage WHERE reserved > 0") == len(asked)


async def test_jobs_of_a_paused_source_do_not_keep_others_waiting(db: Pool) -> None:
    """However many stand before them, the others are claimed in the same pass."""
    for _ in range(8):
        await job(db, source="hubspot")
    other = await job(db, source="generic")
    await pause(db, Scope(source="hubspot"))

    claimed = await take(db, most=2)

    assert ([ours.id for ours in claimed.jobs], claimed.braked, claimed.more) == ([other["id"]], 8, True)


async def test_a_paused_claim_costs_no_permit_and_goes_on_at_once_after_a_full_batch(db: Pool) -> None:
    """It is bounded, and does not wait between full batches; with nothing left to hold, it rests."""
    await job(db)
    await pause(db)
    before = await db.fetchval("SELECT next_at FROM limits WHERE provider = 'nyne' AND purpose = 'any'")

    first, second = await take(db), await take(db)

    assert (first.braked, first.more, HELD_AT_ONCE) == (1, False, 5000)
    assert (second.braked, second.idle) == (0, True)
    assert await db.fetchval("SELECT next_at FROM limits WHERE provider = 'nyne' AND purpose = 'any'") == before


async def test_a_paused_providers_turns_do_not_pass(world: AtWork) -> None:
    """A pause by its vendor asks the others first; by a person, its jobs wait, even when both paused it."""
    lookup_id = await wish_for(world, *BOTH)
    await pause(world.pool, Scope("leadmagic"))
    await providers.pause(world.pool, "leadmagic", "no credits", timedelta(hours=1))

    await world.ask("leadmagic")

    (row,) = await world.pool.fetch("SELECT provider, todo, held FROM jobs")
    assert tuple(row) == ("leadmagic", ["nyne"], "brake")
    assert await status(world.pool, lookup_id) == "held"


async def test_no_turn_passes_to_a_provider_that_a_person_paused(db: Pool) -> None:
    """The vendor of the first is paused, a person paused the second: the job waits, and goes on with either."""
    row = await job(db, provider="leadmagic", todo=["nyne"])
    await pause(db, Scope("nyne"))
    await providers.pause(db, "leadmagic", "no credits", timedelta(hours=1))

    await providers.pass_turns(db, "leadmagic")
    assert await ids(db, held="paused", provider="leadmagic") == {row["id"]}
    assert await providers.release_paused(db, "nyne", 10) == 0

    await resume(db, Scope("nyne"))
    assert await providers.release_paused(db, "nyne", 10) == 1
    await providers.pass_turns(db, "leadmagic")
    assert [ours.id for ours in (await take(db)).jobs] == [row["id"]]


async def test_a_claim_sees_a_pause_that_was_committed_before_it(db: Pool, order: Order) -> None:
    """While the pause is not committed, the claim does not wait for it; after its commit, nothing is claimed."""
    await job(db)
    await job(db)
    async with order.first() as session:
        await add_pause(session, ALL, reason="a wrong list", who="ops")
        assert len((await take(db, most=1)).jobs) == 1

    assert (await take(db, most=1)).braked == 1


async def test_the_same_pause_is_made_once(db: Pool, order: Order) -> None:
    """Of two people at once, the second waits for the first, and is told that the pause exists."""
    async with order.first() as first:
        assert await add_pause(first, Scope("nyne"), reason="one", who="ops")

        async def other() -> object:
            async with transaction(db) as connection:
                return await add_pause(connection, Scope("nyne"), reason="other", who="ops")

        second = await order.waiting(other())

    assert await second is None
    assert [row["reason"] for row in await db.fetch("SELECT reason FROM pauses")] == ["one"]


async def test_polls_and_callbacks_go_on(world: AtWork, fake: FakeProvider) -> None:
    """Questions asked before the pause are still answered."""
    row = await overdue(world)
    await pause(world.pool)
    fake.polls.append(completed("req-1", MOBILE))

    assert await world.poller.poll_once() == 1

    assert await status(world.pool, row["lookup_id"]) == "found"


# Let go


@pytest.mark.parametrize("scope", SCOPES, ids=str)
async def test_what_waited_goes_on_when_it_is_let_go(world: AtWork, scope: Scope) -> None:
    """At once, with the pause; nothing that another pause concerns."""
    for source in ("hubspot", "generic"):
        await job(world.pool, source=source)
    await pause(world.pool, scope)
    await world.claim("nyne")
    await world.settle()
    assert await ids(world.pool, held="brake")

    await resume(world.pool, scope)

    assert await ids(world.pool, held="brake") == set()


async def test_other_pauses_keep_what_is_theirs(db: Pool) -> None:
    """When one of three pauses ends, jobs under the two others stay held."""
    for source in ("hubspot", "generic"):
        for provider in BOTH:
            await job(db, provider=provider, source=source)
    for scope in SCOPES:
        await pause(db, scope)
    for provider in BOTH:
        await take(db, provider)

    await resume(db, ALL)
    assert await release_braked(db, 10) == 0

    left = await db.fetch("SELECT provider, source FROM jobs WHERE held = 'brake'")
    assert Counter(tuple(row) for row in left) == Counter(
        [("nyne", "generic"), ("nyne", "hubspot"), ("leadmagic", "hubspot")]
    )


async def test_a_job_held_after_the_pause_was_let_go_goes_on(world: AtWork, order: Order) -> None:
    """A claim that saw the pause commits after its end: the reconciler finds the job."""
    await job(world.pool)
    await pause(world.pool)
    async with order.first() as session:
        assert (await take(one_connection(session))).braked == 1
        await resume(world.pool)
    assert len(await ids(world.pool, held="brake")) == 1

    assert await world.reconciler.look_after_providers() == 1

    assert world.wakes == 1
    assert await ids(world.pool, held="brake") == set()


async def test_jobs_are_released_in_bounded_batches(db: Pool) -> None:
    """Two at a time, oldest first, and nothing twice."""
    rows = [(await job(db, source=source, held="brake"))["id"] for source in ("api", "hubspot", "api")]

    released = [await release_braked(db, 2), await release_braked(db, 2), await release_braked(db, 2)]

    assert released == [2, 1, 0]
    assert await ids(db) == set(rows)


# The API


async def audited(db: Pool) -> list[tuple[str, str]]:
    """Return the author of each action, oldest first."""
    return [tuple(row) for row in await db.fetch("SELECT who, action FROM audit ORDER BY id")]


async def test_the_api_pauses_shows_and_lets_go(db: Pool, client: Client) -> None:
    """Who, since when and why; both are recorded."""
    made = await client.post("/v1/pauses", {"provider": "nyne", "reason": "a wrong list"})
    assert made.status == 201
    assert (made.json()["provider"], made.json()["source"], made.json()["who"]) == ("nyne", None, "token-1")
    shown = (await client.get("/v1/pauses")).json()["pauses"]
    assert shown == [made.json()]
    assert (await client.post("/v1/pauses", {"provider": "nyne", "reason": "another"})).status == 409
    assert (await client.post("/v1/pauses", {"reason": "all"})).status == 201

    gone = await client.send("DELETE", f"/v1/pauses/{made.json()['id']}", b"")
    again = await client.send("DELETE", f"/v1/pauses/{made.json()['id']}", b"")

    assert (gone.status, gone.json(), again.status) == (200, made.json(), 404)
    assert [one["reason"] for one in (await client.get("/v1/pauses")).json()["pauses"]] == ["all"]
    assert await audited(db) == [("token-1", "pause"), ("token-1", "pause"), ("token-1", "resume")]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["reason"]),
        ({"reason": " "}, ["reason"]),
        ({"reason": "a\0"}, ["reason"]),
        ({"reason": "x" * 501}, ["reason"]),
        ({"reason": "why", "provider": "acme"}, ["provider"]),
        ({"reason": "why", "source": "acme"}, ["source"]),
        ({"reason": "why", "provider": "nyne", "source": "api"}, ["source"]),
        ({"reason": "why", "providers": ["nyne"]}, ["providers"]),
        ([], [""]),
        (b"{", [""]),
    ],
)
async def test_a_pause_that_makes_no_sense_is_refused(
    db: Pool, client: Client, body: object, fields: list[str]
) -> None:
    """422, every field is named, and nothing is paused: least of all more than was meant."""
    refused = await client.post("/v1/pauses", body)

    assert (refused.status, [one["path"] for one in refused.json()["errors"]]) == (422, fields)
    assert await db.fetchval("SELECT count(*) FROM pauses") == 0


@pytest.mark.parametrize("id", ["no-uuid", "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b"])
async def test_an_unknown_pause_is_a_404(client: Client, id: str) -> None:
    """An unknown id is a 404, whatever it looks like."""
    assert (await client.send("DELETE", f"/v1/pauses/{id}", b"")).status == 404


async def test_reading_is_not_operating(db: Pool, client_with: ClientWith) -> None:
    """A token that may read sees the pauses and changes none."""
    client = await client_with(api_tokens=f"eye:read:{TOKEN}")

    told = [
        (await client.get("/v1/pauses")).status,
        (await client.post("/v1/pauses", {"reason": "why"})).status,
        (await client.send("DELETE", f"/v1/pauses/{UUID(int=1)}", b"")).status,
    ]

    assert told == [200, 403, 403]
    assert await db.fetchval("SELECT count(*) FROM pauses") == 0


async def test_a_pause_of_both_kinds_is_refused_by_the_database(db: Pool) -> None:
    """It would be no scope that anything asks for."""
    with pytest.raises(asyncpg.CheckViolationError):
        await add_pause(db, Scope("nyne", "hubspot"), reason="why", who="ops")
