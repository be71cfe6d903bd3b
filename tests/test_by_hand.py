"""A person's decisions: ask once more, or stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from store.lookups import cancel, release, retry
from tests.factories import finished_job, job, lookup
from tests.wishes import MOBILE, POLICY, end, job_of, jobs, read, status, take_one

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

EMAIL = "jane@acme.co"


async def test_a_held_lookup_is_tried_at_once(pool: Pool) -> None:
    """A person may not want to wait for the next look at the budget."""
    row = await job(pool, held="budget", due_at=await pool.fetchval("SELECT now() + interval '1 day'"))

    assert await release(pool, row["lookup_id"])

    now = await job_of(pool, row["lookup_id"])
    assert now is not None
    assert (now["held"], now["due_at"] < row["due_at"]) == (None, True)
    assert not await release(pool, row["lookup_id"])


@pytest.mark.parametrize(("overrides", "spent"), [({}, 0), ({"held": "paused", "place": 1}, 5)])
async def test_what_has_not_been_asked_can_be_cancelled(pool: Pool, overrides: dict[str, Any], spent: int) -> None:
    """A queued or held lookup ends, its question is gone, and what the chain cost so far is kept."""
    row = await job(pool, **overrides)
    if spent:
        await finished_job(
            pool, lookup_id=row["lookup_id"], provider="leadmagic", answered_by="inline", credits=spent
        )  # fmt: skip

    assert await cancel(pool, row["lookup_id"], POLICY)

    told = await read(pool, row["lookup_id"])
    assert (told["status"], told["credits"], told["reason"]) == ("cancelled", spent, "cancelled by a person")
    assert await jobs(pool) == 0


@pytest.mark.parametrize("final", ["failed", "unresolved"])
async def test_an_end_nobody_likes_can_be_cancelled(pool: Pool, final: str) -> None:
    """A failed or unresolved lookup can be cancelled."""
    row = await lookup(pool, final_status=final)

    assert await cancel(pool, row["id"], POLICY)
    assert await status(pool, row["id"]) == "cancelled"


@pytest.mark.parametrize("state", ["submitting", "awaiting"])
async def test_a_question_on_its_way_cannot_be_cancelled(pool: Pool, state: str) -> None:
    """Its answer will be paid for, so it is waited for."""
    row = await job(pool, state)

    assert not await cancel(pool, row["lookup_id"], POLICY)
    assert await status(pool, row["lookup_id"]) == "running"
    assert await jobs(pool) == 1


@pytest.mark.parametrize("final", ["found", "not_found", "cancelled", "suppressed"])
async def test_an_answer_cannot_be_cancelled(pool: Pool, final: str) -> None:
    """A found or not_found lookup cannot be cancelled."""
    row = await lookup(pool, final_status=final)

    assert not await cancel(pool, row["id"], POLICY)
    assert await status(pool, row["id"]) == final


async def test_a_lookup_that_waits_for_a_search_can_be_cancelled(pool: Pool) -> None:
    """It ends alone; the search goes on, and its end does not bring it back."""
    first = await take_one(pool, work_email=EMAIL)
    second = await take_one(pool, work_email=EMAIL)

    assert await cancel(pool, second.id, POLICY)
    await end(pool, first.id, mobile=MOBILE)

    assert await status(pool, second.id) == "cancelled"
    assert await status(pool, first.id) == "found"


async def test_a_cancelled_lookup_stays_cancelled(pool: Pool) -> None:
    """Cancelling again changes nothing, and the same event again is answered with what it is."""
    first = await take_one(pool, "evt-1", work_email=EMAIL)
    await cancel(pool, first.id, POLICY)

    assert not await cancel(pool, first.id, POLICY)
    again = await take_one(pool, "evt-1", work_email=EMAIL)
    assert (again.id, again.status, again.duplicate) == (first.id, "cancelled", True)


async def test_nobody_there_is_nothing_to_cancel(pool: Pool) -> None:
    """Cancelling an unknown id says so."""
    row = await lookup(pool, final_status="found")

    assert not await cancel(pool, row["event_id"], POLICY)
    assert not await release(pool, row["event_id"])


@pytest.mark.parametrize(
    ("chain", "asked"),
    [
        ({"leadmagic": "failed"}, ["leadmagic", "nyne"]),
        ({"leadmagic": "answered", "nyne": "unknown"}, ["nyne"]),
        ({"leadmagic": "unknown"}, ["leadmagic", "nyne"]),  # UNKNOWN_POLICY=hold: stopped before the second
        ({"leadmagic": "failed", "nyne": "answered"}, ["leadmagic"]),
    ],
)
async def test_a_retry_asks_whoever_has_not_answered(pool: Pool, chain: dict[str, str], asked: list[str]) -> None:
    """A provider that answered "no number" is not paid again; the others are asked, from the first."""
    doubtful = "unknown" in chain.values()
    row = await lookup(pool, providers=["leadmagic", "nyne"], final_status="unresolved" if doubtful else "failed")
    for provider, state in chain.items():
        more = {"answered_by": "inline"} if state == "answered" else {}
        await finished_job(pool, state, provider=provider, lookup_id=row["id"], **more)

    assert await retry(pool, row["id"], POLICY)

    told, again = await read(pool, row["id"]), await job_of(pool, row["id"])
    assert again is not None
    assert [again["provider"], *again["todo"]] == asked
    assert (told["status"], told["finished_at"], told["reason"]) == ("queued", None, None)


async def test_a_retried_lookup_begins_a_search_of_its_own(pool: Pool) -> None:
    """It keeps its own cost; the other lookup of the failed search, which has the same key, gets the number, too."""
    first = await take_one(pool, work_email=EMAIL)
    second = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="failed")
    assert await status(pool, second.id) == "failed"

    assert await retry(pool, second.id, POLICY)
    await end(pool, second.id, mobile=MOBILE)

    told = await read(pool, second.id)
    assert (told["status"], told["reused_from"], told["credits"]) == ("found", None, 5)
    other = await read(pool, first.id)
    assert (other["status"], other["reused_from"], other["credits"]) == ("found", second.id, 0)


async def test_two_retries_at_once_ask_once(pool: Pool) -> None:
    """The second click finds the lookup queued."""
    first = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="failed")

    assert await retry(pool, first.id, POLICY)
    assert not await retry(pool, first.id, POLICY)
    assert await jobs(pool) == 1


@pytest.mark.parametrize("final", ["found", "not_found", "cancelled", "suppressed"])
async def test_only_failed_and_unresolved_lookups_are_retried(pool: Pool, final: str) -> None:
    """There is nothing to retry about an answer, nor about a person's own decision."""
    row = await lookup(pool, final_status=final)

    assert not await retry(pool, row["id"], POLICY)
    assert await status(pool, row["id"]) == final
