"""Polls: what no callback brought is asked for, free of charge, less and less often, until the deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.outcome import Answered
from tests.at_work import PATIENCE, AtWork, waits
from tests.fake_provider import FakeProvider, Reply, completed, drop, forgotten, held, running
from tests.waiting_jobs import ago, end_of, overdue
from tests.wishes import MOBILE, job_of, jobs, read, status

if TYPE_CHECKING:
    from tests.conftest import Start


async def test_a_poll_brings_the_answer(world: AtWork, fake: FakeProvider) -> None:
    """An answer without a callback is fetched, paid and stored once."""
    row = await overdue(world)
    fake.polls.append(completed("req-1", MOBILE))

    assert await world.poller.poll_once() == 1

    assert await end_of(world, row["id"]) == ("answered", "poll", 3, 0)
    assert await status(world.pool, row["lookup_id"]) == "found"
    assert (fake.polled, fake.asked[0].headers["x-api-secret"]) == (["req-1"], "nyne-secret")
    assert await world.poller.poll_once() == 0


async def test_only_what_is_due_is_polled(world: AtWork, fake: FakeProvider) -> None:
    """A callback is given its time."""
    await overdue(world, due_at=await ago(world, seconds=-5))
    await overdue(world, request_id=None)

    assert await world.poller.poll_once() == 0
    assert fake.asked == []


async def test_polls_back_off_to_half_an_hour(world: AtWork) -> None:
    """The wait doubles each time, with a tenth left to chance, from the grace to thirty minutes."""
    await overdue(world)
    spans = []

    for _ in range(8):
        await world.pool.execute("UPDATE jobs SET due_at = now()")
        assert await world.poller.poll_once() == 1
        spans.append(await waits(world))

    for span, expected in zip(spans, [60, 120, 240, 480, 960, 1800, 1800, 1800], strict=True):
        assert 0.89 * expected < span < 1.11 * expected
    assert await world.pool.fetchval("SELECT polls FROM jobs") == 8


async def test_the_last_poll_is_at_the_deadline(world: AtWork) -> None:
    """Backing off never waits past the moment when the question is lost."""
    await overdue(world, submitted_at=await ago(world, hours=23.99), polls=9)

    await world.poller.poll_once()

    assert await waits(world) < 40


async def test_without_a_public_url_polls_begin_within_seconds(start: Start) -> None:
    """Where no callback can come there is no grace to wait for."""
    async with start(public_url=None) as world:
        await overdue(world)
        await world.poller.poll_once()

        assert 4 < await waits(world) < 6


@pytest.mark.parametrize(
    ("reply", "state", "final"),
    [
        (forgotten(), ("lost", None, 0, 3), "unresolved"),
        (Reply(200, {"status": "failed", "error": "no luck"}), ("failed", None, 0, 0), "failed"),
        (completed("req-1", None), ("answered", "poll", 0, 0), "not_found"),
        (completed("req-1", "123"), ("answered", "poll", 3, 0), "not_found"),
    ],
)
async def test_a_poll_may_end_the_job_otherwise(
    world: AtWork, fake: FakeProvider, reply: Reply, state: tuple[Any, ...], final: str
) -> None:
    """Forgotten, failed, no number, or one that cannot be one."""
    row = await overdue(world)
    fake.polls.append(reply)

    await world.poller.poll_once()

    assert await end_of(world, row["id"]) == state
    assert await status(world.pool, row["lookup_id"]) == final


@pytest.mark.parametrize("reply", [running(), Reply(503, {}), drop(), Reply(200, b"\xff?")])
async def test_a_poll_that_tells_nothing_changes_nothing(world: AtWork, fake: FakeProvider, reply: Reply) -> None:
    """Asking costs nothing, so it is asked again; what could not be read is kept for a person."""
    row = await overdue(world)
    fake.polls.append(reply)

    await world.poller.poll_once()

    now = await job_of(world.pool, row["lookup_id"])
    assert now is not None
    assert (now["state"], now["polls"]) == ("awaiting", 1)
    assert now["raw"] == ("�?" if reply.body == b"\xff?" else None)
    assert await waits(world) > 50


async def test_a_poll_in_flight_when_the_callback_comes(world: AtWork, fake: FakeProvider) -> None:
    """The callback wins; the poll's answer changes nothing."""
    row = await overdue(world)
    slow = held(completed("req-1", "+442079460000"))
    fake.polls.append(slow)
    polling = asyncio.create_task(world.poller.poll_once())
    await asyncio.wait_for(slow.reached.wait(), PATIENCE)

    await world.call_back(row["id"], Answered(MOBILE, request_id="req-1"))
    assert slow.release
    slow.release.set()
    await polling

    told = await read(world.pool, row["lookup_id"])
    assert (told["mobile"], told["credits"]) == (MOBILE, 3)
    assert await end_of(world, row["id"]) == ("answered", "callback", 3, 0)


async def test_one_bad_poll_does_not_fail_the_others(world: AtWork, fake: FakeProvider) -> None:
    """Answers of one pass are stored although one of them came to nothing."""
    rows = [await overdue(world, request_id=f"req-{number}") for number in range(3)]
    fake.polls.extend([Reply(503), completed("req-1", None), completed("req-2", None)])

    assert await world.poller.poll_once() == 3

    assert await jobs(world.pool) == 1
    assert sorted([await status(world.pool, row["lookup_id"]) for row in rows]) == ["not_found", "not_found", "running"]
