"""A provider out of credits, or whose key is refused: its turns pass, or its lookups are held, until it is well."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from enrichment.ending import Ending
from store import providers
from store.finish import finish
from tests.at_work import BOTH, AtWork, wish_for
from tests.claims import QUICK, ids, later, take
from tests.factories import job
from tests.fake_provider import FakeProvider, Reply, broke, completed, found, well
from tests.waiting_jobs import overdue
from tests.wishes import MOBILE, job_of, status, take_one

if TYPE_CHECKING:
    from tests.wishes import Pool

SOON = timedelta(seconds=5)
EMAIL = "jane@acme.co"


# Paused


async def test_out_of_credits_the_turn_passes(world: AtWork, fake: FakeProvider) -> None:
    """A 402 pauses the provider for all jobs; another provider is asked first, and the paused one comes last."""
    lookup_id = await wish_for(world, *BOTH)
    fake.questions.append(broke(402))

    await world.ask("leadmagic")
    assert not (await world.ask("leadmagic")).items

    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["provider"], now["todo"], now["held"], now["tries"]) == ("nyne", ["leadmagic"], None, 0)
    row = await world.pool.fetchrow("SELECT * FROM providers WHERE name = 'leadmagic'")
    assert row is not None
    assert "insufficient_credits" in row["paused_reason"]


async def test_with_nobody_else_it_is_held(world: AtWork, fake: FakeProvider) -> None:
    """Without another provider, the job is held for the paused one and not asked in vain."""
    lookup_id = await wish_for(world)
    fake.questions.append(broke(401))

    await world.ask("leadmagic")
    await world.ask("leadmagic")
    await world.ask("leadmagic")

    assert await status(world.pool, lookup_id) == "held"
    assert len(fake.paid) == 1


async def test_a_poll_that_says_paused_pauses(world: AtWork, fake: FakeProvider) -> None:
    """A key that was revoked is noticed by polls, too."""
    await overdue(world)
    fake.polls.append(broke(401))

    await world.poller.poll_once()

    assert await world.pool.fetchval("SELECT paused_at IS NOT NULL FROM providers WHERE name = 'nyne'")


async def test_a_paused_account_is_still_asked_for_what_it_accepted(world: AtWork, fake: FakeProvider) -> None:
    """Without credits no new question can be asked, but accepted ones are still polled."""
    row = await overdue(world)
    await providers.pause(world.pool, "nyne", "out of credits", timedelta(seconds=5))
    fake.polls.append(completed("req-1", MOBILE))

    assert await world.poller.poll_once() == 1

    assert await status(world.pool, row["lookup_id"]) == "found"


# Whose turn it is


async def test_a_paused_provider_passes_its_turns(db: Pool) -> None:
    """Jobs with another provider go there, the paused one last; jobs without one are held."""
    passed = await job(db, provider="leadmagic", todo=["nyne"])
    stuck = await job(db, provider="leadmagic", todo=[])
    assert await providers.pause(db, "leadmagic", "no credits", SOON)
    assert not await providers.pause(db, "leadmagic", "no credits", SOON)

    claimed = await take(db, "leadmagic")
    moved = await providers.pass_turns(db, "leadmagic")

    assert (claimed.jobs, claimed.paused, moved) == ((), True, 2)
    assert await ids(db, held="paused", provider="leadmagic") == {stuck["id"]}
    (row,) = await db.fetch("SELECT * FROM jobs WHERE provider = 'nyne'")
    assert (row["lookup_id"], row["todo"], row["held"]) == (passed["lookup_id"], ["leadmagic"], None)
    assert await providers.pass_turns(db, "leadmagic") == 0


@pytest.mark.parametrize("attempt", [0, 1])
async def test_a_turn_that_is_passed_is_another_question(db: Pool, attempt: int) -> None:
    """It has a callback URL of its own where the paused one was asked before, and may still answer."""
    passed = await job(db, provider="leadmagic", todo=["nyne"], attempt=attempt, tries=attempt)
    await providers.pause(db, "leadmagic", "no credits", SOON)

    await providers.pass_turns(db, "leadmagic")

    (row,) = await db.fetch("SELECT id FROM jobs WHERE provider = 'nyne'")
    assert (row["id"] == passed["id"]) == (attempt == 0)


async def test_when_all_are_paused_the_first_holds_and_either_frees(db: Pool) -> None:
    """A held lookup goes on with whichever of its providers is well again first."""
    row = await job(db, provider="leadmagic", todo=["nyne"])
    for name in ("leadmagic", "nyne"):
        await providers.pause(db, name, "no credits", SOON)
    assert await providers.pass_turns(db, "leadmagic") == 1
    assert await ids(db, held="paused", provider="leadmagic") == {row["id"]}
    assert await providers.release_paused(db, "nyne", 10) == 0

    assert await providers.resume(db, "nyne")
    assert await providers.release_paused(db, "nyne", 10) == 1
    assert await providers.pass_turns(db, "leadmagic") == 1

    assert [ours.lookup_id for ours in (await take(db)).jobs] == [row["lookup_id"]]


@pytest.mark.parametrize(
    ("paused", "next_one", "todo", "held"),
    [
        ((), "nyne", ["third", "fourth"], None),
        (("nyne",), "third", ["nyne", "fourth"], None),
        (("nyne", "third"), "fourth", ["nyne", "third"], None),
        (("nyne", "third", "fourth"), "nyne", ["third", "fourth"], "paused"),
    ],
)
async def test_a_chain_goes_on_with_whoever_is_not_paused(
    db: Pool, paused: tuple[str, ...], next_one: str, todo: list[str], held: str | None
) -> None:
    """The next provider that is not paused is asked; skipped ones keep their turn; with none, the job is held."""
    for name in ("third", "fourth"):
        await providers.register_provider(db, name, QUICK, {})
    for name in paused:
        await providers.pause(db, name, "no credits", SOON)
    row = await job(db, "submitting", provider="leadmagic", todo=["nyne", "third", "fourth"])

    await finish(db, [Ending(job_id=row["id"], state="failed", error="no")], ["nyne", "third", "fourth"])

    (after,) = await db.fetch("SELECT provider, todo, held, place FROM jobs")
    assert tuple(after) == (next_one, todo, held, 1)


async def test_the_chain_skips_a_paused_provider(world: AtWork, fake: FakeProvider) -> None:
    """When the next one is paused its job is held, and says so, in the same statement."""
    await world.pool.execute(
        "UPDATE providers SET paused_at = now(), paused_reason = 'no credits', check_at = now() WHERE name = 'nyne'"
    )
    lookup_id = await wish_for(world, *BOTH)

    await world.ask("leadmagic")

    assert await status(world.pool, lookup_id) == "held"


# Well again


async def test_a_provider_that_is_well_again_gets_its_lookups_back(db: Pool) -> None:
    """Jobs held for a provider are asked when it is well again."""
    row = await job(db)
    await providers.pause(db, "nyne", "no credits", SOON)
    await providers.pass_turns(db, "nyne")

    assert await providers.resume(db, "nyne")
    assert not await providers.resume(db, "nyne")
    assert await providers.release_paused(db, "nyne", 10) == 1

    assert [ours.id for ours in (await take(db)).jobs] == [row["id"]]


async def test_one_process_asks_a_paused_provider_how_it_is(db: Pool) -> None:
    """The free endpoint is asked when its time comes, by one of all processes."""
    await providers.pause(db, "nyne", "no credits", SOON)
    assert not await providers.claim_check(db, "nyne", SOON)
    await later(db, "nyne", "check_at")

    asked = await asyncio.gather(*(providers.claim_check(db, "nyne", SOON) for _ in range(4)))

    assert sorted(asked) == [False, False, False, True]


async def test_paused_again_soon_it_is_asked_less_often(db: Pool) -> None:
    """When the free endpoint says well and the paid one does not, they do not take turns every few seconds."""
    await providers.pause(db, "nyne", "no credits", SOON)
    await providers.resume(db, "nyne")
    await providers.pause(db, "nyne", "no credits", SOON)

    wait = await db.fetchval("SELECT check_at - now() FROM providers WHERE name = 'nyne'")

    assert wait > 15 * SOON


async def test_a_paused_provider_is_asked_how_it_is(world: AtWork, fake: FakeProvider) -> None:
    """While its free endpoint says unwell nothing is released; when it is well again, everything goes on."""
    row = await job(world.pool, held="paused")
    await providers.pause(world.pool, "nyne", "out of credits", timedelta(0))
    fake.health.extend([Reply(200, {"limits": {"available_credits": 0}}), Reply(503), well()])

    for _ in range(2):
        assert await world.reconciler.look_after_providers() == 0
        assert await status(world.pool, row["lookup_id"]) == "held"
        await world.pool.execute("UPDATE providers SET check_at = now() WHERE paused_at IS NOT NULL")
    assert await world.reconciler.look_after_providers() == 1

    assert await status(world.pool, row["lookup_id"]) == "queued"
    assert world.wakes == 1
    assert [asked.path for asked in fake.asked] == ["/usage"] * 3
    assert await world.pool.fetchval("SELECT paused_at FROM providers WHERE name = 'nyne'") is None


async def test_from_402_to_found(world: AtWork, fake: FakeProvider) -> None:
    """Out of credits, held, topped up, resumed, asked again, found: without a person's command."""
    taken = await take_one(world.pool, work_email=EMAIL)
    fake.questions.extend([broke(402), found()])
    fake.health.append(well())
    await world.ask("leadmagic")
    await world.ask("leadmagic")
    assert await status(world.pool, taken.id) == "held"
    await world.pool.execute("UPDATE providers SET check_at = now() WHERE paused_at IS NOT NULL")

    await world.reconciler.look_after_providers()
    await world.ask("leadmagic")

    assert await status(world.pool, taken.id) == "found"
    assert len(fake.paid) == 2


@pytest.mark.parametrize("silence", [Reply(200, b"<html>"), Reply(404, b"gone"), Reply(503), Reply(403, b"<html>")])
async def test_a_health_answer_that_tells_nothing_pauses_for_ten_minutes_and_not_for_ever(
    world: AtWork, fake: FakeProvider, silence: Reply
) -> None:
    """After so many unreadable health answers, the next question is to find out."""
    await providers.pause(world.pool, "nyne", "out of credits", timedelta(0))
    fake.health.append(silence)

    for _ in range(providers.MOST_UNTOLD - 1):
        await check_now(world)
    assert await world.pool.fetchval("SELECT paused_at IS NOT NULL FROM providers WHERE name = 'nyne'")
    await check_now(world)

    assert await world.pool.fetchval("SELECT paused_at IS NULL FROM providers WHERE name = 'nyne'")


async def test_a_health_answer_in_another_shape_resumes(world: AtWork, fake: FakeProvider) -> None:
    """The key was taken, and a field that was renamed must not keep the provider paused."""
    await providers.pause(world.pool, "nyne", "out of credits", timedelta(0))
    fake.health.append(Reply(200, {"account": {"credits_left": 7}}))

    await check_now(world)

    assert await world.pool.fetchval("SELECT paused_at IS NULL FROM providers WHERE name = 'nyne'")


async def test_an_account_that_is_not_well_stays_paused(world: AtWork, fake: FakeProvider) -> None:
    """However often it says so."""
    await providers.pause(world.pool, "nyne", "out of credits", timedelta(0))
    fake.health.append(broke(402))

    for _ in range(providers.MOST_UNTOLD + 1):
        await check_now(world)

    assert await world.pool.fetchval("SELECT paused_at IS NOT NULL FROM providers WHERE name = 'nyne'")


async def check_now(world: AtWork) -> None:
    """The reconciler looks after the providers at the moment of the next check."""
    await world.pool.execute("UPDATE providers SET check_at = now() WHERE paused_at IS NOT NULL")
    await world.reconciler.look_after_providers()
