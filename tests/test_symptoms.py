"""Defects that the model (test_model.py) found, each named after the user's symptom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from enrichment.contact import Contact
from enrichment.ending import Ending
from enrichment.outcome import Answered, Outcome, Retry, Unreadable
from store.claim import ClaimedJob
from store.lookups import retry
from submitter.outcomes import JobOutcome
from tests.at_work import BOTH, NO_LIMITS, AtWork, at_work
from tests.factories import finished_job, job, lookup, search_of
from tests.wishes import MOBILE, POLICY, apply, end, end_job, ending, job_of, jobs, read, status, take_one

if TYPE_CHECKING:
    from tests.conftest import MakeSettings

    Pool: TypeAlias = asyncpg.Pool[Any]

EMAIL = "jane@acme.co"


@pytest.fixture
async def world(make_settings: MakeSettings, database_url: str) -> AsyncIterator[AtWork]:
    """A process whose providers are never called."""
    async with at_work(make_settings(database_url=database_url, **NO_LIMITS), database_url) as working:
        yield working


async def answer_late(pool: Pool, finished: asyncpg.Record, mobile: str | None = None) -> None:
    """A job that was over is answered all the same."""
    charged = Decimal(5 if mobile else 0)
    await apply(
        pool, Ending(job_id=finished["id"], state="answered", answered_by="inline", mobile=mobile, charged=charged)
    )


async def tell(world: AtWork, asked: asyncpg.Record, outcome: Outcome) -> None:
    """The submitter that had this job writes down what came of it."""
    claimed = ClaimedJob(
        asked["id"], asked["search_id"], asked["lookup_id"], asked["attempt"], 0, Contact(work_email=EMAIL), 0.0
    )
    await world.writer.write([JobOutcome(world.process.providers[asked["provider"]], claimed, outcome, b"{}")])


@pytest.mark.parametrize(
    ("other", "ends", "reason"),
    [
        ("answered", "not_found", None),
        ("failed", "failed", "nyne: it refused"),
        ("lost", "unresolved", "nyne: forgotten"),
    ],
)
async def test_a_lookup_stayed_unresolved_when_everybody_had_answered(
    pool: Pool, other: str, ends: str, reason: str | None
) -> None:
    """A late "no number" removes the doubt: the lookup ends as if it had come in time."""
    row = await lookup(pool, providers=["leadmagic", "nyne"], final_status="unresolved", reason="leadmagic: no answer")
    doubted = await finished_job(pool, "unknown", provider="leadmagic", lookup_id=row["id"], error="no answer")
    error = reason and reason.removeprefix("nyne: ")
    await finished_job(pool, other, provider="nyne", lookup_id=row["id"], error=error)
    await pool.execute("UPDATE searches SET reason = concat_ws('; ', 'leadmagic: no answer', $1::text)", reason)

    await answer_late(pool, doubted)

    told = await read(pool, row["id"])
    assert (told["status"], (await search_of(pool, row["id"]))["reason"]) == (ends, reason)
    assert ends == "unresolved" or told["reason"] == reason


async def test_a_lookup_became_unresolved_after_its_doubt_was_gone(pool: Pool) -> None:
    """A "no number" that comes while the next provider is being asked leaves no doubt behind."""
    taken = await take_one(pool, work_email=EMAIL, providers=("leadmagic", "nyne"))
    await end_job(pool, taken.id, state="unknown")
    doubted = await pool.fetchrow("SELECT * FROM finished_jobs")

    assert doubted is not None
    await answer_late(pool, doubted)
    await end(pool, taken.id)

    assert await status(pool, taken.id) == "not_found"


async def test_a_retried_lookup_is_judged_by_the_last_words(pool: Pool) -> None:
    """Outcomes from before a person's retry do not count against the new question."""
    row = await lookup(pool, providers=["leadmagic", "nyne"], final_status="unresolved")
    doubted = await finished_job(pool, "unknown", provider="leadmagic", lookup_id=row["id"])
    await finished_job(pool, "unknown", provider="nyne", lookup_id=row["id"])
    assert await retry(pool, row["id"], POLICY)

    await answer_late(pool, doubted)
    await end(pool, row["id"])
    assert await status(pool, row["id"]) == "running"
    await end(pool, row["id"])

    assert await status(pool, row["id"]) == "not_found"


async def test_a_lookup_that_was_found_was_asked_about_again(world: AtWork) -> None:
    """A late number, then a 503 of the next provider: no provider is asked again for a number that is there."""
    row = await lookup(world.pool, providers=["leadmagic", "nyne"])
    doubted = await finished_job(world.pool, "unknown", provider="leadmagic", lookup_id=row["id"])
    asked = await job(world.pool, "submitting", lookup_id=row["id"], place=1)

    await answer_late(world.pool, doubted, MOBILE)
    await tell(world, asked, Retry("HTTP 503"))

    told = await read(world.pool, row["id"])
    assert (told["status"], told["credits"]) == ("found", 5)
    assert await jobs(world.pool) == 0
    assert await world.pool.fetchval("SELECT sum(reserved) FROM usage WHERE provider = 'nyne'") == 0


async def test_an_answer_nobody_could_read_was_paid_for_twice(world: AtWork) -> None:
    """The answer may have been charged, so the next event for the person takes its end instead of asking again."""
    first = await take_one(world.pool, work_email=EMAIL, providers=("leadmagic",))
    await world.pool.execute(
        "UPDATE jobs SET state = 'submitting', attempt = 1, submitted_at = now(), reserved = 5, "
        "reserved_on = current_date, lease_expires_at = now() + $1::interval",
        timedelta(hours=1),
    )
    asked = await job_of(world.pool, first.id)
    assert asked is not None
    await tell(world, asked, Unreadable("a 200 that is no answer"))

    second = await take_one(world.pool, work_email=EMAIL, providers=("leadmagic",))

    assert (second.status, await jobs(world.pool)) == ("unresolved", 0)
    assert await world.pool.fetchval("SELECT possible FROM finished_jobs") == 5


async def test_retrying_all_lookups_of_a_person_paid_for_each(pool: Pool) -> None:
    """A second retried lookup of the person waits for the search of the first, which is being asked."""
    first = await take_one(pool, work_email=EMAIL)
    second = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="unknown")

    assert await retry(pool, first.id, POLICY)
    assert await retry(pool, second.id, POLICY)
    assert await jobs(pool) == 1
    await end(pool, first.id, mobile=MOBILE)

    assert await status(pool, second.id) == "found"


async def test_a_lookup_retried_beside_one_that_shared_its_search_paid_twice(pool: Pool) -> None:
    """The other way round as well: the search that is open is waited for."""
    first = await take_one(pool, work_email=EMAIL)
    second = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="unknown")

    assert await retry(pool, second.id, POLICY)
    assert await retry(pool, first.id, POLICY)

    assert await jobs(pool) == 1
    assert (await read(pool, first.id))["reused_from"] == second.id
    await end(pool, second.id, mobile=MOBILE)
    told = await read(pool, first.id)
    assert (told["status"], told["mobile"], told["credits"]) == ("found", MOBILE, 0)


async def test_what_cost_something_keeps_its_price_when_it_is_retried(pool: Pool) -> None:
    """A lookup that was charged for may take the answer of another one's search: then it shows both."""
    first = await take_one(pool, work_email=EMAIL, providers=BOTH)
    second = await take_one(pool, work_email=EMAIL, providers=BOTH)
    job = await job_of(pool, first.id)
    assert job is not None
    await apply(pool, ending(job["id"], charged=Decimal(5)))
    await end(pool, first.id, state="unknown")

    assert await retry(pool, second.id, POLICY)
    assert await retry(pool, first.id, POLICY)

    await end(pool, second.id, mobile=MOBILE)

    told = await read(pool, first.id)
    assert (told["status"], told["reused_from"], told["credits"]) == ("found", second.id, 5)


async def test_whoever_took_an_end_never_heard_of_the_number(pool: Pool) -> None:
    """A lookup that took "unresolved" as its answer gets the number when a person retries the lookup it came from."""
    first = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="unknown")
    taker = await take_one(pool, work_email=EMAIL)
    assert taker.status == "unresolved"

    assert await retry(pool, first.id, POLICY)
    assert await status(pool, taker.id) == "unresolved"  # only the lookup that was named is reopened
    await end(pool, first.id, mobile=MOBILE)

    assert await status(pool, taker.id) == "found"


async def test_a_failure_hid_what_was_said_before(pool: Pool) -> None:
    """A lookup that brought more asked again and failed: the next event hears the "no number"."""
    first = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id)
    more = await take_one(pool, work_email=EMAIL, profile_url="linkedin.com/in/janedoe")
    await end(pool, more.id, state="failed")
    again = await take_one(pool, work_email=EMAIL, profile_url="linkedin.com/in/janedoe")
    await end(pool, again.id, state="failed")

    third = await take_one(pool, work_email=EMAIL)

    told = await read(pool, third.id)
    assert (told["status"], told["reused_from"], told["reason"]) == ("not_found", first.id, None)
    assert await jobs(pool) == 0


async def test_a_doubt_was_paid_for_again_by_a_lookup_that_brings_more(pool: Pool) -> None:
    """An unknown outcome may have been paid for, even for a contact with more identifiers: only a person asks again."""
    first = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="unknown")

    more = await take_one(pool, work_email=EMAIL, profile_url="linkedin.com/in/janedoe")

    assert (more.status, await jobs(pool)) == ("unresolved", 0)
    assert await retry(pool, more.id, POLICY)
    assert await jobs(pool) == 1


async def test_others_stayed_in_doubt_when_their_search_did_not(pool: Pool) -> None:
    """A late "no number" is for all lookups of the search."""
    first = await take_one(pool, work_email=EMAIL)
    other = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="unknown")
    assert await status(pool, other.id) == "unresolved"

    doubted = await pool.fetchrow("SELECT * FROM finished_jobs")
    assert doubted is not None
    await answer_late(pool, doubted)

    assert [await status(pool, one.id) for one in (first, other)] == ["not_found", "not_found"]


async def test_a_late_number_is_read_once(world: AtWork) -> None:
    """The same late answer again, from a submitter that did not hear of its first commit, changes nothing."""
    row = await lookup(world.pool, providers=["leadmagic"], final_status="unresolved")
    doubted = await finished_job(world.pool, "unknown", provider="leadmagic", lookup_id=row["id"])

    for _ in range(2):
        await tell(world, doubted, Answered("+1-555-123-4567", Decimal(5)))

    told = await read(world.pool, row["id"])
    assert (told["status"], told["credits"]) == ("found", 5)
