"""What a person decides: ask once more, or stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from store.by_hand import cancel, unhold
from store.followers import promote
from tests.factories import finished_job, job, lookup
from tests.wishes import MOBILE, POLICY, end, job_of, jobs, read, status, take_one

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

EMAIL = "jane@acme.co"


async def test_a_held_lookup_is_tried_at_once(pool: Pool) -> None:
    """A person may not want to wait for the next look at the budget."""
    row = await job(pool, held="budget", due_at=await pool.fetchval("SELECT now() + interval '1 day'"))

    assert await unhold(pool, row["lookup_id"])

    now = await job_of(pool, row["lookup_id"])
    assert now is not None
    assert (now["held"], now["due_at"] < row["due_at"]) == (None, True)
    assert not await unhold(pool, row["lookup_id"])


@pytest.mark.parametrize(("state", "overrides"), [("queued", {}), ("queued", {"held": "paused"})])
async def test_what_has_not_been_asked_can_be_cancelled(pool: Pool, state: str, overrides: dict[str, Any]) -> None:
    """A queued or held lookup ends, its question is gone, and what the chain cost so far is kept."""
    row = await job(pool, state, spent=5, place=1, **overrides)

    assert await cancel(pool, row["lookup_id"]) == (True, False)

    told = await read(pool, row["lookup_id"])
    assert (told["status"], told["credits"], told["reason"]) == ("cancelled", 5, "cancelled by a person")
    assert await jobs(pool) == 0


@pytest.mark.parametrize("final", ["failed", "unresolved"])
async def test_an_end_nobody_likes_can_be_cancelled(pool: Pool, final: str) -> None:
    """A failed or unresolved lookup that needs no more attention is put away."""
    row = await lookup(pool, final_status=final)

    assert await cancel(pool, row["id"]) == (True, False)
    assert await status(pool, row["id"]) == "cancelled"


@pytest.mark.parametrize("state", ["submitting", "awaiting"])
async def test_a_question_on_its_way_cannot_be_cancelled(pool: Pool, state: str) -> None:
    """Its answer will be paid for, so it is waited for."""
    row = await job(pool, state)

    assert await cancel(pool, row["lookup_id"]) == (False, False)
    assert await status(pool, row["lookup_id"]) == "running"
    assert await jobs(pool) == 1


@pytest.mark.parametrize("final", ["found", "not_found", "cancelled", "suppressed"])
async def test_an_answer_cannot_be_cancelled(pool: Pool, final: str) -> None:
    """What has its answer keeps it."""
    row = await lookup(pool, final_status=final)

    assert await cancel(pool, row["id"]) == (False, False)
    assert await status(pool, row["id"]) == final


async def test_a_follower_can_be_cancelled(pool: Pool) -> None:
    """It ends alone; the one it followed goes on, and does not bring it back."""
    first = await take_one(pool, work_email=EMAIL)
    second = await take_one(pool, work_email=EMAIL)

    assert await cancel(pool, second.id) == (True, False)
    await end(pool, first.id, mobile=MOBILE)

    assert await status(pool, second.id) == "cancelled"
    assert await status(pool, first.id) == "found"


async def test_a_cancelled_lookup_stays_cancelled(pool: Pool) -> None:
    """Cancelling again changes nothing, and the same event again is answered with what it is."""
    first = await take_one(pool, "evt-1", work_email=EMAIL)
    await cancel(pool, first.id)

    assert await cancel(pool, first.id) == (False, False)
    again = await take_one(pool, "evt-1", work_email=EMAIL)
    assert (again.id, again.status, again.duplicate) == (first.id, "cancelled", True)


async def test_nobody_there_is_nothing_to_cancel(pool: Pool) -> None:
    """An id of nothing is answered so."""
    row = await lookup(pool, final_status="found")

    assert await cancel(pool, row["event_id"]) == (False, False)
    assert not await unhold(pool, row["event_id"])


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
    """Who looked and found nothing is not paid to look again; the others are asked from the first."""
    doubtful = "unknown" in chain.values()
    row = await lookup(pool, providers=["leadmagic", "nyne"], final_status="unresolved" if doubtful else "failed")
    for provider, state in chain.items():
        more = {"answered_by": "inline"} if state == "answered" else {}
        await finished_job(pool, state, provider=provider, lookup_id=row["id"], **more)

    assert await promote(pool, row["id"], POLICY, by_a_person=True)

    told, again = await read(pool, row["id"]), await job_of(pool, row["id"])
    assert again is not None
    assert [again["provider"], *again["todo"]] == asked
    assert (told["status"], told["finished_at"], told["reason"]) == ("queued", None, None)


async def test_a_retried_follower_is_asked_for_itself(pool: Pool) -> None:
    """A person who retries a follower wants this lookup to be asked: it leads, and keeps its own cost."""
    first = await take_one(pool, work_email=EMAIL)
    second = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="failed")
    assert await status(pool, second.id) == "failed"

    assert await promote(pool, second.id, POLICY, by_a_person=True)
    await end(pool, second.id, mobile=MOBILE)

    told = await read(pool, second.id)
    assert (told["status"], told["reused_from"], told["credits"]) == ("found", None, 5)
    assert await status(pool, first.id) == "failed"


async def test_two_retries_at_once_ask_once(pool: Pool) -> None:
    """The second click finds the lookup queued."""
    first = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="failed")

    assert await promote(pool, first.id, POLICY, by_a_person=True)
    assert not await promote(pool, first.id, POLICY, by_a_person=True)
    assert await jobs(pool) == 1


@pytest.mark.parametrize("final", ["found", "not_found", "cancelled", "suppressed"])
async def test_only_failed_and_unresolved_lookups_are_retried(pool: Pool, final: str) -> None:
    """There is nothing to retry about an answer, nor about a person's own decision."""
    row = await lookup(pool, final_status=final)

    assert not await promote(pool, row["id"], POLICY, by_a_person=True)
    assert await status(pool, row["id"]) == final
