"""Lookups that a retry of many has reopened: queued at once, decided by the reconciler, and paid for once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from enrichment.ending import Ending
from enrichment.suppression import Identifier
from store import lookups, reopened
from store.reopened import reopen, to_decide
from store.reports import list_lookups
from store.suppressions import suppress
from tests.at_work import AtWork
from tests.order import Order
from tests.wishes import MOBILE, POLICY, apply, decide, end, job_of, jobs, read, searches, status, statuses, take_one

if TYPE_CHECKING:
    from tests.wishes import Pool

EMAIL = "jane@acme.co"


async def failed(pool: Pool, email: str = EMAIL) -> UUID:
    """A lookup whose only provider refused it."""
    taken = await take_one(pool, work_email=email)
    await end(pool, taken.id, state="failed")
    return taken.id


async def test_the_reconciler_decides_what_was_reopened(world: AtWork) -> None:
    """It wakes the submitter, and there is nothing to decide after that."""
    id = await failed(world.pool)
    assert await reopen(world.pool, [id]) == {id}

    assert await world.reconciler.decide_lookups() == 1

    again = await job_of(world.pool, id)
    assert again is not None
    assert (again["lookup_id"], again["state"], world.wakes) == (id, "queued", 1)
    assert not (await read(world.pool, id))["insists"]
    assert await world.reconciler.decide_lookups() == 0


async def test_a_reopened_lookup_is_listed_as_queued(pool: Pool) -> None:
    """Nothing of its failure is left."""
    id = await failed(pool)
    await reopen(pool, [id])

    listed = await list_lookups(pool, status="queued", record_id=None, before=None, limit=50)

    assert listed == [id]
    told = await read(pool, id)
    assert (told["status"], told["reason"], told["finished_at"]) == ("queued", None, None)


async def test_only_failed_and_unresolved_lookups_are_reopened(pool: Pool) -> None:
    """One that has its number, or has yet to be asked about, is passed."""
    found = (await take_one(pool, work_email="found@acme.co")).id
    await end(pool, found, mobile=MOBILE)
    open = (await take_one(pool, work_email="open@acme.co")).id
    doubtful = (await take_one(pool, work_email="doubtful@acme.co")).id
    await end(pool, doubtful, state="unknown")

    assert await reopen(pool, [found, open, doubtful]) == {doubtful}

    assert [await status(pool, id) for id in (found, open, doubtful)] == ["found", "queued", "queued"]


async def test_two_lookups_of_one_person_are_asked_about_once(pool: Pool) -> None:
    """Whether one decision takes both, or one each."""
    first, second = await failed(pool), await failed(pool, "joe@acme.co")
    same = (await take_one(pool, work_email=EMAIL)).id
    await end(pool, same, state="failed")
    await reopen(pool, [first, second, same])

    await lookups.decide_again(pool, [first], POLICY)
    assert await decide(pool) == 2

    assert await jobs(pool) == 2
    await end(pool, first)
    await decide(pool)
    assert [await status(pool, id) for id in (first, same, second)] == ["not_found", "not_found", "queued"]
    assert await jobs(pool) == 1


async def test_an_event_before_the_decision_asks_and_the_reopened_lookup_waits(pool: Pool) -> None:
    """The provider is asked once for both, and the number is for both."""
    id = await failed(pool)
    await reopen(pool, [id])
    taken = await take_one(pool, work_email=EMAIL)
    assert taken.id != id

    await decide(pool)
    assert (await to_decide(pool)).lookups == []  # it waits for the event's search
    await end(pool, taken.id, mobile=MOBILE)

    assert await statuses(pool, [taken]) == ["found"]
    assert (await read(pool, id))["mobile"] == MOBILE
    assert (await jobs(pool), await searches(pool)) == (0, 2)


async def test_a_late_number_of_the_old_search_ends_a_reopened_lookup(pool: Pool) -> None:
    """No provider is asked again for it."""
    taken = await take_one(pool, work_email=EMAIL)
    job = await job_of(pool, taken.id)
    assert job is not None
    await apply(pool, Ending(job_id=job["id"], state="unknown", possible=True))
    await reopen(pool, [taken.id])

    late = Ending(job_id=job["id"], state="answered", answered_by="callback", mobile=MOBILE, mobile_raw=MOBILE)
    await apply(pool, late)

    assert (await read(pool, taken.id))["mobile"] == MOBILE
    assert (await decide(pool), await jobs(pool)) == (0, 0)


async def test_a_person_suppressed_before_the_decision_is_not_asked_about(pool: Pool) -> None:
    """The lookup ends as suppressed."""
    id = await failed(pool)
    await reopen(pool, [id])
    await suppress(pool, [Identifier("email", EMAIL)], POLICY, None)

    await decide(pool)

    assert (await status(pool, id), await jobs(pool)) == ("suppressed", 0)


async def test_a_reopened_lookup_can_be_cancelled(pool: Pool) -> None:
    """It is not decided after that."""
    id = await failed(pool)
    await reopen(pool, [id])

    assert await lookups.cancel(pool, id, POLICY)

    assert (await decide(pool), await status(pool, id)) == (0, "cancelled")


async def test_a_reopened_lookup_whose_search_was_pruned_is_decided(pool: Pool) -> None:
    """Its month was dropped in between."""
    id = await failed(pool)
    await reopen(pool, [id])
    await pool.execute("DELETE FROM searches")

    assert await decide(pool) == 1

    assert await jobs(pool) == 1


async def test_many_that_wait_do_not_hide_one_that_was_reopened(pool: Pool) -> None:
    """Each look is bounded, and the next one goes on behind it."""
    first = await take_one(pool, work_email=EMAIL)
    waiting = [(await take_one(pool, work_email=EMAIL)).id for _ in range(2)]
    assert first.id < waiting[0]
    id = await failed(pool, "joe@acme.co")
    await reopen(pool, [id])

    page = await to_decide(pool, looked_at=2)
    following = await to_decide(pool, page.last, looked_at=2) if page.last else None

    assert (page.lookups, page.last) == ([], waiting[1])
    assert following is not None
    assert (following.lookups, following.last) == ([id], None)


async def test_the_next_look_goes_on_behind_what_is_being_decided(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one batch cannot be decided, the lookups behind it are."""
    monkeypatch.setattr(reopened, "DECIDED", 1)
    ids = sorted([await failed(pool), await failed(pool, "joe@acme.co")])
    await reopen(pool, ids)

    page = await to_decide(pool)
    assert page.last is not None

    assert (page.lookups, page.last) == ([ids[0]], ids[0])
    assert await to_decide(pool, page.last) == reopened.Undecided([ids[1]], None)


async def test_a_cancellation_and_the_decision_do_not_both_win(pool: Pool, order: Order) -> None:
    """The decision waits for the cancellation, and finds nothing to decide."""
    id = await failed(pool)
    await reopen(pool, [id])

    async with order.first() as first:
        assert await lookups.cancel_many(first, [id], POLICY) == {id}
        decided = await order.waiting(lookups.decide_again(pool, [id], POLICY))

    assert await decided == 0
    assert (await status(pool, id), await jobs(pool)) == ("cancelled", 0)
