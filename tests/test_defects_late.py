"""Defects of what comes late: answers after a deadline, a takeover, a removal, a look at a month, another's header."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from enrichment.outcome import Accepted, Answered, Refused
from enrichment.providers.base import HttpResponse
from store import prune as prune_store
from store.callbacks import Callback, record_callbacks
from store.claim import claim
from store.partitions import first_id
from store.providers import pass_turns, pause
from store.retention import empty_bodies
from store.sweep import pass_over_removed
from submitter import limit_headers
from submitter.limit_headers import LimitHeaders
from tests import factories, old_history
from tests.at_work import (
    BOTH,
    AtWork,
    all_is_down_past_the_deadline,
    claimed_of,
    ended,
    lease_expires,
    ledger_refuses,
    ledger_takes,
    tell,
)
from tests.fake_provider import FakeProvider, completed
from tests.old_history import DAYS, MONTHS, NOW
from tests.wishes import MOBILE, POLICY, answer, apply, end, ending, job_of, read, status, take_one

if TYPE_CHECKING:
    from tests.wishes import Pool

EMAIL = "jane@acme.co"
NYNE_FIRST = ("nyne", "leadmagic")
WITHOUT_NYNE = replace(POLICY, providers=("leadmagic",))
MONTH = timedelta(days=30)
GONE = "nyne: it is no longer in PROVIDERS"


def made(days: float) -> UUID:
    """Return an id that was made so many days ago."""
    return UUID(int=first_id(datetime.now(UTC) - timedelta(days=days)).int + 1)


# Deadlines


async def test_an_answer_was_never_fetched_after_an_outage_longer_than_the_deadline(
    world: AtWork, fake: FakeProvider
) -> None:
    """All processes were down for a day; the answer that was paid for waits at Nyne. It is polled before it is lost."""
    claimed = await claimed_of(world)
    await tell(world, claimed, Accepted("req-1"))
    fake.polls.append(completed("req-1", MOBILE))
    await all_is_down_past_the_deadline(world)

    await world.reconciler.give_up()  # whichever of the two loops comes first
    await world.poller.poll_once()

    assert (await read(world.pool, claimed.lookup_id))["mobile"] == MOBILE


async def test_a_job_that_was_passed_on_was_queued_for_ever(world: AtWork) -> None:
    """Two accounts that cannot ask, although their free endpoints say that they are well, pass it to one another."""
    row = await factories.lookup(world.pool, id=made(36), event_id=made(36))
    await factories.job(world.pool, provider="leadmagic", todo=["nyne"], lookup_id=row["id"], id=made(36), attempt=1)
    await pause(world.pool, "leadmagic", "out of credits", timedelta(seconds=30))
    assert await pass_turns(world.pool, "leadmagic") == 1  # a new id: 35 days more, and so on at every turn
    await pause(world.pool, "nyne", "out of credits", timedelta(seconds=30))
    assert await pass_turns(world.pool, "nyne") == 1  # back

    assert await world.reconciler.end_stale() == 1


async def test_the_last_check_of_a_doubted_callback_was_dropped_when_it_could_not_be_written(
    world: AtWork, fake: FakeProvider
) -> None:
    """As test_a_verified_answer_was_dropped_when_it_could_not_be_written, at the job's deadline."""
    claimed = await claimed_of(world)
    await world.call_back(claimed.id, Answered(None, request_id="req-1"))
    await tell(world, claimed, Accepted("req-2"))
    fake.polls.extend([completed("req-2", MOBILE)] * 2)
    await world.pool.execute("UPDATE finished_jobs SET submitted_at = now() - interval '25 h'")
    await ledger_refuses(world)
    assert await world.poller.poll_once() == 1
    await ledger_takes(world)

    await world.pool.execute("UPDATE finished_jobs SET check_at = now() WHERE check_at IS NOT NULL")
    await world.poller.poll_once()

    assert (await read(world.pool, claimed.lookup_id))["mobile"] == MOBILE


@pytest.mark.parametrize("called", [Answered(None, request_id="req-1"), Refused("it failed", "req-1")])
async def test_the_number_of_a_post_was_thrown_away_after_a_callback_of_another_request(
    world: AtWork, called: Answered | Refused
) -> None:
    """The POST itself was answered with the number: it counts, as the poll of a differing 202 would."""
    claimed = await claimed_of(world)
    await world.call_back(claimed.id, called)

    await tell(world, claimed, Answered(MOBILE, request_id="req-2"))
    await world.settle()

    assert (await read(world.pool, claimed.lookup_id))["mobile"] == MOBILE
    assert await world.pool.fetchval("SELECT sum(charged) FROM usage") == 3


# Takeovers


@pytest.mark.parametrize("callback_expected", [True, False])
async def test_a_failed_claim_was_not_undone_after_a_takeover(world: AtWork, *, callback_expected: bool) -> None:
    """Its commit waited for a standby, longer than the lease: nothing was sent, so nothing is in doubt."""
    wanted = await take_one(world.pool, work_email=EMAIL, providers=("leadmagic",))
    claim_id = uuid7()
    taken = await claim(  # committed, although the submitter got a TimeoutError
        world.pool, "leadmagic", most=1, price=Decimal(5), lease=timedelta(seconds=20),
        callback_expected=callback_expected, claim_id=claim_id,
    )  # fmt: skip
    await lease_expires(world, taken.jobs[0])
    await world.reconciler.rescue()

    undone = await world.submitters["leadmagic"].undo(claim_id)
    await world.settle()

    assert undone == [taken.jobs[0].id]
    assert await status(world.pool, wanted.id) in ("queued", "running", "failed")
    if callback_expected:
        assert await world.pool.fetchval("SELECT state::text FROM jobs") == "queued"
    else:
        assert await ended(world, wanted.id) == [("leadmagic", "failed", 0, 0)]
    assert await world.pool.fetchval("SELECT sum(reserved + charged + possible) FROM usage") == 0


# Removed providers


async def test_a_lookup_was_not_told_that_the_first_provider_was_removed(pool: Pool) -> None:
    """The reason names the removed provider, as in the middle of the chain."""
    first = await take_one(pool, work_email=EMAIL, providers=NYNE_FIRST)
    only = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    assert await pass_over_removed(pool, ("leadmagic",), 10) == 1
    asked = await job_of(pool, first.id)
    assert asked is not None

    await apply(pool, ending(asked["id"]), policy=WITHOUT_NYNE)

    told = await read(pool, only.id)
    assert (told["status"], told["reason"]) == ("not_found", GONE)


async def test_a_late_no_forgot_that_a_provider_was_removed(pool: Pool) -> None:
    """A late answer takes its own doubt out of the reason, and nothing else."""
    first = await take_one(pool, work_email=EMAIL, providers=BOTH)
    only = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    asked = await job_of(pool, first.id)
    assert asked is not None
    await apply(pool, ending(asked["id"], "unknown", error="no answer"), policy=WITHOUT_NYNE)
    assert (await read(pool, only.id))["reason"] == f"leadmagic: no answer; {GONE}"

    await apply(pool, answer(asked["id"], "callback", None), policy=WITHOUT_NYNE)

    told = await read(pool, only.id)
    assert (told["status"], told["reason"]) == ("not_found", GONE)


# History


async def test_a_number_that_reached_an_old_lookup_at_the_last_moment_was_dropped(pool: Pool) -> None:
    """Another lookup's number ended it after the look: its month stays."""
    await old_history.make_months(pool)
    old = await old_history.lookup(pool, final_status="failed", work_email=EMAIL, providers=["nyne"])
    await pool.execute("""UPDATE searches SET said = '{"nyne": "failed"}'""")
    new = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    async with pool.acquire(timeout=5) as connection:
        found = await prune_store.look_at(connection, MONTHS[1], NOW - timedelta(days=DAYS))
        assert not found.needed
        await end(pool, new.id, mobile=MOBILE)
        assert (await read(pool, old["id"]))["mobile"] == MOBILE

        assert await prune_store.drop_month(connection, found) is False


async def test_the_body_of_a_late_callback_was_kept_for_ever(pool: Pool) -> None:
    """RETAIN_DAYS: it holds a number, and is emptied when it is old."""
    row = await factories.finished_job(
        pool, id=made(40), state="lost", answered_by=None, request_id="req-1", possible=3, credits=0
    )
    await empty_bodies(pool, MONTH, 100)
    late = Callback("nyne", row["id"], b"+15551234567", Answered(MOBILE, request_id="req-1"), Decimal(3))
    (receipt,) = await record_callbacks(pool, [late], POLICY, None)
    assert receipt.verdict == "late"
    await pool.execute("UPDATE callbacks SET received_at = now() - interval '31 days'")

    await empty_bodies(pool, MONTH, 100)

    assert await pool.fetchval("SELECT body FROM callbacks") == b""


# Limits


async def test_a_limit_stayed_corrected_by_one_odd_header(world: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """One odd header corrected a limit, and its process is gone; another process restores it with each right answer."""
    leadmagic = world.process.providers["leadmagic"]
    await world.pool.execute("UPDATE limits SET ceiling = NULL")
    monkeypatch.setattr(limit_headers, "WRITTEN_FOR", 0.0)
    here, there = LimitHeaders(world.pool, leadmagic), LimitHeaders(world.pool, leadmagic)
    usual, odd = (HttpResponse(200, {"ratelimit-limit": limit}) for limit in ("3000", "30"))
    await here.heed(usual)
    await there.heed(odd)

    await here.heed(usual)

    assert await world.pool.fetchval(
        """SELECT allowance FROM limits WHERE provider = 'leadmagic' AND purpose = 'any' AND "window" = 60"""
    ) == 3000  # fmt: skip
