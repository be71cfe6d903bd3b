"""The fence: a late write of a submitter that lost its job does no harm, and is used where it is good."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from enrichment.outcome import Accepted, Answered, Refused, Retry
from store.claim import ClaimedJob
from store.leases import JOBS
from submitter.outcomes import Withheld
from tests.at_work import PATIENCE, AtWork, claimed_of, lease_expires, tell, tell_together
from tests.claims import take
from tests.fake_provider import FakeProvider, completed
from tests.order import Order
from tests.wishes import MOBILE, answer, finish_jobs, job_of, read, status


async def test_a_slow_submitters_retry_does_not_ask_again(world: AtWork) -> None:
    """Its lease expired and the job awaits its callback: the late answer does not queue the question again."""
    claimed = await claimed_of(world)
    await lease_expires(world, claimed)
    assert await world.reconciler.rescue() == 1

    await tell(world, claimed, Retry("HTTP 503"))

    now = await job_of(world.pool, claimed.lookup_id)
    assert now is not None
    assert (now["state"], now["attempt"], now["tries"], now["reserved"]) == ("awaiting", 1, 0, 3)


async def test_what_a_frozen_submitter_did_not_send_is_asked(world: AtWork) -> None:
    """The takeover let the job wait for a callback; its submitter knows that none can come."""
    claimed = await claimed_of(world)
    await lease_expires(world, claimed)
    assert await world.reconciler.rescue() == 1

    await tell(world, claimed, Withheld("frozen"))

    now = await job_of(world.pool, claimed.lookup_id)
    assert now is not None
    assert (now["state"], now["attempt"], now["tries"], now["reserved"]) == ("queued", 1, 0, 0)


async def test_a_slow_submitters_202_is_good(world: AtWork) -> None:
    """Only this submitter asked: the job that was taken over gets its request_id, and can be polled."""
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


async def two_attempts(world: AtWork) -> tuple[ClaimedJob, ClaimedJob]:
    """Return attempts 1 and 2 of one job, the second of which is under way."""
    zombie = await claimed_of(world)
    await tell(world, zombie, Retry("HTTP 503", after=0.0))
    await world.pool.execute("UPDATE jobs SET due_at = now()")
    (again,) = (await take(world.pool, most=1)).jobs
    assert (again.id, again.attempt) == (zombie.id, 2)
    return zombie, again


async def test_an_older_attempt_changes_nothing(world: AtWork) -> None:
    """The late answer to attempt 1 does not change attempt 2."""
    zombie, _ = await two_attempts(world)
    before = await job_of(world.pool, zombie.lookup_id)

    await tell(world, zombie, Retry("HTTP 503"))
    await tell(world, zombie, Accepted("req-old"))
    assert await JOBS.renew(world.pool, [(zombie.id, zombie.attempt)], timedelta(hours=1)) == set()

    assert await job_of(world.pool, zombie.lookup_id) == before


async def test_an_older_attempt_in_the_same_batch_does_not_hide_the_newer_one(world: AtWork) -> None:
    """Attempts 1 and 2 of one process end in one batch: the answer to attempt 2, which was paid for, is kept."""
    zombie, again = await two_attempts(world)

    await tell_together(world, (zombie, Refused("HTTP 400")), (again, Answered(MOBILE)))

    told = await read(world.pool, zombie.lookup_id)
    assert (told["status"], told["mobile"], told["credits"]) == ("found", MOBILE, 3)


async def test_a_newer_attempt_in_the_same_batch_does_not_hide_the_answer_to_the_older_one(world: AtWork) -> None:
    """Attempt 2 fails and attempt 1 is answered late: as in two batches, the answer that was paid for counts."""
    zombie, again = await two_attempts(world)

    await tell_together(world, (again, Refused("HTTP 400")), (zombie, Answered(MOBILE)))

    told = await read(world.pool, zombie.lookup_id)
    assert (told["status"], told["mobile"]) == ("found", MOBILE)


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
    """The lease of a job that is being finished is skipped; the others are renewed without a wait or a deadlock."""
    ending, running_on = await claimed_of(world), await claimed_of(world)
    async with order.first() as first:
        assert await finish_jobs(first, [answer(ending.id, "callback")])

        async with asyncio.timeout(PATIENCE):
            ours = await JOBS.renew(world.pool, [(one.id, 1) for one in (running_on, ending)], timedelta(minutes=1))

    assert ours == {(running_on.id, 1)}
