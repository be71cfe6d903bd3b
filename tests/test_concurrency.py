"""Races, with real connections and an explicit order: whoever is first wins, and the other one knows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from uuid import UUID

import asyncpg
import pytest

from enrichment.database import UNREACHABLE, connect
from enrichment.outcome import Accepted, Answered, Retry, Unreadable
from enrichment.store import followers
from enrichment.store.asked import Acceptance, accept, renew
from enrichment.store.by_hand import cancel
from enrichment.store.callbacks import Callback, record_callbacks
from enrichment.store.claim import Claimed, claim
from enrichment.store.finish import Ending, finish, settle_late
from enrichment.store.keys import lock_leaders
from submitter.finishing import end_jobs
from submitter.outcomes import NotAsked, Told
from tests.at_work import NO_LIMITS, AtWork, at_work, callback
from tests.factories import finished_job, job, lookup
from tests.fake_provider import FakeProvider, completed, playing, running
from tests.wishes import MOBILE, POLICY, end, job_of, jobs, read, status, take, take_one, wish

if TYPE_CHECKING:
    from tests.conftest import MakeSettings

    Pool: TypeAlias = asyncpg.Pool[Any]
    Connection: TypeAlias = asyncpg.Connection[Any]

Result = TypeVar("Result")

EMAIL = "jane@acme.co"
OTHER_MOBILE = "+442079460000"
PATIENCE = 10.0  # seconds, until a test is stuck


class Order:
    """Lets one thing begin, and another wait for it."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def first(self) -> AsyncIterator[Connection]:
        """A transaction of whoever is first; it commits at the end of the block."""
        connection = await connect(self._url, name="first")
        try:
            async with connection.transaction():
                yield connection
        finally:
            await connection.close()

    async def waiting(self, awaitable: Awaitable[Result], at_least: int = 1) -> asyncio.Task[Result]:
        """*awaitable* has begun, and so many sessions wait for a lock now."""
        task = asyncio.ensure_future(awaitable)
        watcher = await connect(self._url, name="watcher")
        async with asyncio.timeout(PATIENCE):
            while not task.done():
                waiting = await watcher.fetchval(
                    """
                    SELECT count(*)
                      FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'
                    """
                )
                if waiting >= at_least:
                    break
        await watcher.close()
        assert not task.done(), "it did not wait"
        return task


@pytest.fixture
def order(database_url: str) -> Order:
    """Whoever must wait does."""
    return Order(database_url)


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    """The provider's server."""
    async with playing() as server:
        yield server


@pytest.fixture
async def world(fake: FakeProvider, make_settings: MakeSettings, database_url: str) -> AsyncIterator[AtWork]:
    """A process at work."""
    settings = make_settings(database_url=database_url, nyne_base_url=fake.url, **NO_LIMITS)
    async with at_work(settings, database_url) as working:
        yield working


def answer(job_id: UUID, by: str, mobile: str | None = MOBILE, **more: Any) -> Ending:
    """The job is answered."""
    return Ending(job_id=job_id, state="answered", answered_by=by, mobile=mobile, charged=Decimal(3), **more)


async def lease_expires(world: AtWork, claimed: Claimed) -> None:
    """The job's submitter has been silent for too long."""
    await world.pool.execute("UPDATE jobs SET lease_expires_at = now() - interval '1 s' WHERE id = $1", claimed.id)


async def claimed_of(world: AtWork, provider: str = "nyne", *, callback_expected: bool = True) -> Claimed:
    """A job that was just claimed."""
    row = await lookup(world.pool, providers=[provider])
    await job(world.pool, provider=provider, lookup_id=row["id"])
    result = await claim(
        world.pool, provider, most=1, price=Decimal(3), lease=timedelta(seconds=20),
        callback_expected=callback_expected,
    )  # fmt: skip
    (claimed,) = result.jobs
    return claimed


async def tell(world: AtWork, claimed: Claimed, outcome: Any, *, callback_expected: bool = True) -> None:
    """The submitter of *claimed* writes what it heard."""
    nyne = world.process.providers["nyne"]
    await world.writer.write([Told(nyne, claimed, outcome, b"", callback_expected=callback_expected)])


async def test_two_claimers_take_disjoint_jobs(world: AtWork, order: Order) -> None:
    """Two submitters that claim at the same instant share the work, and no question is asked twice."""
    for _ in range(10):
        await job(world.pool)
    async with order.first() as first:
        await first.execute("SELECT FROM limits WHERE provider = 'nyne' FOR UPDATE")
        one = await order.waiting(world.claim("nyne"))
        two = await order.waiting(
            claim(
                world.pool, "nyne", most=4, price=Decimal(3), lease=timedelta(seconds=20), callback_expected=True
            ),
            at_least=2,
        )  # fmt: skip

    taken = [{claimed.id for claimed in (await task).jobs} for task in (one, two)]

    assert len(taken[0]) + len(taken[1]) == 10
    assert not taken[0] & taken[1]
    await world.settle()


async def test_a_claimer_takes_the_next_one_instead_of_waiting(world: AtWork, order: Order) -> None:
    """A job that somebody else is at is passed over."""
    busy, free = await job(world.pool), await job(world.pool)
    async with order.first() as first:
        await first.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", busy["id"])

        async with asyncio.timeout(PATIENCE):
            result = await claim(
                world.pool, "nyne", most=10, price=Decimal(3), lease=timedelta(seconds=20), callback_expected=True
            )

    assert [claimed.id for claimed in result.jobs] == [free["id"]]


@pytest.mark.parametrize("winner", ["callback", "poll"])
async def test_callback_and_poll_race_and_one_result_stays(world: AtWork, order: Order, winner: str) -> None:
    """Whoever finishes the job first has won; the other finds nothing and changes nothing."""
    row = await job(world.pool, "awaiting", request_id="req-1")
    loser = "poll" if winner == "callback" else "callback"
    async with order.first() as first:
        assert await finish(first, [answer(row["id"], winner, request_id="req-1")])
        late = await order.waiting(end_jobs(world.pool, [answer(row["id"], loser, OTHER_MOBILE)], POLICY, world.wake))

    await late

    told = await read(world.pool, row["lookup_id"])
    assert (told["status"], told["mobile"], told["credits"]) == ("found", MOBILE, 3)
    finished = await world.pool.fetch("SELECT answered_by, credits FROM finished_jobs")
    assert [tuple(one) for one in finished] == [(winner, 3)]
    assert await world.pool.fetchval("SELECT count(*) FROM ledger") == 1


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
        assert await finish(first, [answer(claimed.id, "callback", request_id="req-1")])
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
    nyne, settings = world.process.providers["nyne"], world.process.settings
    outcomes = [Answered(mobile, request_id=f"req-{n}") for mobile, n in ((OTHER_MOBILE, 2), (MOBILE, 1), (None, 1))]

    recorded = await record_callbacks(
        world.pool,
        [callback(nyne, settings, row["id"], said, str(said.request_id).encode()) for said in outcomes],
    )

    assert [one.verdict for one in recorded] == ["flagged", "applied", "ignored"]
    assert (await read(world.pool, row["lookup_id"]))["mobile"] == MOBILE


async def test_a_callback_nobody_can_read_ends_nothing(world: AtWork) -> None:
    """Whatever its reader would make of it: it is kept and flagged, and the job is polled."""
    row = await job(world.pool, "awaiting", request_id="req-1")
    odd = Callback(
        "nyne", row["id"], b"?", Unreadable("odd"), lambda _: Ending(job_id=row["id"], state="failed", error="odd")
    )

    (recorded,) = await record_callbacks(world.pool, [odd])

    assert recorded.verdict == "flagged"
    assert await world.pool.fetchval("SELECT due_at <= now() FROM jobs")


async def test_a_slow_submitters_retry_does_not_ask_again(world: AtWork) -> None:
    """Its lease ran out and the job waits for its callback: what it heard too late does not queue the question."""
    claimed = await claimed_of(world)
    await lease_expires(world, claimed)
    assert await world.reconciler.rescue() == 1

    await tell(world, claimed, Retry("HTTP 503"))
    await tell(world, claimed, NotAsked("frozen"))

    now = await job_of(world.pool, claimed.lookup_id)
    assert now is not None
    assert (now["state"], now["attempt"], now["tries"], now["reserved"]) == ("awaiting", 1, 0, 3)


async def test_a_slow_submitters_202_is_good(world: AtWork) -> None:
    """Nobody else can have asked: the job that was taken over learns its request_id, and can be polled."""
    claimed = await claimed_of(world)
    await lease_expires(world, claimed)
    await world.reconciler.rescue()

    await tell(world, claimed, Accepted("req-1"))

    now = await job_of(world.pool, claimed.lookup_id)
    assert now is not None
    assert (now["state"], now["request_id"]) == ("awaiting", "req-1")


async def test_a_slow_submitters_answer_counts(world: AtWork) -> None:
    """The job was given up as unknown; the answer that was paid for makes its lookup found."""
    claimed = await claimed_of(world, callback_expected=False)
    await lease_expires(world, claimed)
    await world.reconciler.rescue()
    assert await status(world.pool, claimed.lookup_id) == "unresolved"

    await tell(world, claimed, Answered(MOBILE), callback_expected=False)

    told = await read(world.pool, claimed.lookup_id)
    assert (told["status"], told["mobile"], told["credits"]) == ("found", MOBILE, 3)


async def test_a_slow_submitters_202_is_polled_even_after_it_was_given_up(world: AtWork, fake: FakeProvider) -> None:
    """Without a callback the job was unknown; now that its request_id is known, its answer is fetched."""
    claimed = await claimed_of(world, callback_expected=False)
    await lease_expires(world, claimed)
    await world.reconciler.rescue()
    fake.polls.append(completed("req-1", MOBILE))

    await tell(world, claimed, Accepted("req-1"), callback_expected=False)
    assert await world.poller.poll_once() == 1

    told = await read(world.pool, claimed.lookup_id)
    assert (told["status"], told["credits"]) == ("found", 3)


async def test_an_older_attempt_changes_nothing(world: AtWork) -> None:
    """The fence: what a zombie heard about attempt 1 does not touch attempt 2."""
    zombie = await claimed_of(world)
    await tell(world, zombie, Retry("HTTP 503", after=0.0))
    await world.pool.execute("UPDATE jobs SET due_at = now()")
    (again,) = (
        await claim(
            world.pool, "nyne", most=1, price=Decimal(3), lease=timedelta(seconds=20), callback_expected=True
        )
    ).jobs  # fmt: skip
    assert (again.id, again.attempt) == (zombie.id, 2)
    before = await job_of(world.pool, zombie.lookup_id)

    await tell(world, zombie, Retry("HTTP 503"))
    await tell(world, zombie, Accepted("req-old"))
    assert await renew(world.pool, [(zombie.id, zombie.attempt)], timedelta(hours=1)) == set()

    assert await job_of(world.pool, zombie.lookup_id) == before


async def test_a_submitter_that_woke_up_wins_or_loses_as_a_whole(world: AtWork, order: Order) -> None:
    """The rescue and the slow submitter at the same instant: the rescue commits first, and the retry is fenced."""
    claimed = await claimed_of(world)
    await lease_expires(world, claimed)
    async with order.first() as first:
        await first.execute("UPDATE jobs SET state = 'awaiting', lease_expires_at = NULL WHERE id = $1", claimed.id)
        task = await order.waiting(tell(world, claimed, Retry("HTTP 503")))

    await task

    assert await world.pool.fetchval("SELECT state::text FROM jobs") == "awaiting"
    assert await world.pool.fetchval("SELECT sum(reserved) FROM usage") == 3


async def test_a_renewal_does_not_wait_for_whoever_ends_the_job(world: AtWork, order: Order) -> None:
    """A lease whose job is being finished needs no renewal; the others are not held up by it, nor deadlocked."""
    ending, running_on = await claimed_of(world), await claimed_of(world)
    async with order.first() as first:
        assert await finish(first, [answer(ending.id, "callback")])

        async with asyncio.timeout(PATIENCE):
            ours = await renew(world.pool, [(one.id, 1) for one in (running_on, ending)], timedelta(minutes=1))

    assert ours == {running_on.id}


async def test_a_follower_that_comes_while_its_leader_ends(pool: Pool, order: Order) -> None:
    """The leader's end commits first: the next event waits for it, and takes the answer."""
    leader = await take_one(pool, work_email=EMAIL)
    row = await job_of(pool, leader.id)
    assert row is not None
    async with order.first() as first:
        (ended,) = (await finish(first, [answer(row["id"], "inline")])).values()
        task = await order.waiting(take_one(pool, work_email=EMAIL))

    follower = await task

    assert not ended.has_followers
    assert follower.status == "found"
    assert (await read(pool, follower.id))["mobile"] == MOBILE
    assert await jobs(pool) == 0


async def test_a_leader_that_ends_while_its_follower_comes(pool: Pool, order: Order) -> None:
    """The follower commits first: whoever ends the leader waits for it, and knows that there is one."""
    leader = await take_one(pool, work_email=EMAIL)
    row = await job_of(pool, leader.id)
    assert row is not None
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        coming = await order.waiting(take_one(pool, work_email=EMAIL))
        ending = await order.waiting(finish(pool, [answer(row["id"], "inline")]), at_least=2)

    follower, (ended,) = await coming, (await ending).values()

    assert ended.has_followers
    assert follower.status == "queued"
    await followers.release_followers(pool, [leader.id], POLICY)
    assert await status(pool, follower.id) == "found"


async def test_one_person_in_two_processes_at_the_same_instant(pool: Pool, order: Order) -> None:
    """Two events that name the same person differently, in two transactions: one leads, the other follows."""
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        one = await order.waiting(take_one(pool, profile_url="linkedin.com/in/jane", work_email=EMAIL))
        two = await order.waiting(take_one(pool, work_email=EMAIL, personal_email="jane@mail.co"), at_least=2)

    leader, follower = await one, await two

    told = await read(pool, follower.id)
    assert (told["reused_from"], told["brings_more"]) == (leader.id, True)
    assert await jobs(pool) == 1


async def test_the_same_event_in_two_processes_at_the_same_instant(pool: Pool, order: Order) -> None:
    """The second waits for the first, and is its duplicate."""
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        one = await order.waiting(take_one(pool, "evt-1", work_email=EMAIL))
        two = await order.waiting(take_one(pool, "evt-1", work_email=EMAIL), at_least=2)

    leader, again = await one, await two

    assert (again.id, again.duplicate, leader.duplicate) == (leader.id, True, False)
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 1


async def test_when_the_first_process_fails_the_second_leads(pool: Pool, order: Order) -> None:
    """An event whose transaction is undone has claimed nothing: whoever waited for it asks."""
    async with order.first() as first:
        await first.execute("LOCK TABLE events IN SHARE MODE")
        one = await order.waiting(take_one(pool, work_email=EMAIL))
        two = await order.waiting(take_one(pool, work_email=EMAIL), at_least=2)
        await first.execute(
            """
            SELECT pg_terminate_backend(pid)
              FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO events%'
            """
        )
        with pytest.raises(UNREACHABLE):
            await one

    survivor = await two

    assert (await read(pool, survivor.id))["reused_from"] is None
    assert await jobs(pool) == 1


async def test_batches_in_opposite_order_do_not_deadlock(pool: Pool) -> None:
    """Keys are locked in one order, whatever the order of the events."""
    people = [f"{number}@acme.co" for number in range(30)]

    for turn in range(4):
        await asyncio.gather(
            *(
                take(pool, *(wish(work_email=email) for email in (people if side else reversed(people))))
                for side in (turn % 2, (turn + 1) % 2, 1, 0)
            )
        )

    assert await jobs(pool) == len(people)


@pytest.mark.parametrize("promoted_first", [True, False])
async def test_cancelling_a_follower_that_takes_its_turn(pool: Pool, order: Order, promoted_first: bool) -> None:
    """Whichever comes first, a cancelled lookup asks nobody."""
    leader, follower = await take(pool, wish(work_email=EMAIL), wish(work_email=EMAIL))
    await cancel(pool, leader.id)
    async with order.first() as first:
        if promoted_first:
            await lock_leaders(first, [follower.id])
            await followers._lead(first, follower.id)
            late: Callable[[], Awaitable[object]] = lambda: cancel(pool, follower.id)  # noqa: E731
        else:
            await cancel(first, follower.id)
            late = lambda: followers.promote(pool, follower.id, POLICY)  # noqa: E731
        task = await order.waiting(late())

    await task

    assert await status(pool, follower.id) == "cancelled"
    assert await jobs(pool) == 0


async def test_cancelling_what_is_just_being_claimed(world: AtWork, order: Order) -> None:
    """The claim commits first: the question is on its way, and its lookup is not cancelled."""
    row = await job(world.pool)
    async with order.first() as first:
        await first.execute(
            """
            UPDATE jobs
               SET state = 'submitting', attempt = 1, submitted_at = now(), lease_expires_at = now(),
                   reserved_on = now()
             WHERE id = $1
            """,
            row["id"],
        )
        task = await order.waiting(cancel(world.pool, row["lookup_id"]))

    assert await task == (False, False)
    assert await status(world.pool, row["lookup_id"]) == "running"


@pytest.mark.parametrize("late_first", [True, False])
async def test_a_late_number_beside_the_next_providers(pool: Pool, order: Order, late_first: bool) -> None:
    """Two numbers at the same instant: the first one stays, both are paid for, and neither waits for the other."""
    row = await lookup(pool, providers=["nyne", "leadmagic"])
    before = await finished_job(pool, "unknown", lookup_id=row["id"])
    now = await job(pool, "submitting", provider="leadmagic", lookup_id=row["id"], place=1)

    async def late(db: Any) -> None:
        await settle_late(db, answer(before["id"], "callback", MOBILE))

    async def next_one(db: Any) -> None:
        await finish(db, [answer(now["id"], "inline", OTHER_MOBILE)])

    async def alone(act: Callable[[Any], Awaitable[None]]) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await act(connection)

    async with order.first() as first:
        await (late if late_first else next_one)(first)
        task = await order.waiting(alone(next_one if late_first else late))

    await task

    told = await read(pool, row["id"])
    assert (told["status"], told["mobile"]) == ("found", MOBILE if late_first else OTHER_MOBILE)
    assert told["credits"] == 6
    assert await jobs(pool) == 0


async def test_two_processes_release_the_same_followers(pool: Pool) -> None:
    """Whoever looks after the followers of an ended lookup may do so twice, or at the same instant."""
    leader, *rest = await take(pool, *(wish(work_email=EMAIL) for _ in range(6)))
    more = await take_one(pool, work_email=EMAIL, personal_email="jane@mail.co")
    row = await job_of(pool, leader.id)
    assert row is not None
    await finish(pool, [answer(row["id"], "inline", None)])

    await asyncio.gather(*(followers.release_followers(pool, [leader.id], POLICY) for _ in range(4)))

    assert {await status(pool, one.id) for one in rest} == {"not_found"}
    assert await status(pool, more.id) == "queued"
    assert await jobs(pool) == 1


async def test_two_ends_of_two_chains_meet(pool: Pool) -> None:
    """Batches that finish the same jobs in opposite order end each of them once."""
    rows = [await job(pool, "awaiting") for _ in range(20)]
    endings = [answer(row["id"], "poll") for row in rows]

    ended = await asyncio.gather(finish(pool, endings), finish(pool, list(reversed(endings))), finish(pool, endings))

    assert sum(len(batch) for batch in ended) == 20
    assert await pool.fetchval("SELECT sum(credits) FROM ledger WHERE kind = 'charged'") == 60


async def test_an_event_that_comes_again_while_it_ends(pool: Pool) -> None:
    """A duplicate never changes what its lookup has become."""
    first = await take_one(pool, "evt-1", work_email=EMAIL)

    _, again = await asyncio.gather(end(pool, first.id, mobile=MOBILE), take_one(pool, "evt-1", work_email=EMAIL))

    assert again.id == first.id
    assert await status(pool, first.id) == "found"
