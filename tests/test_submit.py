"""The submitter against a provider that answers, refuses, hangs and breaks: what is stored, paid, and asked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr

from enrichment.outcome import Answered
from enrichment.store.claim import Claimed
from enrichment.tokens import is_genuine
from submitter.__main__ import work
from tests.at_work import NO_LIMITS, AtWork, at_work
from tests.conftest import _execute as execute
from tests.fake_provider import (
    FakeProvider,
    Reply,
    accepted,
    broke,
    completed,
    drop,
    found,
    hang,
    held,
    nothing,
    playing,
)
from tests.proxy import proxied
from tests.wishes import MOBILE, job_of, jobs, read, status, take_one

if TYPE_CHECKING:
    from tests.conftest import MakeSettings

    Pool: TypeAlias = asyncpg.Pool[Any]

PATIENCE = 10.0  # seconds, until a test is stuck
BOTH = ("leadmagic", "nyne")


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    """The provider's server."""
    async with playing() as server:
        yield server


Start: TypeAlias = Callable[..., Any]


@pytest.fixture
def start(fake: FakeProvider, make_settings: MakeSettings, database_url: str) -> Start:
    """Opens a process with settings of the test's own, on the database or a way to it."""

    @asynccontextmanager
    async def open_it(url: str = database_url, **overrides: Any) -> AsyncIterator[AtWork]:
        given = {"leadmagic_base_url": fake.url, "nyne_base_url": fake.url, **NO_LIMITS, **overrides}
        async with at_work(make_settings(database_url=url, **given), url) as working:
            yield working

    return open_it


@pytest.fixture
async def world(start: Start) -> AsyncIterator[AtWork]:
    """A process at work."""
    async with start() as working:
        yield working


async def wish_for(world: AtWork, *providers: str, **fields: Any) -> UUID:
    """A lookup that is to be asked of these."""
    given = fields or {"work_email": "jane@acme.co", "name": "Jane Doe", "company": "Acme"}
    return (await take_one(world.pool, providers=providers or ("leadmagic",), **given)).id


async def ended(world: AtWork, lookup_id: UUID) -> list[tuple[Any, ...]]:
    """The lookup's finished jobs, in order: provider, state, charged, possibly charged."""
    rows = await world.pool.fetch(
        "SELECT provider, state::text, credits, possible FROM finished_jobs WHERE lookup_id = $1 ORDER BY id", lookup_id
    )
    return [tuple(row) for row in rows]


async def waits(world: AtWork, lookup_id: UUID) -> float:
    """Seconds until the lookup's job is due."""
    seconds: float = await world.pool.fetchval(
        "SELECT EXTRACT(epoch FROM due_at - now())::float8 FROM jobs WHERE lookup_id = $1", lookup_id
    )
    return seconds


async def due_now(world: AtWork) -> None:
    """Everything queued is due, and no provider rests."""
    await world.pool.execute("UPDATE jobs SET due_at = now() WHERE state = 'queued'")
    await world.pool.execute("UPDATE providers SET rest_until = NULL, open_until = NULL")


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """*holds* has come true."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(0.005)


async def test_a_number_found_inline_is_stored_and_paid(world: AtWork, fake: FakeProvider) -> None:
    """LeadMagic's answer ends the lookup: the number in E.164, as it was written, and what it cost."""
    lookup_id = await wish_for(world, *BOTH, work_email="jane@acme.co", profile_url="linkedin.com/in/jane")
    fake.questions.append(found("+1-555-123-4567"))

    await world.ask("leadmagic")

    told = await read(world.pool, lookup_id)
    assert (told["status"], told["mobile"], told["mobile_raw"]) == ("found", MOBILE, "+1-555-123-4567")
    assert (told["provider"], told["credits"], told["reason"]) == ("leadmagic", 5, None)
    assert await ended(world, lookup_id) == [("leadmagic", "answered", 5, 0)]
    (asked,) = fake.paid
    assert asked.body == {"profile_url": "linkedin.com/in/jane", "work_email": "jane@acme.co"}
    assert asked.headers["x-api-key"] == "leadmagic-key"
    assert await jobs(world.pool) == 0


async def test_a_number_is_read_in_the_contacts_region(world: AtWork, fake: FakeProvider) -> None:
    """A national number belongs to the country that came with the contact."""
    lookup_id = await wish_for(world, work_email="jane@acme.co", region="GB")
    fake.questions.append(found("020 7946 0000"))

    await world.ask("leadmagic")

    told = await read(world.pool, lookup_id)
    assert (told["mobile"], told["region"]) == ("+442079460000", "GB")


@pytest.mark.parametrize("reply", [nothing(), found("call me"), Reply(400, {"error": "validation_error"})])
async def test_without_a_number_the_next_provider_is_asked(world: AtWork, fake: FakeProvider, reply: Reply) -> None:
    """No number, one that cannot be one, or a refusal: the next job is written in the same statement."""
    lookup_id = await wish_for(world, *BOTH)
    fake.questions.append(reply)

    await world.ask("leadmagic")

    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["provider"], now["state"], now["place"], now["todo"]) == ("nyne", "queued", 1, [])
    assert (await status(world.pool, lookup_id), world.wakes) == ("running", 1)


async def test_the_question_to_nyne_carries_a_genuine_callback_url(world: AtWork, fake: FakeProvider) -> None:
    """The token in the URL proves that it is ours and which job it is for; the 202 makes the job wait for it."""
    lookup_id = await wish_for(world, "nyne")
    fake.questions.append(accepted("req-7"))

    (claimed,) = (await world.ask("nyne")).jobs

    (asked,) = fake.paid
    assert (asked.headers["x-api-key"], asked.headers["x-api-secret"]) == ("nyne-key", "nyne-secret")
    assert (asked.body["name"], asked.body["company"], asked.body["email"]) == ("Jane Doe", "Acme", "jane@acme.co")
    start, provider, job_id, token = asked.body["callback_url"].rsplit("/", 3)
    assert (start, provider, job_id) == ("https://ringback.test/callbacks", "nyne", str(claimed.id))
    assert is_genuine(token, [SecretStr("key-of-the-tests")], "nyne", claimed.id)
    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["state"], now["request_id"], now["reserved"]) == ("awaiting", "req-7", 3)
    assert 55 < await waits(world, lookup_id) <= 60


async def test_without_a_public_url_nyne_is_polled_only(start: Start, fake: FakeProvider) -> None:
    """No callback_url is sent, and the first poll need not wait for a callback."""
    async with start(public_url=None) as world:
        lookup_id = await wish_for(world, "nyne")
        await world.ask("nyne")

        (asked,) = fake.paid
        assert "callback_url" not in asked.body
        assert 0 < await waits(world, lookup_id) <= 5


async def test_a_quick_answer_of_nyne_is_inline(world: AtWork, fake: FakeProvider) -> None:
    """A job that is completed before its POST is answered needs neither callback nor poll."""
    lookup_id = await wish_for(world, "nyne")
    fake.questions.append(completed("req-1", MOBILE))

    await world.ask("nyne")

    assert await status(world.pool, lookup_id) == "found"
    assert await world.pool.fetchval("SELECT answered_by FROM finished_jobs") == "inline"


async def test_a_callback_overtakes_its_202(world: AtWork, fake: FakeProvider) -> None:
    """Nyne calls back before it answers the POST: the lookup is found, and the 202 changes nothing."""
    lookup_id = await wish_for(world, "nyne")

    async def call_back_first(_: object) -> None:
        row = await job_of(world.pool, lookup_id)
        assert row is not None
        recorded = await world.call_back(row["id"], Answered(MOBILE, request_id="req-1"))
        assert recorded.verdict == "applied"

    fake.questions.append(Reply(202, {"request_id": "req-1", "status": "queued"}, before=call_back_first))

    await world.ask("nyne")

    assert await status(world.pool, lookup_id) == "found"
    assert await jobs(world.pool) == 0
    assert await world.pool.fetchval("SELECT check_at FROM finished_jobs") is None


@pytest.mark.parametrize("reply", [drop(), hang(), Reply(504, b"<html>")], ids=["drop", "hang", "504"])
async def test_an_outcome_nobody_can_tell_is_unknown_and_never_asked_again(
    start: Start, fake: FakeProvider, reply: Reply
) -> None:
    """The question was read, and no answer came: perhaps charged, and by itself never asked again."""
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

    (claimed,) = (await world.ask("nyne")).jobs

    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["state"], now["request_id"]) == ("awaiting", None)
    assert now["raw"] == (None if reply.drops else reply.body.decode())
    assert 290 < await waits(world, lookup_id) <= 300
    recorded = await world.call_back(claimed.id, Answered(MOBILE, request_id="req-1"))
    assert recorded.verdict == "applied"
    assert await status(world.pool, lookup_id) == "found"


async def test_without_callbacks_a_lost_202_is_unknown(start: Start, fake: FakeProvider) -> None:
    """Nobody would ever tell: it is unknown at once."""
    async with start(public_url=None) as world:
        lookup_id = await wish_for(world, "nyne")
        fake.questions.append(drop())

        await world.ask("nyne")

        assert await ended(world, lookup_id) == [("nyne", "unknown", 0, 3)]


async def test_a_success_nobody_can_read_is_kept_for_a_person(world: AtWork, fake: FakeProvider) -> None:
    """Nobody can tell what came of it, perhaps a charge; and the body is there to be read."""
    lookup_id = await wish_for(world)
    fake.questions.append(Reply(200, b'["\xff", "surprise"]\0'))

    await world.ask("leadmagic")

    assert await ended(world, lookup_id) == [("leadmagic", "unknown", 0, 5)]
    assert await status(world.pool, lookup_id) == "unresolved"
    assert "surprise" in await world.pool.fetchval("SELECT raw FROM finished_jobs")


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
    """A connection that never came about is asked for again, and costs nothing."""
    async with start(leadmagic_base_url="http://127.0.0.1:1") as world:
        lookup_id = await wish_for(world)

        await world.ask("leadmagic")

        now = await job_of(world.pool, lookup_id)
        assert now is not None
        assert (now["state"], now["tries"], now["reserved"]) == ("queued", 1, 0)
        assert now["error"].startswith("no connection")


async def test_a_429_rests_the_provider_and_costs_no_attempt(start: Start, fake: FakeProvider) -> None:
    """However often: the question is not at fault."""
    async with start(max_attempts=1) as world:
        lookup_id = await wish_for(world)
        fake.questions.append(Reply(429, {"error": "rate_limit_exceeded"}, {"Retry-After": "7"}))

        for _ in range(3):
            await world.ask("leadmagic")
            resting = await world.ask("leadmagic")
            assert (resting.jobs, 5 < resting.wait <= 7) == ((), True)
            assert 5 < await waits(world, lookup_id) <= 7
            await due_now(world)

        now = await job_of(world.pool, lookup_id)
        assert now is not None
        assert (now["state"], now["tries"], now["attempt"], len(fake.paid)) == ("queued", 0, 3, 3)


async def test_out_of_credits_the_turn_passes(world: AtWork, fake: FakeProvider) -> None:
    """A 402 pauses the provider for everybody; whoever else can be asked is, and it comes last."""
    lookup_id = await wish_for(world, *BOTH)
    fake.questions.append(broke(402))

    await world.ask("leadmagic")
    assert (await world.ask("leadmagic")).paused

    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["provider"], now["todo"], now["held"], now["tries"]) == ("nyne", ["leadmagic"], None, 0)
    row = await world.pool.fetchrow("SELECT * FROM providers WHERE name = 'leadmagic'")
    assert row is not None
    assert "insufficient_credits" in row["paused_reason"]


async def test_with_nobody_else_it_is_held(world: AtWork, fake: FakeProvider) -> None:
    """It waits for the provider, and is not asked in vain."""
    lookup_id = await wish_for(world)
    fake.questions.append(broke(401))

    await world.ask("leadmagic")
    await world.ask("leadmagic")
    await world.ask("leadmagic")

    assert await status(world.pool, lookup_id) == "held"
    assert len(fake.paid) == 1


async def test_the_chain_skips_a_paused_provider(world: AtWork, fake: FakeProvider) -> None:
    """When the next one is paused its job is held, and says so, in the same statement."""
    await world.pool.execute(
        "UPDATE providers SET paused_at = now(), paused_reason = 'no credits', check_at = now() WHERE name = 'nyne'"
    )
    lookup_id = await wish_for(world, *BOTH)

    await world.ask("leadmagic")

    assert await status(world.pool, lookup_id) == "held"


async def test_a_storm_of_failures_stops_everybody(world: AtWork, fake: FakeProvider) -> None:
    """Twelve failures at once open the breaker for a second; then one question is let through; its answer closes it."""
    for number in range(12):
        await wish_for(world, work_email=f"{number}@acme.co")
    storm = held(Reply(503))
    fake.questions.append(storm)
    asking = asyncio.create_task(world.ask("leadmagic"))
    await fake.arrive(12)
    assert storm.release
    storm.release.set()
    await asking
    assert (await world.ask("leadmagic")).wait > 0
    row = await world.pool.fetchrow("SELECT trips, open_until <= now() + interval '1 s' FROM providers WHERE trips > 0")
    assert row is not None
    assert tuple(row) == (1, True)

    fake.questions.clear()
    await due_now(world)
    (probe,) = (await world.ask("leadmagic")).jobs
    rest = await world.ask("leadmagic")

    assert (probe.is_probe, len(rest.jobs)) == (True, 11)
    assert await jobs(world.pool) == 0


async def test_a_refusal_closes_the_breaker_as_well(world: AtWork, fake: FakeProvider) -> None:
    """A provider that refuses one question is there for the others."""
    await world.pool.execute("UPDATE providers SET failures = 10, trips = 1 WHERE name = 'leadmagic'")
    for number in range(3):
        await wish_for(world, work_email=f"{number}@acme.co")
    fake.questions.extend([Reply(400, {"error": "validation_error"}), nothing()])

    await world.ask("leadmagic")

    assert len((await world.ask("leadmagic")).jobs) == 2


async def test_headers_correct_the_limits(world: AtWork, fake: FakeProvider) -> None:
    """The vendor's word about its minute holds for all processes; an empty window is waited for."""
    await world.pool.execute("UPDATE limits SET ceiling = NULL")
    await wish_for(world)
    headers = {"RateLimit-Limit": "1200", "RateLimit-Remaining": "0", "RateLimit-Reset": "9"}
    fake.questions.append(Reply(200, nothing().body, headers))

    await world.ask("leadmagic")

    allowance = """SELECT allowance FROM limits WHERE provider = 'leadmagic' AND "window" = 60 AND purpose = 'any'"""
    assert await world.pool.fetchval(allowance) == 1200
    assert 7 < (await world.ask("leadmagic")).wait <= 9


async def test_a_process_that_was_frozen_does_not_send(world: AtWork, fake: FakeProvider) -> None:
    """When its lease ran out before the question was sent, nothing leaves, and nothing is owed."""
    lookup_id = await wish_for(world)
    await world.claim("leadmagic")
    for held_one in world.submitters["leadmagic"]._in_flight.values():
        held_one.lease_until = 0.0

    await world.settle()

    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["state"], now["tries"], now["reserved"], fake.paid) == ("queued", 0, 0, [])


async def test_no_more_than_the_concurrency_is_in_flight(start: Start, fake: FakeProvider) -> None:
    """A slow provider has as many questions as it may have, and not one more."""
    async with start(provider_concurrency=3) as world:
        for number in range(5):
            await wish_for(world, work_email=f"{number}@acme.co")
        slow = held(nothing())
        fake.questions.append(slow)

        first = await world.claim("leadmagic")
        await fake.arrive(3)
        second = await world.claim("leadmagic")

        assert (len(first.jobs), len(second.jobs)) == (3, 0)
        assert slow.release
        slow.release.set()
        await world.settle()
        assert len((await world.ask("leadmagic")).jobs) == 2


async def test_leases_run_on_while_calls_do(start: Start, fake: FakeProvider) -> None:
    """A provider that takes longer than a lease loses nobody's job."""
    async with start(lease_seconds=1) as world:
        lookup_id = await wish_for(world)
        slow = held(found())
        fake.questions.append(slow)
        stop = asyncio.Event()
        running = asyncio.create_task(world.submitters["leadmagic"].run(stop))
        await fake.arrive(1)
        (row,) = await world.pool.fetch("SELECT submitted_at, lease_expires_at FROM jobs")

        async def renewed() -> bool:
            later: bool = await world.pool.fetchval(
                "SELECT lease_expires_at > $1::timestamptz + interval '0.5 s' FROM jobs", row["lease_expires_at"]
            )
            return later

        await until(renewed)
        assert await world.reconciler.rescue() == 0
        assert slow.release
        slow.release.set()
        stop.set()
        await running
        assert await status(world.pool, lookup_id) == "found"


async def test_a_renewal_that_fails_is_made_up_for(start: Start, fake: FakeProvider, database_url: str) -> None:
    """While the database is away leases cannot be renewed; when it is back they are, by the same process."""
    async with proxied(database_url) as proxy, start(proxy.url, lease_seconds=1) as world:
        lookup_id = await wish_for(world)
        slow = held(found())
        fake.questions.append(slow)
        stop = asyncio.Event()
        running = asyncio.create_task(world.submitters["leadmagic"].run(stop))
        await fake.arrive(1)
        proxy.cut()
        await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
        proxy.mend()
        before = await world.pool.fetchval("SELECT now()")

        async def renewed() -> bool:
            later: bool = await world.pool.fetchval(
                "SELECT lease_expires_at > $1::timestamptz + interval '1 s' FROM jobs", before
            )
            return later

        await until(renewed)
        assert slow.release
        slow.release.set()
        stop.set()
        await running
        assert await status(world.pool, lookup_id) == "found"


async def test_sigterm_drains(world: AtWork, fake: FakeProvider) -> None:
    """What is in flight is finished and stored; nothing new is claimed."""
    first = await wish_for(world, work_email="1@acme.co")
    slow = held(found())
    fake.questions.append(slow)
    stop = asyncio.Event()
    running = asyncio.create_task(work(world.process, stop))
    await fake.arrive(1)

    stop.set()
    second = await wish_for(world, work_email="2@acme.co")
    assert slow.release
    slow.release.set()
    async with asyncio.timeout(PATIENCE):
        await running

    assert await status(world.pool, first) == "found"
    assert await status(world.pool, second) == "queued"
    assert len(fake.paid) == 1


async def test_a_full_submitter_that_is_stopped_claims_nothing_more(start: Start, fake: FakeProvider) -> None:
    """Not even a slot that is free already, while it waits for more of them, is filled."""
    async with start(provider_concurrency=8) as world:
        for number in range(9):
            await wish_for(world, work_email=f"{number}@acme.co")
        first, others = held(found()), held(found())
        fake.questions.extend([first, others])
        stop = asyncio.Event()
        running = asyncio.create_task(world.submitters["leadmagic"].run(stop))
        await fake.arrive(8)
        assert first.release
        assert others.release
        first.release.set()
        await until(lambda: eight_are_left(world))

        stop.set()
        others.release.set()
        async with asyncio.timeout(PATIENCE):
            await running

        assert len(fake.paid) == 8
        assert await jobs(world.pool) == 1


async def eight_are_left(world: AtWork) -> bool:
    """One of nine questions is over."""
    return await jobs(world.pool) == 8


async def test_a_new_event_is_asked_about_at_once(world: AtWork, fake: FakeProvider) -> None:
    """A wake-up reaches a submitter that has nothing to do, and it asks within moments."""
    stop = asyncio.Event()
    running = asyncio.create_task(work(world.process, stop))
    await until(lambda: listening(world))

    await wish_for(world)
    await world.pool.execute("SELECT pg_notify('ringback_jobs', '')")
    await fake.arrive(1)

    stop.set()
    async with asyncio.timeout(PATIENCE):
        await running
    assert await jobs(world.pool) == 0


async def listening(world: AtWork) -> bool:
    """The submitter's listener is connected."""
    told: bool = await world.pool.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%' "
        "AND application_name = 'ringback submitter listener')"
    )
    return told


async def outcome_of(world: AtWork, lookup_id: UUID) -> str:
    """Everything on its way is written; the lookup's status."""
    async with asyncio.timeout(PATIENCE):
        await world.settle()
    return await status(world.pool, lookup_id)


@pytest.mark.parametrize("provider", BOTH)
async def test_an_outcome_survives_an_outage(
    start: Start, fake: FakeProvider, database_url: str, provider: str
) -> None:
    """The database goes away while the provider answers: the answer is kept, and written when it is back."""
    async with proxied(database_url) as proxy, start(proxy.url) as world:
        lookup_id = await wish_for(world, provider)
        slow = held(found() if provider == "leadmagic" else accepted("req-1"))
        fake.questions.append(slow)
        await world.claim(provider)
        await fake.arrive(1)

        proxy.cut()
        assert slow.release
        slow.release.set()
        await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
        proxy.mend()

        assert await outcome_of(world, lookup_id) == ("found" if provider == "leadmagic" else "running")
        assert await world.pool.fetchval("SELECT request_id FROM jobs") == ("req-1" if provider == "nyne" else None)
        assert len(fake.paid) == 1


async def test_an_outcome_survives_a_database_that_is_closed(
    start: Start, fake: FakeProvider, database_url: str, server_url: str
) -> None:
    """Not only a dead network: while nobody may connect, the answer is kept as well."""
    name = urlsplit(database_url).path.strip("/")
    sessions = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
    async with proxied(database_url) as proxy, start(proxy.url) as world:
        lookup_id = await wish_for(world)
        slow = held(found())
        fake.questions.append(slow)
        await world.claim("leadmagic")
        await fake.arrive(1)

        await execute(server_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", sessions)
        proxy.knocked.clear()
        assert slow.release
        slow.release.set()
        await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
        await execute(server_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

        assert await outcome_of(world, lookup_id) == "found"


async def test_an_outcome_is_written_once_whatever_the_answer_to_the_commit(
    start: Start, fake: FakeProvider, database_url: str
) -> None:
    """The same outcome written twice, because nobody heard of the first commit, is one outcome."""
    async with start() as world:
        lookup_id = await wish_for(world, *BOTH)
        fake.questions.append(nothing())
        (claimed,) = (await world.ask("leadmagic")).jobs

        await told_again(world, claimed)

        assert await ended(world, lookup_id) == [("leadmagic", "answered", 0, 0)]
        assert await jobs(world.pool) == 1


async def told_again(world: AtWork, claimed: Claimed) -> None:
    """The writer writes an answer that it has written before."""
    from submitter.outcomes import Told

    leadmagic = world.process.providers["leadmagic"]
    await world.writer.write([Told(leadmagic, claimed, Answered(None, Decimal(0)))])


async def test_what_cannot_be_written_before_the_end_of_a_drain_is_rescued(
    start: Start, fake: FakeProvider, database_url: str
) -> None:
    """A process that has to go while the database is away leaves its lease: the outcome is unknown, not forgotten."""
    async with start() as other:
        async with proxied(database_url) as proxy, start(proxy.url) as world:
            lookup_id = await wish_for(world)
            slow = held(found())
            fake.questions.append(slow)
            await world.claim("leadmagic")
            await fake.arrive(1)
            proxy.cut()
            assert slow.release
            slow.release.set()
            await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
            world.writer.giving_up.set()
            async with asyncio.timeout(PATIENCE):
                await world.settle()
        assert await status(other.pool, lookup_id) == "running"
        await other.pool.execute("UPDATE jobs SET lease_expires_at = now() - $1::interval", timedelta(seconds=1))

        assert await other.reconciler.rescue() == 1

        assert await ended(other, lookup_id) == [("leadmagic", "unknown", 0, 5)]


async def test_a_submitter_outlives_an_outage(start: Start, fake: FakeProvider, database_url: str) -> None:
    """While the database is away it waits; when it is back it goes on without a restart."""
    async with proxied(database_url) as proxy, start(proxy.url) as world:
        stop = asyncio.Event()
        running = asyncio.create_task(world.submitters["leadmagic"].run(stop))
        proxy.cut()
        await asyncio.wait_for(proxy.knocked.wait(), PATIENCE)
        proxy.mend()
        lookup_id = await wish_for(world)
        await fake.arrive(1)
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await running

        assert await status(world.pool, lookup_id) == "not_found"


async def test_every_wait_for_the_database_is_bounded() -> None:
    """Connecting, waiting for a connection and each statement have a deadline, on our side and on the server's."""
    from enrichment import database

    assert database.CONNECT_TIMEOUT <= 10
    assert database.ACQUIRE_TIMEOUT <= 10
    assert database.COMMAND_TIMEOUT <= 30
    assert {
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
    } <= database.SERVER_SETTINGS.keys()


async def test_the_next_attempt_may_start_before_the_last_one_has_left(world: AtWork, fake: FakeProvider) -> None:
    """Two attempts of one job in one process do not mix up their leases, and both leave (a KeyError under chaos)."""
    await wish_for(world)
    first, second = held(nothing()), held(nothing())
    fake.questions.extend([first, second])
    await world.claim("leadmagic")
    await fake.arrive(1)
    await world.pool.execute(
        "UPDATE jobs SET state = 'queued', lease_expires_at = NULL, reserved = 0, reserved_on = NULL"
    )
    await world.claim("leadmagic")
    await fake.arrive(2)
    tasks = set(world.submitters["leadmagic"]._tasks)

    for reply in (first, second):
        assert reply.release is not None
        reply.release.set()
    await world.settle()

    assert [task.exception() for task in tasks] == [None, None]
    assert world.submitters["leadmagic"]._in_flight == {}
