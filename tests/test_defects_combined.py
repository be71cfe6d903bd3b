"""Defects of combinations: two rules that each held alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from uuid_utils.compat import uuid7

from enrichment.outcome import Accepted, Answered, Unclear, Unreadable
from store.callbacks import Callback, record_callbacks
from store.claim import claim
from store.lookups import retry
from store.retention import empty_bodies
from tests import factories
from tests.at_work import (
    BOTH,
    AtWork,
    all_is_down_past_the_deadline,
    claimed_of,
    ended,
    ledger_refuses,
    ledger_takes,
    tell,
)
from tests.fake_provider import FakeProvider, completed, held
from tests.order import Order, one_connection
from tests.test_defects_late import made
from tests.wishes import (
    MOBILE,
    POLICY,
    answer,
    apply,
    end,
    ending,
    job_of,
    jobs,
    read,
    status,
    take_one,
)

if TYPE_CHECKING:
    from tests.wishes import Pool

EMAIL, OTHER, JANE = "jane@acme.co", "jane@home.co", "linkedin.com/in/janedoe"
NYNE_FIRST = ("nyne", "leadmagic")
NATIONAL, BRITISH = "07400 123456", "+447400123456"


async def test_a_region_that_joined_did_not_read_the_number(pool: Pool) -> None:
    """The second event brought the region while the question was on its way: the text is read in it."""
    await take_one(pool, work_email=EMAIL)
    with_region = await take_one(pool, work_email=EMAIL, region="GB")
    asked = await job_of(pool, with_region.id)
    assert asked is not None

    await apply(pool, answer(asked["id"], "inline", None, mobile_raw=NATIONAL, needs_region=True))

    told = await read(pool, with_region.id)
    assert (told["status"], told["mobile"], told["mobile_raw"]) == ("found", BRITISH, NATIONAL)


async def test_a_region_that_joined_in_the_middle_of_the_chain_did_not_read_the_number(pool: Pool) -> None:
    """LeadMagic's text is kept while Nyne is asked: a later event brings the region, and joins."""
    first = await take_one(pool, work_email=EMAIL, providers=BOTH)
    asked = await job_of(pool, first.id)
    assert asked is not None
    await apply(pool, answer(asked["id"], "inline", None, mobile_raw=NATIONAL, needs_region=True))
    with_region = await take_one(pool, work_email=EMAIL, providers=BOTH, region="GB")
    await end(pool, first.id)

    told = await read(pool, with_region.id)
    assert (told["status"], told["mobile"]) == ("found", BRITISH)


async def test_a_late_text_was_not_read_in_the_region_of_its_lookup(pool: Pool) -> None:
    """The lookup that joined the search named its region; the answer comes after the doubt."""
    first = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    with_region = await take_one(pool, work_email=EMAIL, providers=("nyne",), region="GB")
    doubted = await end(pool, first.id, state="unknown")
    await apply(pool, answer(doubted, "callback", None, mobile_raw=NATIONAL, needs_region=True))
    told = await read(pool, with_region.id)
    assert (told["status"], told["mobile"]) == ("found", BRITISH)


async def test_a_late_text_that_two_regions_read_differently_is_not_read(pool: Pool) -> None:
    """Two lookups of one contact name two countries: neither is given a number that may be another person's."""
    first = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    both = [await take_one(pool, work_email=EMAIL, providers=("nyne",), region=region) for region in ("GB", "DE")]
    doubted = await end(pool, first.id, state="unknown")

    await apply(pool, answer(doubted, "callback", None, mobile_raw=NATIONAL, needs_region=True))

    assert [(await read(pool, one.id))["mobile"] for one in both] == [None, None]


async def test_a_wrong_number_was_paid_for_again_once_a_region_came(pool: Pool) -> None:
    """Nyne's number was reported wrong; LeadMagic's kept text is the same number."""
    first = await take_one(pool, work_email=EMAIL, providers=("leadmagic",))
    asked = await job_of(pool, first.id)
    assert asked is not None
    await apply(pool, answer(asked["id"], "inline", None, mobile_raw=NATIONAL, needs_region=True))
    second = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    await end(pool, second.id, mobile=BRITISH)
    assert (await read(pool, second.id))["mobile"] == BRITISH
    assert await retry(pool, second.id, POLICY, wrong_number=True)
    assert await status(pool, second.id) == "not_found"

    third = await take_one(pool, work_email=EMAIL, providers=("leadmagic",), region="GB")

    assert (await status(pool, third.id), await jobs(pool)) == ("not_found", 0)


async def test_a_retry_was_swallowed_by_a_late_number_that_its_lookup_refused(pool: Pool) -> None:
    """A retry found Nyne's number, which is wrong; LeadMagic is asked next, though a late callback repeats it."""
    one = await take_one(pool, work_email=EMAIL, providers=NYNE_FIRST)
    doubted = await end(pool, one.id, state="unknown")
    await end(pool, one.id, state="unknown")
    assert await status(pool, one.id) == "unresolved"
    assert await retry(pool, one.id, POLICY)
    await end(pool, one.id, mobile=MOBILE)
    assert await retry(pool, one.id, POLICY, wrong_number=True)
    asked = await job_of(pool, one.id)
    assert asked is not None
    assert asked["provider"] == "leadmagic"

    await apply(pool, answer(doubted, "callback", MOBILE))

    assert await status(pool, one.id) == "queued"
    asked = await job_of(pool, one.id)
    assert asked is not None
    assert asked["provider"] == "leadmagic"


async def test_a_wrong_number_of_another_search_was_paid_for_again(pool: Pool) -> None:
    """C knows both contacts; LeadMagic's and Nyne's number are one, and a person called it wrong at the one."""
    a = await take_one(pool, work_email=EMAIL, providers=("leadmagic",))
    await end(pool, a.id, mobile=MOBILE)
    b = await take_one(pool, work_email=OTHER, providers=("nyne",))
    await end(pool, b.id, mobile=MOBILE)
    assert await retry(pool, b.id, POLICY, wrong_number=True)

    c = await take_one(pool, work_email=EMAIL, personal_email=OTHER, providers=("leadmagic",))

    assert (await status(pool, c.id), await jobs(pool)) == ("not_found", 0)


async def test_an_answer_was_never_fetched_after_an_outage_because_a_callback_was_unreadable(
    world: AtWork, fake: FakeProvider
) -> None:
    """The receiver is up first: the callback is unreadable, so the job is polled now, before it is lost."""
    claimed = await claimed_of(world)
    await tell(world, claimed, Accepted("req-1"))
    fake.polls.append(completed("req-1", MOBILE))
    await all_is_down_past_the_deadline(world)
    receipt = await world.call_back(claimed.id, Unreadable("no JSON"))
    assert receipt.verdict == "flagged"

    await world.reconciler.give_up()
    await world.poller.poll_once()

    assert (await read(world.pool, claimed.lookup_id))["mobile"] == MOBILE


async def test_a_retry_was_not_told_that_a_provider_was_removed(pool: Pool) -> None:
    """Nyne was removed before the search began: its reason says so, as when it is removed in the middle."""
    one = await take_one(pool, work_email=EMAIL, providers=BOTH)
    await end(pool, one.id, state="failed")
    await end(pool, one.id, state="failed")
    without = replace(POLICY, providers=("leadmagic",))
    assert await retry(pool, one.id, without)
    asked = await job_of(pool, one.id)
    assert asked is not None
    await apply(pool, ending(asked["id"]), policy=without)

    told = await read(pool, one.id)
    assert (told["status"], told["reason"]) == ("not_found", "nyne: it is no longer in PROVIDERS")


async def test_a_check_of_a_removed_provider_kept_its_month_for_ever(world: AtWork) -> None:
    """It is not polled any more: its check ends at twice the deadline, and its month can be pruned."""
    claimed = await claimed_of(world)
    await world.call_back(claimed.id, Answered(None, request_id="req-1"))
    await tell(world, claimed, Accepted("req-2"))
    await world.pool.execute("UPDATE finished_jobs SET submitted_at = now() - interval '60 days'")
    world.process.providers.pop("nyne")

    await world.reconciler.give_up()
    await world.reconciler.pass_over_removed()
    await world.reconciler.end_stale()

    assert await world.pool.fetchval("SELECT count(*) FROM finished_jobs WHERE check_at IS NOT NULL") == 0


async def test_the_body_of_a_late_callback_was_kept_beside_a_pass(pool: Pool, order: Order) -> None:
    """The callback comes while a pass walks over its month: one of the two waits for the other."""
    await empty_bodies(pool, timedelta(days=31), 100)
    row = await factories.finished_job(
        pool, id=made(30.5), state="lost", answered_by=None, request_id="req-1", possible=3, credits=0
    )
    late = Callback("nyne", row["id"], b"+15551234567", Answered(MOBILE, request_id="req-1"), Decimal(3))
    async with order.first() as first:
        await empty_bodies(one_connection(first), timedelta(days=30), 100)
        calling = asyncio.create_task(record_callbacks(pool, [late], POLICY, None))
        await asyncio.wait([calling], timeout=1)
    await calling

    await empty_bodies(pool, timedelta(days=30), 100)

    assert await pool.fetchval("SELECT body FROM callbacks") == b""


async def test_the_next_provider_was_paid_while_the_poll_after_an_outage_was_on_its_way(
    world: AtWork, fake: FakeProvider
) -> None:
    """All processes were down for a day: the job waits for the poll's answer, not only for its start."""
    one = await take_one(world.pool, work_email=EMAIL, providers=NYNE_FIRST)
    result = await claim(
        world.pool, "nyne", most=1, price=Decimal(3), lease=timedelta(seconds=20),
        callback_expected=True, claim_id=uuid7(),
    )  # fmt: skip
    (claimed,) = result.jobs
    await tell(world, claimed, Accepted("req-1"))
    await all_is_down_past_the_deadline(world)
    answer = held(completed("req-1", MOBILE))
    assert answer.release is not None
    fake.polls.append(answer)
    polling = asyncio.create_task(world.poller.poll_once())
    await asyncio.wait_for(answer.reached.wait(), 10)

    await world.reconciler.give_up()  # its loop makes a pass every second
    await world.ask("leadmagic")
    answer.release.set()
    await polling

    assert (await read(world.pool, one.id))["mobile"] == MOBILE
    assert len(fake.paid) == 0


async def test_a_poll_after_an_outage_is_the_last(world: AtWork, fake: FakeProvider) -> None:
    """Nyne still has no answer: the job is polled once, and lost after that, whichever loop comes first."""
    claimed = await claimed_of(world)
    await tell(world, claimed, Accepted("req-1"))
    await all_is_down_past_the_deadline(world)
    assert await world.poller.poll_once() == 1

    assert await world.poller.poll_once() == 0
    await world.reconciler.give_up()

    assert await ended(world, claimed.lookup_id) == [("nyne", "lost", 0, 3)]


@pytest.mark.parametrize("given_up", [False, True])
async def test_a_number_was_lost_when_its_callback_could_not_be_applied(
    world: AtWork, fake: FakeProvider, given_up: bool
) -> None:
    """The 202 was lost; the callback names the request, and its number cannot be written: it is polled by that id."""
    claimed = await claimed_of(world)
    await tell(world, claimed, Unclear("no answer"))
    if given_up:
        await world.pool.execute("UPDATE jobs SET due_at = now() - interval '1 s'")
        await world.reconciler.give_up()
    await ledger_refuses(world)
    receipt = await world.call_back(claimed.id, Answered(MOBILE, request_id="req-1"))
    assert receipt.verdict == "flagged"
    await ledger_takes(world)
    fake.polls.append(completed("req-1", MOBILE))

    await world.poller.poll_once()

    assert (await read(world.pool, claimed.lookup_id))["mobile"] == MOBILE
