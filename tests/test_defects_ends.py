"""Defects of ends: answers beside failures, doubts and removed providers at the end, and searches without a lookup."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from enrichment.decide import STILL_ASKED
from enrichment.guards import Budget
from enrichment.outcome import Accepted, Answered, Refused
from store.asked import Acceptance, Requeueing, accept, requeue
from store.budgets import Room, release_affordable
from store.callbacks import Callback, record_callbacks
from store.claim import claim
from store.database import transaction
from store.intake import ingest
from store.lookups import cancel, retry
from store.providers import register_provider
from store.sweep import pass_over_removed
from tests.at_work import BOTH, AtWork, claimed_of, ledger_refuses, ledger_takes, tell
from tests.claims import LEASE, QUICK
from tests.claims import take as take_claim
from tests.factories import job
from tests.fake_provider import FakeProvider, completed
from tests.order import Order, one_connection
from tests.wishes import (
    MOBILE,
    POLICY,
    answer,
    apply,
    end,
    ending,
    event,
    job_of,
    jobs,
    read,
    status,
    take,
    take_one,
    wish,
)

if TYPE_CHECKING:
    from tests.wishes import Pool

EMAIL, OTHER, JANE = "jane@acme.co", "jane@home.co", "linkedin.com/in/janedoe"
NYNE_FIRST = ("nyne", "leadmagic")
HOLDS = replace(POLICY, stops_in_doubt=True)
WITHOUT_NYNE = replace(POLICY, providers=("leadmagic",))

# Callbacks


async def test_a_number_was_dropped_beside_a_failure_in_one_batch(pool: Pool) -> None:
    """In one commit as in two: the number counts, whichever message of its job came first."""
    row = await job(pool, "awaiting", request_id="req-1")
    failed = Callback("nyne", row["id"], b"failed", Refused("it failed", "req-1"), Decimal(3))
    found = Callback("nyne", row["id"], b"found", Answered(MOBILE, request_id="req-1"), Decimal(3))

    receipts = await record_callbacks(pool, [failed, found], POLICY, None)

    assert [receipt.verdict for receipt in receipts] == ["ignored", "applied"]
    assert (await read(pool, row["lookup_id"]))["mobile"] == MOBILE


async def test_a_callback_of_another_request_was_not_polled_when_the_202_was_being_stored(
    world: AtWork, order: Order
) -> None:
    """It waits for the 202's commit, and is flagged then, as it would be a moment later."""
    claimed = await claimed_of(world)
    async with order.first() as first:
        assert await accept(first, [Acceptance(claimed.id, claimed.attempt, "req-1", timedelta(seconds=60))])
        calling = await order.waiting(world.call_back(claimed.id, Answered(MOBILE, request_id="req-2")))

    receipt = await calling

    assert (receipt.verdict, await world.pool.fetchval("SELECT due_at <= now() FROM jobs")) == ("flagged", True)


async def test_a_verified_answer_was_dropped_when_it_could_not_be_written(world: AtWork, fake: FakeProvider) -> None:
    """The check of a doubted callback goes on until its answer is stored."""
    claimed = await claimed_of(world)
    await world.call_back(claimed.id, Answered(None, request_id="req-1"))
    await tell(world, claimed, Accepted("req-2"))
    fake.polls.extend([completed("req-2", MOBILE)] * 2)
    await ledger_refuses(world)
    assert await world.poller.poll_once() == 1
    await ledger_takes(world)

    await world.pool.execute("UPDATE finished_jobs SET check_at = now() WHERE check_at IS NOT NULL")
    await world.poller.poll_once()

    assert (await read(world.pool, claimed.lookup_id))["mobile"] == MOBILE


# Wrong numbers


async def test_a_number_was_called_wrong_while_the_next_provider_was_being_asked(db: Pool) -> None:
    """The lookup ends unresolved: its answer may still come, and a retry asks a provider that sent it back."""
    for name in BOTH:
        await register_provider(db, name, QUICK, {})
    first = await take_one(db, work_email=EMAIL, providers=NYNE_FIRST)
    doubted = await end(db, first.id, state="unknown")
    (claimed,) = (await take_claim(db, "leadmagic")).jobs
    await apply(db, answer(doubted, "callback"))

    assert await retry(db, first.id, POLICY, wrong_number=True)

    told = await read(db, first.id)
    assert (told["status"], told["reason"]) == ("unresolved", STILL_ASKED)
    busy = Requeueing(claimed.id, claimed.attempt, timedelta(0), counts=True, error="HTTP 503")
    async with transaction(db) as connection:
        await requeue(connection, [busy])
    assert await jobs(db) == 0
    assert await retry(db, first.id, POLICY)
    asked = await job_of(db, first.id)
    assert asked is not None
    assert (asked["provider"], asked["todo"]) == ("leadmagic", [])


async def test_a_wrong_number_was_shown_as_it_was_written(pool: Pool) -> None:
    """The other provider gives the same one: no form of it is given again."""
    one = await take_one(pool, work_email=EMAIL, providers=BOTH)
    await end(pool, one.id, mobile=MOBILE)
    assert await retry(pool, one.id, POLICY, wrong_number=True)

    await end(pool, one.id, mobile=MOBILE)

    told = await read(pool, one.id)
    assert (told["status"], told["mobile"], told["mobile_raw"]) == ("not_found", None, None)


# Doubt


async def test_a_late_no_under_hold_left_nobody_to_decide(pool: Pool) -> None:
    """The search stopped before its second provider: a late "no number" of the first does not answer for both."""
    one = await take_one(pool, work_email=EMAIL, providers=NYNE_FIRST)
    asked = await job_of(pool, one.id)
    assert asked is not None
    await apply(pool, ending(asked["id"], "unknown", stop=True), policy=HOLDS)

    await apply(pool, answer(asked["id"], "callback", None), policy=HOLDS)

    assert (await status(pool, one.id), await jobs(pool)) == ("unresolved", 0)
    assert await retry(pool, one.id, HOLDS)
    again = await job_of(pool, one.id)
    assert again is not None
    assert again["provider"] == "leadmagic"


async def test_a_doubt_was_forgotten_with_a_removed_provider(pool: Pool) -> None:
    """A search that began in doubt, and could ask no provider, ends unresolved."""
    first = await take_one(pool, work_email=EMAIL, providers=("leadmagic",))
    await end(pool, first.id, state="unknown")
    second = await take_one(pool, work_email=EMAIL, providers=BOTH)

    assert await pass_over_removed(pool, ("leadmagic",), 10) == 1
    await apply(pool, policy=WITHOUT_NYNE)

    search = await pool.fetchrow("SELECT status FROM searches WHERE begun_for = $1", second.id)
    assert search is not None
    assert search["status"] == "unresolved"


# Removed providers


async def test_a_failed_provider_was_asked_again_for_each_joiner_after_another_was_removed(pool: Pool) -> None:
    """Eight lookups that bring nothing more than one another share one more search."""
    await take_one(pool, work_email=EMAIL, providers=BOTH)
    more = await take(pool, *(wish(work_email=EMAIL, profile_url=JANE, providers=BOTH) for _ in range(8)))

    asked = 0
    while row := await pool.fetchrow("SELECT id, provider FROM jobs"):
        assert row["provider"] == "leadmagic"
        await apply(pool, ending(row["id"], "failed", error="refused"), policy=WITHOUT_NYNE)
        asked += 1

    assert (asked, [await status(pool, one.id) for one in more]) == (2, ["failed"] * 8)


async def test_a_lookup_of_a_removed_provider_was_not_told_why_it_was_not_found(pool: Pool) -> None:
    """A provider was removed in the middle of the chain, and the reason says so."""
    first = await take_one(pool, work_email=EMAIL, providers=BOTH)
    only = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    asked = await job_of(pool, first.id)
    assert asked is not None

    await apply(pool, ending(asked["id"]), policy=WITHOUT_NYNE)

    told = await read(pool, only.id)
    assert (told["status"], told["reason"]) == ("not_found", "nyne: it is no longer in PROVIDERS")


# Searches without an open lookup


async def test_a_search_was_asked_for_nobody_after_a_duplicate_held_it(db: Pool, order: Order) -> None:
    """A duplicate event locks the search while its last lookup leaves: the claim drops the job."""
    await register_provider(db, "leadmagic", QUICK, {})
    first = await take_one(db, work_email=EMAIL)
    by_other = await take_one(db, "event-other", work_email=OTHER)
    both = await take_one(db, work_email=EMAIL, personal_email=OTHER)
    assert (await read(db, both.id))["search_id"] == (await read(db, by_other.id))["search_id"]
    assert await cancel(db, by_other.id, POLICY)
    async with order.first() as session:
        again = await ingest(one_connection(session), [event(wish("event-other", work_email=OTHER))], POLICY)
        assert again[0][0].duplicate
        await end(db, first.id, mobile=MOBILE)
    assert (await read(db, both.id))["mobile"] == MOBILE

    claimed = await take_claim(db, "leadmagic")

    assert (claimed.jobs, await jobs(db)) == ([], 0)
    assert await db.fetchval("SELECT count(*) FROM searches WHERE ended_at IS NULL") == 0


async def test_a_search_was_asked_for_nobody_after_a_budget_held_it(db: Pool, order: Order) -> None:
    """A claim holds the job while its lookup takes a late number: released, the job is dropped."""
    for name in BOTH:
        await register_provider(db, name, QUICK, {})
    first = await take_one(db, work_email=EMAIL, providers=("nyne",))
    doubted = await end(db, first.id, state="unknown")
    second = await take_one(db, work_email=EMAIL, providers=NYNE_FIRST)
    async with order.first() as session:
        held = await claim(
            one_connection(session), "leadmagic", most=10, price=Decimal(5), lease=LEASE, callback_expected=False,
            claim_id=uuid7(), budgets=[Budget(None, "day", Decimal(1))],
        )  # fmt: skip
        assert held.held == 1
        await apply(db, answer(doubted, "callback", MOBILE))
    assert (await read(db, second.id))["mobile"] == MOBILE
    assert await release_affordable(db, "leadmagic", Room(), 10) == 1

    claimed = await take_claim(db, "leadmagic")

    assert (claimed.jobs, await jobs(db)) == ([], 0)
