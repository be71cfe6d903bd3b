"""Leases that ran out, and answers that did not come: taken over, waited for a while longer, or given up."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from enrichment.outcome import Answered
from store import sweep
from store.lookups import retry
from tests.at_work import AtWork, waits
from tests.factories import job, lookup, search_of
from tests.waiting_jobs import ago, end_of, overdue, silent
from tests.wishes import MOBILE, POLICY, job_of, jobs, read, status

if TYPE_CHECKING:
    from tests.conftest import Start

_numbers = itertools.count(1)


def made(moment: datetime) -> UUID:
    """An id that was made at that *moment*."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) + next(_numbers))


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
    """Without callbacks no message will come: perhaps charged, and the next provider's turn."""
    row = await lookup(world.pool, providers=["leadmagic", "nyne"])
    lost = await silent(world, provider="leadmagic", reserved=5, todo=["nyne"], lookup_id=row["id"])

    assert await world.reconciler.rescue() == 1

    assert await end_of(world, lost["id"]) == ("unknown", None, 0, 5)
    now = await job_of(world.pool, row["id"])
    assert now is not None
    assert (now["provider"], world.wakes) == ("nyne", 1)
    assert json.loads((await search_of(world.pool, row["id"]))["said"]) == {"leadmagic": "unknown"}


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
    """UNKNOWN_POLICY also decides about the questions of a dead process."""
    async with start(unknown_policy=policy) as world:
        row = await silent(world, todo=["leadmagic"])

        await world.reconciler.rescue()

        assert await jobs(world.pool) == left
        assert await status(world.pool, row["lookup_id"]) == ("running" if left else "unresolved")


# Deadlines


async def test_a_lost_202_ends_as_unknown_when_no_callback_came(world: AtWork) -> None:
    """After its graces the outcome stays unknown; its raw answer is kept."""
    row = await overdue(world, request_id=None, raw="<html>", error="an answer nobody can read")

    assert await world.reconciler.give_up() == 1

    assert await end_of(world, row["id"]) == ("unknown", None, 0, 3)
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
    assert await end_of(world, row["id"]) == ("answered", "callback", 3, 0)
    assert await status(world.pool, row["lookup_id"]) == "found"


async def test_past_its_deadline_a_question_is_lost(world: AtWork) -> None:
    """After JOB_DEADLINE_HOURS the job is lost; before, it is polled instead."""
    old = await overdue(world, submitted_at=await ago(world, hours=24.1))
    young = await overdue(world, submitted_at=await ago(world, hours=23.9))

    assert await world.reconciler.give_up() == 1

    assert await end_of(world, old["id"]) == ("lost", None, 0, 3)
    assert await status(world.pool, old["lookup_id"]) == "unresolved"
    assert await status(world.pool, young["lookup_id"]) == "running"


async def test_a_question_whose_callback_may_still_come_is_left_alone(world: AtWork) -> None:
    """Until its callback is due, the job is left alone."""
    await overdue(world, request_id=None, due_at=await ago(world, seconds=-5))

    assert await world.reconciler.give_up() == 0


async def test_what_could_not_be_asked_for_weeks_fails(world: AtWork) -> None:
    """A job that a budget holds for weeks fails in the end."""
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
    await retry(world.pool, row["id"], POLICY)

    assert await world.reconciler.end_stale() == 0
    assert await status(world.pool, row["id"]) == "queued"
