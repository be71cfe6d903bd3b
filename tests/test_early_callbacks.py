"""Callbacks before their 202, or of another request: applied where they fit, and verified where that is in doubt."""

from __future__ import annotations

from datetime import timedelta

import pytest

from enrichment.outcome import Accepted, Answered, Unreadable
from store.asked import Acceptance, accept
from store.callbacks import record_callbacks
from tests.at_work import AtWork, callback, claimed_of, tell
from tests.factories import job
from tests.fake_provider import FakeProvider, completed, running
from tests.order import Order
from tests.wishes import MOBILE, OTHER_MOBILE, POLICY, answer, finish_jobs, jobs, read, status


async def test_a_callback_before_the_202_is_applied(world: AtWork) -> None:
    """The token finds the job while it is being asked; the 202 that comes after changes nothing."""
    claimed = await claimed_of(world)

    recorded = await world.call_back(claimed.id, Answered(MOBILE, request_id="req-1"))
    await tell(world, claimed, Accepted("req-1"))

    assert recorded.verdict == "applied"
    assert await status(world.pool, claimed.lookup_id) == "found"
    assert await world.pool.fetchval("SELECT count(*) FROM finished_jobs WHERE check_at IS NOT NULL") == 0
    assert await jobs(world.pool) == 0


async def test_a_202_waits_for_the_callback_that_is_being_written(world: AtWork, order: Order) -> None:
    """Both at the same instant: the callback commits first, and the 202 learns that the job is over."""
    claimed = await claimed_of(world)
    async with order.first() as first:
        assert await finish_jobs(first, [answer(claimed.id, "callback", request_id="req-1")])
        task = await order.waiting(
            accept(world.pool, [Acceptance(claimed.id, claimed.attempt, "req-1", timedelta(seconds=60))])
        )

    assert await task == set()


@pytest.mark.parametrize(
    ("called_back", "polled", "expected"),
    [
        (MOBILE, OTHER_MOBILE, ("found", MOBILE)),
        (None, OTHER_MOBILE, ("found", OTHER_MOBILE)),
        (None, None, ("not_found", None)),
    ],
)
async def test_a_202_that_names_another_request_is_verified(
    world: AtWork, fake: FakeProvider, called_back: str | None, polled: str | None, expected: tuple[str, str | None]
) -> None:
    """The callback is flagged, and the request that was accepted is polled: its number counts where there is none."""
    claimed = await claimed_of(world)
    await world.call_back(claimed.id, Answered(called_back, request_id="req-1"))
    fake.polls.append(completed("req-2", polled))

    await tell(world, claimed, Accepted("req-2"))
    assert await world.poller.poll_once() == 1

    assert fake.polled == ["req-2"]
    told = await read(world.pool, claimed.lookup_id)
    assert (told["status"], told["mobile"]) == expected
    assert await world.pool.fetchval("SELECT verdict FROM callbacks") == "flagged"
    assert await world.poller.poll_once() == 0


async def test_a_verification_that_came_too_early_is_made_again(world: AtWork, fake: FakeProvider) -> None:
    """When the provider is still at work on the request that it accepted, that is polled until it is done."""
    claimed = await claimed_of(world)
    await world.call_back(claimed.id, Answered(None, request_id="req-1"))
    await tell(world, claimed, Accepted("req-2"))
    fake.polls.extend([running("req-2"), completed("req-2", MOBILE)])

    assert await world.poller.poll_once() == 1
    assert await world.poller.poll_once() == 0
    await world.pool.execute("UPDATE finished_jobs SET check_at = now()")
    assert await world.poller.poll_once() == 1

    assert await status(world.pool, claimed.lookup_id) == "found"
    assert await world.pool.fetchval("SELECT check_at FROM finished_jobs") is None


async def test_a_verification_ends_at_the_deadline(world: AtWork, fake: FakeProvider) -> None:
    """A request that is never done is not polled for ever."""
    claimed = await claimed_of(world)
    await world.call_back(claimed.id, Answered(None, request_id="req-1"))
    await tell(world, claimed, Accepted("req-2"))
    await world.pool.execute("UPDATE finished_jobs SET submitted_at = now() - interval '2 days'")

    assert await world.poller.poll_once() == 1

    assert await world.pool.fetchval("SELECT check_at FROM finished_jobs") is None


async def test_a_wrong_callback_does_not_hide_the_right_one(world: AtWork) -> None:
    """Two callbacks for one job in one commit, the first of another request: the second one counts."""
    row = await job(world.pool, "awaiting", request_id="req-1")
    nyne = world.process.providers["nyne"]
    outcomes = [Answered(mobile, request_id=f"req-{n}") for mobile, n in ((OTHER_MOBILE, 2), (MOBILE, 1), (None, 1))]

    recorded = await record_callbacks(
        world.pool,
        [callback(nyne, row["id"], said, str(said.request_id).encode()) for said in outcomes],
        POLICY,
        None,
    )

    assert [one.verdict for one in recorded] == ["flagged", "applied", "ignored"]
    assert (await read(world.pool, row["lookup_id"]))["mobile"] == MOBILE


async def test_a_callback_nobody_can_read_ends_nothing(world: AtWork) -> None:
    """An unreadable callback is kept and flagged, and the job is polled."""
    row = await job(world.pool, "awaiting", request_id="req-1")

    recorded = await world.call_back(row["id"], Unreadable("odd"), b"?")

    assert recorded.verdict == "flagged"
    assert await world.pool.fetchval("SELECT due_at <= now() FROM jobs")
