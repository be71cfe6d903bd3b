"""Failed questions: asked again, later each time, if nothing was done; never if the outcome is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from enrichment.outcome import Answered
from tests.at_work import BOTH, AtWork, due_now, ended, waits, wish_for
from tests.fake_provider import FakeProvider, Reply, drop, found, hang
from tests.wishes import MOBILE, job_of, read, status

if TYPE_CHECKING:
    from tests.conftest import Start

# Nothing was done


async def test_a_definite_failure_is_asked_again_later(world: AtWork, fake: FakeProvider) -> None:
    """Each failure doubles the wait, with half of it left to chance; the answer then counts as ever."""
    lookup_id = await wish_for(world)
    fake.questions.extend([Reply(503), Reply(503), found()])
    spans = []

    for _ in range(2):
        await world.ask("leadmagic")
        spans.append(await waits(world, lookup_id))
        await due_now(world)
    await world.ask("leadmagic")

    assert 0.4 < spans[0] <= 1 < spans[1] <= 2
    told = await read(world.pool, lookup_id)
    assert (told["status"], told["credits"]) == ("found", 5)
    (finished,) = await world.pool.fetch("SELECT attempt, error FROM finished_jobs")
    assert tuple(finished) == (3, None)


async def test_retry_after_is_honoured(world: AtWork, fake: FakeProvider) -> None:
    """A provider that says when is asked then."""
    lookup_id = await wish_for(world)
    fake.questions.append(Reply(503, headers={"Retry-After": "120"}))

    await world.ask("leadmagic")

    assert 115 < await waits(world, lookup_id) <= 120


async def test_leadmagics_500_waits_half_a_minute(world: AtWork, fake: FakeProvider) -> None:
    """Its page says so."""
    lookup_id = await wish_for(world)
    fake.questions.append(Reply(500, {"error": "INTERNAL_ERROR"}))

    await world.ask("leadmagic")

    assert 25 < await waits(world, lookup_id) <= 30
    assert (await status(world.pool, lookup_id)) == "running"


async def test_after_max_attempts_the_job_fails(start: Start, fake: FakeProvider) -> None:
    """It says how often it was tried, and why not once more; nothing was charged."""
    async with start(max_attempts=3) as world:
        lookup_id = await wish_for(world)
        fake.questions.append(Reply(503, {"error": "service_unavailable"}))

        for _ in range(4):
            await world.ask("leadmagic")
            await due_now(world)

        told = await read(world.pool, lookup_id)
        assert (told["status"], len(fake.paid)) == ("failed", 3)
        assert told["reason"].startswith("leadmagic: given up after 3 attempts: HTTP 503")
        assert await ended(world, lookup_id) == [("leadmagic", "failed", 0, 0)]


async def test_nobody_there_is_a_definite_failure(start: Start) -> None:
    """A connection that was refused is tried again, and costs nothing."""
    async with start(leadmagic_base_url="http://127.0.0.1:1") as world:
        lookup_id = await wish_for(world)

        await world.ask("leadmagic")

        now = await job_of(world.pool, lookup_id)
        assert now is not None
        assert (now["state"], now["tries"], now["reserved"]) == ("queued", 1, 0)
        assert now["error"].startswith("no connection")


# Unknown outcomes


@pytest.mark.parametrize("reply", [drop(), hang(), Reply(504, b"<html>")], ids=["drop", "hang", "504"])
async def test_an_outcome_nobody_can_tell_is_unknown_and_never_asked_again(
    start: Start, fake: FakeProvider, reply: Reply
) -> None:
    """A question that was read and not answered is perhaps charged, and is never asked again automatically."""
    async with start(provider_timeout_seconds=0.3) as world:
        lookup_id = await wish_for(world)
        fake.questions.append(reply)

        await world.ask("leadmagic")
        await due_now(world)
        await world.ask("leadmagic")

        assert await ended(world, lookup_id) == [("leadmagic", "unknown", 0, 5)]
        assert await status(world.pool, lookup_id) == "unresolved"
        assert len(fake.paid) == 1


@pytest.mark.parametrize(("policy", "asked"), [("next", "nyne"), ("hold", None)])
async def test_after_an_unknown_outcome_the_policy_decides(
    start: Start, fake: FakeProvider, policy: str, asked: str | None
) -> None:
    """UNKNOWN_POLICY: the next provider is asked, or a person decides."""
    async with start(unknown_policy=policy) as world:
        lookup_id = await wish_for(world, *BOTH)
        fake.questions.append(drop())

        await world.ask("leadmagic")

        now = await job_of(world.pool, lookup_id)
        told = await read(world.pool, lookup_id)
        assert (now and now["provider"]) == asked
        assert told["status"] == ("running" if asked else "unresolved")
        if not asked:
            assert told["reason"].startswith("leadmagic: the connection broke")


@pytest.mark.parametrize("reply", [drop(), Reply(202, b"accepted"), Reply(500, b"oops")])
async def test_a_lost_202_waits_for_its_callback(world: AtWork, fake: FakeProvider, reply: Reply) -> None:
    """Nyne may have the question: its callback's token finds the job, which is not asked again meanwhile."""
    lookup_id = await wish_for(world, "nyne")
    fake.questions.append(reply)

    (claimed,) = (await world.ask("nyne")).items

    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["state"], now["request_id"]) == ("awaiting", None)
    assert now["raw"] == (None if reply.drops else reply.body.decode())
    assert 290 < await waits(world, lookup_id) <= 300
    recorded = await world.call_back(claimed.id, Answered(MOBILE, request_id="req-1"))
    assert recorded.verdict == "applied"
    assert await status(world.pool, lookup_id) == "found"


async def test_without_callbacks_a_lost_202_is_unknown(start: Start, fake: FakeProvider) -> None:
    """Without callbacks, no message will ever come: the job is unknown at once."""
    async with start(public_url=None) as world:
        lookup_id = await wish_for(world, "nyne")
        fake.questions.append(drop())

        await world.ask("nyne")

        assert await ended(world, lookup_id) == [("nyne", "unknown", 0, 3)]


async def test_a_success_nobody_can_read_is_kept_for_a_person(world: AtWork, fake: FakeProvider) -> None:
    """The outcome is unknown and perhaps charged; the body is kept for a person to read."""
    lookup_id = await wish_for(world)
    fake.questions.append(Reply(200, b'["\xff", "surprise"]\0'))

    await world.ask("leadmagic")

    assert await ended(world, lookup_id) == [("leadmagic", "unknown", 0, 5)]
    assert await status(world.pool, lookup_id) == "unresolved"
    assert "surprise" in await world.pool.fetchval("SELECT raw FROM finished_jobs")
