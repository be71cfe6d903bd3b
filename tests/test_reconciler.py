"""The reconciler, one pass at a time over rows of the right age: nothing waits for ever."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from enrichment.outcome import Answered
from enrichment.store import providers, sweep
from enrichment.store.followers import promote
from submitter.reconciler import BATCH, repeat, work
from tests.at_work import NO_LIMITS, AtWork, at_work
from tests.factories import finished_job, job, lookup
from tests.fake_provider import (
    FakeProvider,
    Reply,
    broke,
    completed,
    drop,
    forgotten,
    found,
    held,
    playing,
    running,
    well,
)
from tests.wishes import MOBILE, POLICY, end_job, job_of, jobs, read, status, take, take_one, wish

if TYPE_CHECKING:
    from tests.conftest import MakeSettings

    Pool: TypeAlias = asyncpg.Pool[Any]

_numbers = itertools.count(1)
PATIENCE = 10.0  # seconds, until a test is stuck
EMAIL = "jane@acme.co"
Start: TypeAlias = Callable[..., Any]


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    """The provider's server."""
    async with playing() as server:
        yield server


@pytest.fixture
def start(fake: FakeProvider, make_settings: MakeSettings, database_url: str) -> Start:
    """Opens a process with settings of the test's own."""

    @asynccontextmanager
    async def open_it(**overrides: Any) -> AsyncIterator[AtWork]:
        given = {"leadmagic_base_url": fake.url, "nyne_base_url": fake.url, **NO_LIMITS, **overrides}
        async with at_work(make_settings(database_url=database_url, **given), database_url) as working:
            yield working

    return open_it


@pytest.fixture
async def world(start: Start) -> AsyncIterator[AtWork]:
    """A process at work."""
    async with start() as working:
        yield working


async def ago(world: AtWork, **span: float) -> Any:
    """So long ago."""
    return await world.pool.fetchval("SELECT now() - $1::interval", timedelta(**span))


async def silent(world: AtWork, **more: Any) -> asyncpg.Record:
    """A job whose submitter has been silent since its lease ran out."""
    row = await lookup(world.pool, providers=["nyne"])
    given = {"lookup_id": row["id"], "lease_expires_at": await ago(world, seconds=1), **more}
    return await job(world.pool, "submitting", **given)


async def overdue(world: AtWork, **more: Any) -> asyncpg.Record:
    """A job that was accepted, and nothing came."""
    row = await lookup(world.pool, providers=["nyne"])
    given = {"lookup_id": row["id"], "request_id": "req-1", "due_at": await ago(world, seconds=1), **more}
    return await job(world.pool, "awaiting", **given)


async def ended(world: AtWork, job_id: UUID) -> tuple[Any, ...]:
    """The finished job: state, by whom, charged, possibly charged."""
    row = await world.pool.fetchrow(
        "SELECT state::text, answered_by, credits, possible FROM finished_jobs WHERE id = $1", job_id
    )
    assert row is not None
    return tuple(row)


def made(moment: datetime) -> UUID:
    """An id that was made at that *moment*."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) + next(_numbers))


async def waits(world: AtWork) -> float:
    """Seconds until the one open job is due."""
    seconds: float = await world.pool.fetchval("SELECT EXTRACT(epoch FROM due_at - now())::float8 FROM jobs")
    return seconds


# Leases


async def test_a_silent_submitters_question_waits_for_its_callback(world: AtWork) -> None:
    """The question may have been sent, and the token in its callback finds the job: it is not asked again."""
    row = await silent(world, callback_expected=True)

    assert await world.reconciler.rescue() == 1

    now = await job_of(world.pool, row["lookup_id"])
    assert now is not None
    assert (now["state"], now["attempt"], now["reserved"], now["request_id"]) == ("awaiting", 1, 3, None)
    assert 290 < await waits(world) <= 300
    assert await world.reconciler.rescue() == 0


async def test_without_callbacks_a_silent_submitters_question_is_unknown(world: AtWork) -> None:
    """Nobody will tell: perhaps charged, and the next provider's turn."""
    row = await lookup(world.pool, providers=["leadmagic", "nyne"])
    lost = await silent(world, provider="leadmagic", reserved=5, todo=["nyne"], lookup_id=row["id"])

    assert await world.reconciler.rescue() == 1

    assert await ended(world, lost["id"]) == ("unknown", None, 0, 5)
    now = await job_of(world.pool, row["id"])
    assert now is not None
    assert (now["provider"], now["verdict"], world.wakes) == ("nyne", "doubtful", 1)


async def test_who_is_still_at_work_is_left_alone(world: AtWork) -> None:
    """A lease that runs is respected, however old the question."""
    row = await silent(world, lease_expires_at=await ago(world, seconds=-5), submitted_at=await ago(world, days=1))

    assert await world.reconciler.rescue() == 0
    assert await status(world.pool, row["lookup_id"]) == "running"


@pytest.mark.parametrize(
    "since", ["lease_expires_at = now() + interval '1 s'", "attempt = 2", "state = 'awaiting', lease_expires_at = NULL"]
)
async def test_who_comes_back_at_the_last_moment_is_left_alone(world: AtWork, since: str) -> None:
    """Between the look at the expired leases and the rescue the lease was renewed, or the job went on."""
    row = await silent(world, callback_expected=True)
    await world.pool.execute(f"UPDATE jobs SET {since}")  # noqa: S608
    before = await job_of(world.pool, row["lookup_id"])

    assert not await sweep.wait_for_callback(world.pool, row["id"], 1, timedelta(seconds=300))

    assert await job_of(world.pool, row["lookup_id"]) == before


@pytest.mark.parametrize(("policy", "left"), [("next", 1), ("hold", 0)])
async def test_after_a_rescue_the_policy_decides(start: Start, policy: str, left: int) -> None:
    """UNKNOWN_POLICY holds for what a dead process left, too."""
    async with start(unknown_policy=policy) as world:
        row = await silent(world, todo=["leadmagic"])

        await world.reconciler.rescue()

        assert await jobs(world.pool) == left
        assert await status(world.pool, row["lookup_id"]) == ("running" if left else "unresolved")


# Deadlines


async def test_a_lost_202_ends_as_unknown_when_no_callback_came(world: AtWork) -> None:
    """After its graces nobody can tell any more; its raw answer is kept."""
    row = await overdue(world, request_id=None, raw="<html>", error="an answer nobody can read")

    assert await world.reconciler.give_up() == 1

    assert await ended(world, row["id"]) == ("unknown", None, 0, 3)
    told = await read(world.pool, row["lookup_id"])
    assert (told["status"], told["reason"]) == (
        "unresolved",
        "nyne: the answer to the question was lost, and no callback came",
    )
    assert await world.pool.fetchval("SELECT raw FROM finished_jobs") == "<html>"


async def test_a_late_callback_still_counts_after_that(world: AtWork) -> None:
    """The callback that came after all makes the lookup found, and settles the charge."""
    row = await overdue(world, request_id=None)
    await world.reconciler.give_up()

    recorded = await world.call_back(row["id"], Answered(MOBILE, request_id="req-1"))

    assert recorded.verdict == "late"
    assert await ended(world, row["id"]) == ("answered", "callback", 3, 0)
    assert await status(world.pool, row["lookup_id"]) == "found"


async def test_past_its_deadline_a_question_is_lost(world: AtWork) -> None:
    """After JOB_DEADLINE_HOURS nobody waits any longer; before, it is polled instead."""
    old = await overdue(world, submitted_at=await ago(world, hours=24.1))
    young = await overdue(world, submitted_at=await ago(world, hours=23.9))

    assert await world.reconciler.give_up() == 1

    assert await ended(world, old["id"]) == ("lost", None, 0, 3)
    assert await status(world.pool, old["lookup_id"]) == "unresolved"
    assert await status(world.pool, young["lookup_id"]) == "running"


async def test_a_question_whose_callback_may_still_come_is_left_alone(world: AtWork) -> None:
    """Before it is due, nobody gives up."""
    await overdue(world, request_id=None, due_at=await ago(world, seconds=-5))

    assert await world.reconciler.give_up() == 0


async def test_what_could_not_be_asked_for_weeks_fails(world: AtWork) -> None:
    """Not even a budget that nobody raises is waited for for ever."""
    old, young = await lookup(world.pool), await lookup(world.pool)
    for row, days in ((old, 36), (young, 34)):
        await job(world.pool, lookup_id=row["id"], held="budget", id=made(await ago(world, days=days)))

    assert await world.reconciler.end_stale() == 1

    told = await read(world.pool, old["id"])
    assert (told["status"], told["reason"]) == ("failed", "nyne: could not be asked for 35 days")
    assert await status(world.pool, young["id"]) == "held"


async def test_an_old_lookup_that_a_person_retries_is_not_stale(world: AtWork) -> None:
    """A retry is a new question, however old its lookup."""
    row = await lookup(world.pool, final_status="failed", created_at=await ago(world, days=100))
    await promote(world.pool, row["id"], POLICY, by_a_person=True)

    assert await world.reconciler.end_stale() == 0
    assert await status(world.pool, row["id"]) == "queued"


# Polls


async def test_a_poll_brings_the_answer(world: AtWork, fake: FakeProvider) -> None:
    """What no callback brought is fetched, paid and stored once."""
    row = await overdue(world)
    fake.polls.append(completed("req-1", MOBILE))

    assert await world.poller.poll_once() == 1

    assert await ended(world, row["id"]) == ("answered", "poll", 3, 0)
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
    """Each time twice as long, with a tenth left to chance, from the grace to thirty minutes."""
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

    assert await ended(world, row["id"]) == state
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


async def test_a_throttled_poll_rests_the_provider(world: AtWork, fake: FakeProvider) -> None:
    """Polls and questions count together."""
    await overdue(world)
    fake.polls.append(Reply(429, {"error": "rate_limit_exceeded"}, {"Retry-After": "9"}))

    await world.poller.poll_once()
    await job(world.pool)

    assert 7 < (await world.claim("nyne")).wait <= 9
    assert await world.poller.poll_once() == 0


async def test_the_headers_of_a_poll_count_as_well(world: AtWork, fake: FakeProvider) -> None:
    """What the vendor says of its limits is in force whichever request it says it to."""
    await world.pool.execute("UPDATE limits SET ceiling = NULL")
    await overdue(world)
    headers = {"RateLimit-Limit": "120", "RateLimit-Remaining": "0", "RateLimit-Reset": "9"}
    fake.polls.append(Reply(200, running().body, headers))

    await world.poller.poll_once()
    await job(world.pool)

    allowance = """SELECT allowance FROM limits WHERE provider = 'nyne' AND "window" = 60 AND purpose = 'any'"""
    assert await world.pool.fetchval(allowance) == 120
    assert 7 < (await world.claim("nyne")).wait <= 9


async def test_a_paused_account_is_still_asked_for_what_it_accepted(world: AtWork, fake: FakeProvider) -> None:
    """Out of credits, nothing new can be asked; what was paid for before is fetched all the same."""
    row = await overdue(world)
    await providers.pause(world.pool, "nyne", "out of credits", timedelta(seconds=5))
    fake.polls.append(completed("req-1", MOBILE))

    assert await world.poller.poll_once() == 1

    assert await status(world.pool, row["lookup_id"]) == "found"


async def test_a_poll_that_says_paused_pauses(world: AtWork, fake: FakeProvider) -> None:
    """A key that was revoked is noticed by polls, too."""
    await overdue(world)
    fake.polls.append(broke(401))

    await world.poller.poll_once()

    assert await world.pool.fetchval("SELECT paused_at IS NOT NULL FROM providers WHERE name = 'nyne'")


@pytest.mark.parametrize(
    ("waiting", "polled"), [(None, 3), ({}, 2), ({"attempt": 1, "tries": 1}, 2), ({"held": "budget"}, 3)]
)
async def test_polls_take_half_at_most_while_questions_wait(
    start: Start, waiting: dict[str, Any] | None, polled: int
) -> None:
    """At ten a second, a quarter of a second has three permits; two of them at half the rate."""
    async with start(nyne_per_minute=600) as world:
        for _ in range(9):
            await overdue(world)
        if waiting is not None:
            await job(world.pool, **waiting)

        assert await world.poller.poll_once() == polled


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
    assert await ended(world, row["id"]) == ("answered", "callback", 3, 0)


async def test_one_bad_poll_does_not_fail_the_others(world: AtWork, fake: FakeProvider) -> None:
    """Answers of one pass are stored although one of them came to nothing."""
    rows = [await overdue(world, request_id=f"req-{number}") for number in range(3)]
    fake.polls.extend([Reply(503), completed("req-1", None), completed("req-2", None)])

    assert await world.poller.poll_once() == 3

    assert await jobs(world.pool) == 1
    assert sorted([await status(world.pool, row["lookup_id"]) for row in rows]) == ["not_found", "not_found", "running"]


# Providers and budgets


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
    """Out of credits, held, topped up, resumed, asked again, found: without anybody's hand."""
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


async def test_a_raised_budget_releases_what_it_held(start: Start) -> None:
    """As many as can be paid go on; the rest is held for as long as it must be."""
    async with start(nyne_budget_credits_per_day=Decimal(0)) as world:
        for _ in range(3):
            await job(world.pool)
        await world.claim("nyne")
        assert await world.reconciler.look_after_providers() == 0
    async with start(nyne_budget_credits_per_day=Decimal(7)) as world:
        assert await world.reconciler.look_after_providers() == 2

        assert len((await world.ask("nyne")).jobs) == 2
        assert await world.reconciler.look_after_providers() == 0
        assert await world.pool.fetchval("SELECT count(*) FROM jobs WHERE held = 'budget'") == 1


async def test_the_next_day_has_a_budget_of_its_own(start: Start) -> None:
    """What was spent yesterday does not hold anybody today."""
    async with start(budget_credits_per_day=Decimal(3)) as world:
        await job(world.pool)
        await job(world.pool)
        await world.ask("nyne")
        await world.ask("nyne")
        assert await world.reconciler.look_after_providers() == 0

        await world.pool.execute("UPDATE usage SET day = day - 1")
        assert await world.reconciler.look_after_providers() == 1

        assert len((await world.ask("nyne")).jobs) == 1


# Followers


async def test_followers_of_a_dead_process_leader_are_settled(world: AtWork) -> None:
    """Whoever ended the leader died before looking after its followers."""
    leader, same, more = await take(
        world.pool, wish(work_email=EMAIL), wish(work_email=EMAIL), wish(work_email=EMAIL, personal_email="j@mail.co")
    )
    await end_job(world.pool, leader.id)

    await world.reconciler.settle_followers()

    assert await status(world.pool, same.id) == "not_found"
    assert await status(world.pool, more.id) == "queued"
    assert (await jobs(world.pool), world.wakes) == (1, 1)


# Loops


async def test_a_duty_is_done_again_at_once_after_a_full_batch() -> None:
    """Only when there was less than a batch does the loop rest."""
    found_so_far = [BATCH, BATCH, 3]
    stop = asyncio.Event()

    async def duty() -> int:
        count = found_so_far.pop(0)
        if not found_so_far:
            stop.set()
        return count

    async with asyncio.timeout(PATIENCE):
        await repeat(duty, 3600, stop)

    assert found_so_far == []


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError("away"), asyncpg.DeadlockDetectedError("deadlock"), ValueError("a mistake")]
)
async def test_a_duty_that_fails_is_done_again(error: Exception) -> None:
    """An outage, a deadlock, or a mistake of ours in one duty: the loop goes on, and so do the others."""
    stop = asyncio.Event()
    errors = [error]

    async def duty() -> int:
        if errors:
            raise errors.pop()
        stop.set()
        return 0

    async with asyncio.timeout(PATIENCE):
        await repeat(duty, 3600, stop)

    assert stop.is_set()


async def test_all_duties_are_done_until_the_end(world: AtWork, fake: FakeProvider) -> None:
    """As a process: the overdue is polled, the expired taken over, the forgotten follower settled; then it stops."""
    polled = await overdue(world)
    taken_over = await silent(world, callback_expected=False)
    fake.polls.append(completed("req-1", MOBILE))
    leader, follower = await take(world.pool, wish(work_email=EMAIL), wish(work_email=EMAIL))
    await end_job(world.pool, leader.id)
    stop = asyncio.Event()

    process = asyncio.create_task(work(world.process, stop))
    async with asyncio.timeout(PATIENCE):
        while [
            await status(world.pool, polled["lookup_id"]),
            await status(world.pool, taken_over["lookup_id"]),
            await status(world.pool, follower.id),
        ] != ["found", "unresolved", "not_found"]:
            await asyncio.sleep(0.005)
        stop.set()
        await process


async def test_what_is_over_is_not_swept(world: AtWork, fake: FakeProvider) -> None:
    """Finished rows are nobody's work."""
    for state in ("answered", "failed", "unknown", "lost"):
        await finished_job(world.pool, state, request_id="req-1")

    done = [
        await world.reconciler.rescue(),
        await world.reconciler.give_up(),
        await world.reconciler.end_stale(),
        await world.reconciler.look_after_providers(),
        await world.poller.poll_once(),
    ]

    assert done == [0] * 5
    assert fake.asked == []
