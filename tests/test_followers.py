"""Lookups that follow another: they end as it ends, or take their own turn."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from store.by_hand import cancel
from store.followers import promote, release_followers

from enrichment.ending import Ending
from store import sweep
from store.finish import settle_late
from tests.wishes import MOBILE, POLICY, age, end, end_job, job_of, jobs, read, status, take, take_one, wish

if TYPE_CHECKING:
    from tests.wishes import Pool

JANE = "linkedin.com/in/janedoe"
EMAIL = "jane@acme.co"


async def answer_late(pool: Pool, lookup_id: UUID) -> UUID | None:
    """The lookup's finished job has a number after all."""
    job_id = await pool.fetchval("SELECT id FROM finished_jobs WHERE lookup_id = $1", lookup_id)
    ending = Ending(job_id=job_id, state="answered", answered_by="callback", mobile=MOBILE, charged=Decimal(5))
    async with pool.acquire() as connection, connection.transaction():
        return await settle_late(connection, ending)


@pytest.mark.parametrize(
    ("state", "ended"), [("answered", "not_found"), ("failed", "failed"), ("unknown", "unresolved")]
)
async def test_followers_end_as_the_first_one_ends(pool: Pool, state: str, ended: str) -> None:
    """Whatever the first one ends as, its followers end as, and nobody is asked again."""
    first, *followers = await take(pool, *(wish(work_email=EMAIL) for _ in range(3)))

    await end(pool, first.id, state=state)

    rows = [await read(pool, taken.id) for taken in followers]
    assert [(row["status"], row["reused_from"], row["credits"]) for row in rows] == [(ended, first.id, 0)] * 2
    assert await jobs(pool) == 0


async def test_a_follower_that_brings_more_takes_its_own_turn(pool: Pool) -> None:
    """When the first one ends without a number, who knows another identifier is looked up, and others follow it."""
    first = await take_one(pool, profile_url=JANE)
    more, same, later = await take(
        pool,
        wish(profile_url=JANE, work_email=EMAIL),
        wish(profile_url=JANE),
        wish(work_email=EMAIL),
    )

    await end(pool, first.id)

    rows = [await read(pool, taken.id) for taken in (more, same, later)]
    assert [row["status"] for row in rows] == ["queued", "not_found", "queued"]
    assert [row["reused_from"] for row in rows] == [None, first.id, more.id]
    assert [(await job_of(pool, taken.id)) is not None for taken in (more, same, later)] == [True, False, False]
    await end(pool, more.id, mobile=MOBILE)
    assert await status(pool, later.id) == "found"
    assert await status(pool, same.id) == "not_found"


async def test_a_follower_that_brings_more_takes_a_number_that_is_there(pool: Pool) -> None:
    """When the first one finds a number, nobody needs another question."""
    first = await take_one(pool, profile_url=JANE)
    more = await take_one(pool, profile_url=JANE, work_email=EMAIL)

    await end(pool, first.id, mobile=MOBILE)

    assert await status(pool, more.id) == "found"
    assert await jobs(pool) == 0


async def test_the_next_event_follows_whoever_took_the_turn(pool: Pool) -> None:
    """A promoted follower speaks for the person from then on."""
    first = await take_one(pool, profile_url=JANE)
    more = await take_one(pool, profile_url=JANE, work_email=EMAIL)
    await end(pool, first.id)

    next_one = await take_one(pool, profile_url=JANE)

    assert (await read(pool, next_one.id))["reused_from"] == more.id


async def test_when_the_first_one_is_cancelled_the_next_one_leads(pool: Pool) -> None:
    """A person's decision about one lookup is no answer for the others: the oldest of them is looked up."""
    first, second, third = await take(pool, *(wish(work_email=EMAIL) for _ in range(3)))

    assert await cancel(pool, first.id) == (True, True)
    await release_followers(pool, [first.id], POLICY)

    rows = [await read(pool, taken.id) for taken in (first, second, third)]
    assert [row["status"] for row in rows] == ["cancelled", "queued", "queued"]
    assert [row["reused_from"] for row in rows] == [None, None, second.id]
    assert await jobs(pool) == 1
    await end(pool, second.id, mobile=MOBILE)
    assert await status(pool, third.id) == "found"


async def test_a_late_number_turns_followers_and_reusers_found(pool: Pool) -> None:
    """Who ended with the first one, and who took its answer later, have the number as well."""
    first = await take_one(pool, work_email=EMAIL)
    follower = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="unknown")
    reuser = await take_one(pool, work_email=EMAIL)
    assert [await status(pool, one.id) for one in (first, follower, reuser)] == ["unresolved"] * 3

    assert await answer_late(pool, first.id) == first.id
    await release_followers(pool, [first.id], POLICY)

    rows = [await read(pool, one.id) for one in (first, follower, reuser)]
    assert [(row["status"], row["mobile"], row["credits"]) for row in rows] == [
        ("found", MOBILE, 5),
        ("found", MOBILE, 0),
        ("found", MOBILE, 0),
    ]


async def test_a_late_number_reaches_followers_even_if_its_bearer_dies(pool: Pool) -> None:
    """The followers of a number that came late are found by the reconciler when nobody else looked after them."""
    first = await take_one(pool, work_email=EMAIL)
    follower = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="unknown")

    await answer_late(pool, first.id)
    await release_followers(pool, await sweep.leaders_left_behind(pool, 10), POLICY)

    assert await status(pool, follower.id) == "found"


async def test_a_number_of_their_own_is_kept(pool: Pool) -> None:
    """A follower that took its own turn and found another number keeps it when the first one's comes late."""
    first = await take_one(pool, profile_url=JANE)
    more = await take_one(pool, profile_url=JANE, work_email=EMAIL)
    await end(pool, first.id, state="unknown")
    await end(pool, more.id, mobile="+442079460000")

    await answer_late(pool, first.id)
    await release_followers(pool, [first.id], POLICY)

    assert (await read(pool, more.id))["mobile"] == "+442079460000"


async def test_followers_left_behind_are_found(pool: Pool) -> None:
    """Whoever ended the first one and died before looking after its followers: the sweep finds them, and only them."""
    first, *followers = await take(pool, *(wish(work_email=EMAIL) for _ in range(3)))
    await take(pool, wish(work_email="other@acme.co"), wish(work_email="other@acme.co"))
    await end_job(pool, first.id)

    left = await sweep.leaders_left_behind(pool, 10)
    await release_followers(pool, left, POLICY)

    assert left == [first.id]
    assert [await status(pool, taken.id) for taken in followers] == ["not_found"] * 2
    assert await sweep.leaders_left_behind(pool, 10) == []


async def test_a_chain_of_followers_ends_together(pool: Pool) -> None:
    """A follower that others followed takes them along, however long the chain."""
    first, second, third = await take(pool, *(wish(work_email=EMAIL) for _ in range(3)))
    await pool.execute("UPDATE lookups SET reused_from = $2 WHERE id = $1", third.id, second.id)
    await pool.execute("UPDATE lookups SET followers = 1 WHERE id = $1", second.id)

    await end(pool, first.id, mobile=MOBILE)

    assert [await status(pool, taken.id) for taken in (first, second, third)] == ["found"] * 3


async def test_promotion_twice_is_promotion_once(pool: Pool) -> None:
    """Two processes that release the same follower make one question of it."""
    first, second = await take(pool, wish(work_email=EMAIL), wish(work_email=EMAIL))
    await cancel(pool, first.id)

    assert await promote(pool, second.id, POLICY)
    await promote(pool, second.id, POLICY)

    assert await jobs(pool) == 1
    assert await status(pool, second.id) == "queued"


async def test_a_follower_finds_another_answer_instead_of_asking(pool: Pool) -> None:
    """When its leader is of no use, an answer that came by another way is taken before anybody is asked."""
    by_slug = await take_one(pool, profile_url=JANE)
    by_email = await take_one(pool, work_email=EMAIL)
    both = await take_one(pool, profile_url=JANE, work_email=EMAIL)
    await end(pool, by_email.id, mobile=MOBILE)

    await end(pool, by_slug.id)

    row = await read(pool, both.id)
    assert (row["status"], row["reused_from"], row["credits"]) == ("found", by_email.id, 0)
    assert await jobs(pool) == 0


async def test_a_retried_lookup_speaks_for_the_person_again(pool: Pool) -> None:
    """Who comes after a retry follows the retried lookup instead of asking beside it."""
    first = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="failed")
    await age(pool, first.id, 1)

    assert await promote(pool, first.id, POLICY, by_a_person=True)
    follower = await take_one(pool, work_email=EMAIL)

    assert (await read(pool, follower.id))["reused_from"] == first.id
    assert await jobs(pool) == 1


async def test_nobody_to_promote_is_no_mistake(pool: Pool) -> None:
    """A lookup that is not there, or has ended, is left alone."""
    ended = await take_one(pool, work_email=EMAIL)
    await end(pool, ended.id)

    assert not await promote(pool, UUID(int=7), POLICY)
    assert not await promote(pool, ended.id, POLICY)
    assert not await promote(pool, ended.id, POLICY, by_a_person=True)
