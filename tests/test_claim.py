"""Claims: due jobs, the oldest first, shared by all submitters, as the committed intent to pay."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from store.leases import JOBS
from tests.at_work import PATIENCE, AtWork
from tests.claims import LEASE, reserved, take
from tests.factories import job, lookup
from tests.order import Order

if TYPE_CHECKING:
    from tests.wishes import Pool


async def test_a_claim_is_the_committed_intent_to_pay(db: Pool) -> None:
    """The job is ours: attempt counted, lease running, credits reserved, all in one commit."""
    row = await job(db, lookup_id=(await lookup(db, work_email="jane@acme.co", region_hint="US"))["id"])

    claimed = await take(db)

    (ours,) = claimed.jobs
    now = await db.fetchrow("SELECT *, lease_expires_at - now() AS lease FROM jobs WHERE id = $1", row["id"])
    assert now is not None
    assert (ours.id, ours.lookup_id, ours.attempt, ours.tries) == (row["id"], row["lookup_id"], 1, 0)
    assert (ours.contact.work_email, ours.contact.region) == ("jane@acme.co", "US")
    assert (now["state"], now["attempt"], now["reserved"], now["callback_expected"]) == ("submitting", 1, 3, True)
    assert timedelta(seconds=19) < now["lease"] <= LEASE
    assert await reserved(db) == 3


async def test_only_what_is_due_is_claimed(db: Pool) -> None:
    """Jobs that are held, awaiting, due later or of another provider are not claimed."""
    tomorrow = await db.fetchval("SELECT now() + interval '1 day'")
    await job(db, due_at=tomorrow)
    await job(db, held="budget")
    await job(db, "submitting")
    await job(db, "awaiting")
    await job(db, provider="leadmagic")
    due = await job(db)

    assert [claimed.id for claimed in (await take(db)).jobs] == [due["id"]]
    assert not (await take(db)).jobs


async def test_the_oldest_are_claimed_first_and_never_more_than_asked_for(db: Pool) -> None:
    """A full claim says that there may be more."""
    rows = [await job(db, due_at=await db.fetchval("SELECT now() - $1 * interval '1 s'", 10 - n)) for n in range(5)]

    first = await take(db, most=3)
    rest = await take(db, most=3)

    assert {claimed.id for claimed in first.jobs} == {row["id"] for row in rows[:3]}
    assert {claimed.id for claimed in rest.jobs} == {row["id"] for row in rows[3:]}
    assert (first.more, rest.more) == (True, False)


@pytest.mark.parametrize(("fresh", "again", "expected"), [(20, 20, (6, 2)), (0, 20, (0, 8)), (20, 0, (8, 0))])
async def test_fresh_ones_and_retries_share(db: Pool, fresh: int, again: int, expected: tuple[int, int]) -> None:
    """Of four jobs claimed, three are fresh and one is a retry, so neither kind starves the other."""
    for _ in range(fresh):
        await job(db)
    for _ in range(again):
        await job(db, attempt=1, tries=1, due_at=await db.fetchval("SELECT now() - interval '1 hour'"))

    claimed = await take(db, most=8)

    tries = [ours.tries for ours in claimed.jobs]
    assert (tries.count(0), tries.count(1)) == expected


async def test_two_claimers_take_disjoint_jobs(world: AtWork, order: Order) -> None:
    """Two submitters that claim at the same instant share the work, and no question is asked twice."""
    for _ in range(10):
        await job(world.pool)
    async with order.first() as first:
        await first.execute("SELECT FROM limits WHERE provider = 'nyne' FOR UPDATE")
        one = await order.waiting(world.claim("nyne"))
        two = await order.waiting(
            take(world.pool, most=4),
            at_least=2,
        )

    taken = [{claimed.id for claimed in (await one).items}, {claimed.id for claimed in (await two).jobs}]

    assert len(taken[0]) + len(taken[1]) == 10
    assert not taken[0] & taken[1]
    await world.settle()


async def test_a_claimer_takes_the_next_one_instead_of_waiting(world: AtWork, order: Order) -> None:
    """A job that another session has locked is skipped."""
    busy, free = await job(world.pool), await job(world.pool)
    async with order.first() as first:
        await first.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", busy["id"])

        async with asyncio.timeout(PATIENCE):
            result = await take(world.pool, most=10)

    assert [claimed.id for claimed in result.jobs] == [free["id"]]


async def test_a_provider_that_nobody_registered_is_a_mistake(pool: Pool) -> None:
    """A provider without registered limits cannot be claimed for."""
    with pytest.raises(LookupError, match="register_provider"):
        await take(pool)


async def test_leases_are_renewed_by_their_own_attempt_only(db: Pool) -> None:
    """A submitter that was taken over renews nothing, and learns from that that its job is gone."""
    await job(db)
    await job(db)
    mine, other = (await take(db)).jobs
    await db.execute("UPDATE jobs SET lease_expires_at = now() + interval '1 s'")
    await db.execute("UPDATE jobs SET attempt = 2 WHERE id = $1", other.id)

    ours = await JOBS.renew(db, [(mine.id, mine.attempt), (other.id, other.attempt)], LEASE)

    assert ours == {(mine.id, mine.attempt)}
    rows = await db.fetch("SELECT id FROM jobs WHERE lease_expires_at > now() + interval '10 s'")
    assert [row["id"] for row in rows] == [mine.id]
