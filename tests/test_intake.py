"""Events become lookups and first jobs: each event once, each person once, a batch as a whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from store.intake import ingest
from tests.wishes import MOBILE, POLICY, age, end, event, job_of, jobs, read, status, take, take_one, wish

if TYPE_CHECKING:
    from tests.wishes import Pool

JANE = "linkedin.com/in/janedoe"
EMAIL = "jane@acme.co"


async def test_an_event_is_a_lookup_with_its_first_job(pool: Pool) -> None:
    """The wish, its chain of providers and its first question are written with the event."""
    taken = await take_one(pool, work_email=EMAIL, name="Jane", region="US", providers=("leadmagic", "nyne"))

    row, job = await read(pool, taken.id), await job_of(pool, taken.id)
    assert (taken.status, taken.duplicate, row["status"]) == ("queued", False, "queued")
    assert (row["work_email"], row["name"], row["region_hint"]) == (EMAIL, "Jane", "US")
    assert row["providers"] == ["leadmagic", "nyne"]
    assert job is not None
    assert (job["provider"], job["todo"], job["state"], job["attempt"]) == ("leadmagic", ["nyne"], "queued", 0)
    assert await pool.fetchval("SELECT body FROM events WHERE id = $1", row["event_id"]) == b"{}"


async def test_the_same_event_again_is_the_same_lookup(pool: Pool) -> None:
    """An event that comes again makes nothing, and tells how its lookup is now."""
    first = await take_one(pool, "evt-1", work_email=EMAIL)
    again = await take_one(pool, "evt-1", work_email=EMAIL)
    await end(pool, first.id, mobile=MOBILE)
    later = await take_one(pool, "evt-1", work_email=EMAIL)

    assert (again.id, again.status, again.duplicate) == (first.id, "queued", True)
    assert (later.id, later.status, later.duplicate) == (first.id, "found", True)
    assert await pool.fetchval("SELECT count(*) FROM events") == 1


async def test_the_same_event_twice_in_one_batch(pool: Pool) -> None:
    """Within a batch, too, the second is the duplicate of the first."""
    first, again = await take(pool, wish("evt-1", work_email=EMAIL), wish("evt-1", work_email=EMAIL))

    assert (again.id, again.duplicate) == (first.id, True)
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 1


async def test_the_same_id_with_another_contact_is_another_event(pool: Pool) -> None:
    """An event is a duplicate by its id and its content as read; each content has its own fingerprint."""
    first = await take_one(pool, "evt-1", work_email=EMAIL, fingerprint="jane")
    other = await take_one(pool, "evt-1", work_email="other@acme.co", fingerprint="other")
    again = await take_one(pool, "evt-1", work_email=EMAIL, fingerprint="jane")

    assert (other.duplicate, await jobs(pool)) == (False, 2)
    assert (again.id, again.duplicate) == (first.id, True)


async def test_another_event_for_the_person_waits_for_the_same_search(pool: Pool) -> None:
    """It has a lookup of its own, for its own record, without a question, and ends as the first one ends."""
    first = await take_one(pool, work_email=EMAIL)
    second = await take_one(pool, work_email=EMAIL)
    assert (second.status, second.duplicate, await jobs(pool)) == ("queued", False, 1)

    await end(pool, first.id, mobile=MOBILE)

    row = await read(pool, second.id)
    assert (row["status"], row["mobile"], row["provider"]) == ("found", MOBILE, "leadmagic")
    assert (row["reused_from"], row["credits"]) == (first.id, 0)
    assert (await read(pool, first.id))["credits"] == 5


async def test_one_person_twice_in_one_batch_is_asked_for_once(pool: Pool) -> None:
    """The second of a batch waits for the search of the first."""
    first, second, third = await take(pool, *(wish(work_email=EMAIL) for _ in range(3)))

    assert await jobs(pool) == 1
    assert [(await read(pool, taken.id))["reused_from"] for taken in (second, third)] == [first.id] * 2
    await end(pool, first.id)
    assert [await status(pool, taken.id) for taken in (first, second, third)] == ["not_found"] * 3


async def test_identifiers_lead_to_one_person_step_by_step(pool: Pool) -> None:
    """Slug and e-mail together make later events by either of them the same person."""
    both = await take_one(pool, profile_url=JANE, work_email=EMAIL)
    by_slug = await take_one(pool, profile_url=JANE)
    by_email = await take_one(pool, personal_email=EMAIL)

    rows = [await read(pool, taken.id) for taken in (by_slug, by_email)]
    assert [row["reused_from"] for row in rows] == [both.id] * 2
    assert await jobs(pool) == 1


async def test_a_key_that_another_contact_brought_carries_nothing(pool: Pool) -> None:
    """The e-mail beside a slug does not make a contact with only that e-mail the person of that search."""
    by_slug = await take_one(pool, profile_url=JANE)
    both = await take_one(pool, profile_url=JANE, work_email=EMAIL)
    by_email = await take_one(pool, work_email=EMAIL)

    rows = [await read(pool, taken.id) for taken in (both, by_email)]
    assert [row["reused_from"] for row in rows] == [by_slug.id, None]
    assert await jobs(pool) == 2


async def test_a_lookup_that_knows_both_waits_for_one_search_after_the_other(pool: Pool) -> None:
    """Slug and e-mail were asked for apart; a contact with both takes the first number that comes."""
    by_slug = await take_one(pool, profile_url=JANE)
    by_email = await take_one(pool, work_email=EMAIL)
    both = await take_one(pool, profile_url=JANE, work_email=EMAIL)

    assert (await read(pool, both.id))["reused_from"] == by_email.id
    await end(pool, by_email.id)
    row = await read(pool, both.id)
    assert (row["status"], row["reused_from"]) == ("queued", by_slug.id)
    await end(pool, by_slug.id, mobile=MOBILE)
    assert await status(pool, both.id) == "found"


@pytest.mark.parametrize(
    ("mobile", "days", "expected"),
    [(MOBILE, 89, "found"), (MOBILE, 91, "queued"), (None, 29, "not_found"), (None, 31, "queued")],
)
async def test_an_answer_is_taken_again_within_its_window(
    pool: Pool, mobile: str | None, days: float, expected: str
) -> None:
    """Within the window the answer is there at once, for free; after it the person is asked for again."""
    first = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, mobile=mobile)
    await age(pool, first.id, days)

    second = await take_one(pool, work_email=EMAIL)

    row = await read(pool, second.id)
    reused = expected != "queued"
    assert (second.status, row["status"], row["mobile"]) == (expected, expected, mobile if reused else None)
    assert (row["reused_from"], row["credits"]) == (first.id if reused else None, 0)
    assert await jobs(pool) == (0 if reused else 1)


async def test_a_doubtful_end_is_reused_not_asked_again(pool: Pool) -> None:
    """The first outcome is unknown: asking again automatically might pay twice."""
    first = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="unknown")

    second = await take_one(pool, work_email=EMAIL)

    row = await read(pool, second.id)
    assert (row["status"], row["reused_from"]) == ("unresolved", first.id)
    assert await jobs(pool) == 0


async def test_a_failure_is_asked_again(pool: Pool) -> None:
    """A provider that refused was not paid, and may have changed its mind."""
    first = await take_one(pool, work_email=EMAIL)
    await end(pool, first.id, state="failed")

    second = await take_one(pool, work_email=EMAIL)

    assert (await read(pool, second.id))["reused_from"] is None
    assert await jobs(pool) == 1


async def test_after_an_old_answer_the_newest_search_counts(pool: Pool) -> None:
    """A new search replaces an answer that is too old: the next event waits for the new search."""
    old = await take_one(pool, work_email=EMAIL)
    await end(pool, old.id)
    await age(pool, old.id, 31)
    new = await take_one(pool, work_email=EMAIL)

    next_one = await take_one(pool, work_email=EMAIL)

    assert (await read(pool, next_one.id))["reused_from"] == new.id


async def test_a_name_alone_is_a_person_with_the_company(pool: Pool) -> None:
    """Without a strong identifier the same name at the same company is the same person; with one it is not."""
    first = await take_one(pool, name="Jane Doe", company="Acme", providers=("nyne",))
    same = await take_one(pool, name="jane doe", company="ACME", providers=("nyne",))
    elsewhere = await take_one(pool, name="Jane Doe", company="Other", providers=("nyne",))
    known = await take_one(pool, name="Jane Doe", company="Acme", work_email=EMAIL, providers=("nyne",))

    begun_for = [(await read(pool, taken.id))["reused_from"] for taken in (first, same, elsewhere, known)]
    assert begun_for == [None, first.id, None, None]


async def test_keys_hold_no_personal_data(pool: Pool) -> None:
    """Only hashes outlive the lookups."""
    await take_one(pool, work_email=EMAIL, name="Jane Doe")

    keys = [row["key"] for row in await pool.fetch("SELECT key FROM keys")]

    assert len(keys) == 2
    assert all(len(key) == 16 and b"jane" not in key.lower() for key in keys)


async def test_all_contacts_of_an_event_are_stored_or_none(pool: Pool) -> None:
    """One row that the database refuses takes its whole event back, and leaves no key behind."""
    bad = event(wish("evt-1", work_email=EMAIL), wish("evt-2", company="Acme"))

    with pytest.raises(asyncpg.CheckViolationError, match="a_contact_has_an_identifier"):
        await ingest(pool, [bad], POLICY)

    counts = await pool.fetchrow(
        "SELECT (SELECT count(*) FROM lookups), (SELECT count(*) FROM events), "
        "(SELECT count(*) FROM keys), (SELECT count(*) FROM fingerprints), (SELECT count(*) FROM searches)"
    )
    assert counts is not None
    assert tuple(counts) == (0, 0, 0, 0, 0)


async def test_the_fates_are_in_the_order_of_the_wishes(pool: Pool) -> None:
    """Every event gets its own lookups back, whatever else its batch holds."""
    known = await take_one(pool, "evt-0", work_email="known@acme.co")
    batch = [
        event(wish("evt-1", work_email="a@acme.co"), wish("evt-0", work_email="known@acme.co")),
        event(wish("evt-2", work_email="b@acme.co")),
    ]

    fates = await ingest(pool, batch, POLICY)

    emails = [[(await read(pool, taken.id))["work_email"] for taken in event] for event in fates]
    assert emails == [["a@acme.co", "known@acme.co"], ["b@acme.co"]]
    assert fates[0][1].id == known.id


async def test_a_large_batch_is_one_commit(pool: Pool) -> None:
    """Hundreds of events are one transaction, and every lookup is there after it."""
    taken = await take(pool, *(wish(work_email=f"{number % 200}@acme.co") for number in range(400)))

    assert len({one.id for one in taken}) == 400
    assert await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM lookups") == 1
    assert await jobs(pool) == 200


async def test_many_batches_at_once_ask_for_each_person_once(pool: Pool) -> None:
    """However events are spread over processes, a person leads to one question."""
    batches = [
        [wish(f"evt-{number}-{batch % 2}", work_email=f"{number}@acme.co") for number in range(20)]
        for batch in range(6)
    ]
    for number, batch in enumerate(batches):
        batch.sort(key=lambda one: one.event_id or "", reverse=number % 2 == 0)

    fates = await asyncio.gather(*(take(pool, *batch) for batch in batches))

    assert await jobs(pool) == 20
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 40
    assert sum(taken.duplicate for batch in fates for taken in batch) == 80
