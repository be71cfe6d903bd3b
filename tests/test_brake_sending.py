"""The brake immediately before a question is sent: however long it waited since its claim, a pause stops it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from rig.proxy import proxied
from store.claim import ClaimedJob
from store.database import transaction
from store.pauses import Brake, Scope, add_pause
from submitter.brake import FRESH, UNKNOWN, BrakeView
from submitter.leased import Lease
from tests.at_work import PATIENCE, AtWork, claimed_of
from tests.fake_provider import FakeProvider, held, nothing
from tests.order import Order

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.wishes import Pool

FAR = 1e9  # on the event loop's clock


async def pause(db: Pool, scope: Scope = Scope()) -> None:  # noqa: B008  frozen
    """Pause by a person."""
    async with transaction(db) as connection:
        await add_pause(connection, scope, reason="a wrong list", who="ops")


async def ask(world: AtWork, job: ClaimedJob, provider: str = "leadmagic") -> None:
    """Ask the question of a claimed job, and wait until its outcome is written."""
    result = await world.submitters[provider].work(job, Lease(FAR))
    await asyncio.wait_for(result.written, PATIENCE)


async def told(world: AtWork, job: ClaimedJob) -> tuple[object, ...]:
    """Return the job's state, tries and reservation, and what is reserved in all."""
    row = await world.pool.fetchrow(
        "SELECT state::text, tries, reserved, (SELECT sum(reserved) FROM usage) FROM jobs WHERE id = $1", job.id
    )
    assert row is not None
    return tuple(row)


@pytest.mark.parametrize("scope", [Scope(), Scope("leadmagic"), Scope(source="generic")], ids=str)
async def test_a_pause_after_the_claim_stops_the_question(world: AtWork, fake: FakeProvider, scope: Scope) -> None:
    """It was not sent: it is queued again, has used up no try, and nothing is reserved for it."""
    job = await claimed_of(world, "leadmagic")
    await pause(world.pool, scope)

    await ask(world, job)

    assert fake.paid == []
    assert await told(world, job) == ("queued", 0, 0, 0)
    assert not (await world.claim("leadmagic")).items
    assert await world.pool.fetchval("SELECT held FROM jobs") == "brake"


@pytest.mark.parametrize("scope", [Scope("nyne"), Scope(source="hubspot")], ids=str)
async def test_a_pause_of_others_does_not(world: AtWork, fake: FakeProvider, scope: Scope) -> None:
    """A pause holds up only what it is about."""
    job = await claimed_of(world, "leadmagic")
    await pause(world.pool, scope)

    await ask(world, job)

    assert len(fake.paid) == 1


async def test_a_question_that_waits_for_a_connection_is_stopped(start: Start, fake: FakeProvider) -> None:
    """The pause comes while another question has the only connection: the waiting one is not sent after it."""
    async with start(provider_concurrency=1) as world:
        first, second = await claimed_of(world, "leadmagic"), await claimed_of(world, "leadmagic")
        slow = held(nothing())
        fake.questions.extend([slow, nothing()])
        asking = [asyncio.create_task(ask(world, job)) for job in (first, second)]
        await fake.arrive(1)

        await pause(world.pool)
        world.brake.expire()
        assert slow.release
        slow.release.set()
        await asyncio.gather(*asking)

        assert len(fake.paid) == 1
        assert await told(world, second) == ("queued", 0, 0, 0)


async def test_without_the_database_nothing_is_sent(start: Start, fake: FakeProvider, database_url: str) -> None:
    """Without the database no pause can be ruled out: the question waits until it is back."""
    async with proxied(database_url) as proxy, start(proxy.url) as world:
        job = await claimed_of(world, "leadmagic")
        proxy.cut()
        asking = asyncio.create_task(ask(world, job))
        await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
        proxy.mend()
        await asking

        assert fake.paid == []
        assert (await told(world, job))[0] == "queued"


async def test_a_slow_look_is_no_missing_answer(start: Start, fake: FakeProvider, order: Order) -> None:
    """Where the timeout is short, the question is withheld before it passes: it was not sent, and is not unknown."""
    async with start(provider_timeout_seconds=1) as world:
        job = await claimed_of(world, "leadmagic")
        async with order.first() as session:
            await session.execute("LOCK TABLE pauses IN ACCESS EXCLUSIVE MODE")
            result = await world.submitters["leadmagic"].work(job, Lease(FAR))
        await asyncio.wait_for(result.written, PATIENCE)

        assert fake.paid == []
        assert await told(world, job) == ("queued", 0, 0, 0)


# The view


async def test_the_view_is_read_again_after_half_a_second_or_a_hint(db: Pool) -> None:
    """A fresher view answers from memory, so that many questions a second cost two statements, not one each."""
    view = BrakeView(db)
    await pause(db)

    view.note(Brake(), time.monotonic())
    assert await view.forbids("nyne", "generic", 1) is None
    view.expire()
    assert "paused" in (await view.forbids("nyne", "generic", 1) or "")

    old = BrakeView(db)
    old.note(Brake(), time.monotonic() - FRESH - 0.01)
    assert "paused" in (await old.forbids("nyne", "generic", 1) or "")


async def test_what_was_read_before_a_hint_says_nothing(db: Pool) -> None:
    """A claim that began before the hint does not undo it."""
    view = BrakeView(db)
    before = time.monotonic()
    await pause(db)
    view.expire()

    view.note(Brake(), before)

    assert "paused" in (await view.forbids("nyne", "generic", 1) or "")


async def test_questions_share_one_look(db: Pool, order: Order) -> None:
    """Twenty questions at once wait for one statement, each for no longer than it may."""
    view = BrakeView(db)
    async with order.first() as session:
        await session.execute("LOCK TABLE pauses IN ACCESS EXCLUSIVE MODE")
        looks = await order.waiting(asyncio.gather(*(view.forbids("nyne", "generic", PATIENCE) for _ in range(20))))
        assert await view.forbids("nyne", "generic", 0.01) == UNKNOWN
        waiting = await session.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )

    assert waiting == 1
    assert await looks == [None] * 20
