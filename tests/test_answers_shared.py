"""Lookups after the first answer: late numbers, unneeded questions, and contacts that are one person or two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from enrichment.decide import ASKED_OFTEN, MOST_SEARCHES, NOBODY_LEFT
from store.endings import follow_ends
from store.ends import unswept_searches
from store.lookups import cancel, retry
from store.sweep import pass_over_removed
from tests.wishes import (
    MOBILE,
    OTHER_MOBILE,
    POLICY,
    age,
    answer,
    apply,
    end,
    ending,
    job_of,
    jobs,
    read,
    searches,
    statuses,
    take,
    take_one,
    wish,
)

if TYPE_CHECKING:
    from tests.wishes import Pool

JANE = "linkedin.com/in/jane"
BOB = "linkedin.com/in/bob"
EMAIL, OTHER = "jane@acme.co", "jane@mail.co"
BOTH = ("leadmagic", "nyne")


# Late numbers


async def answer_late(pool: Pool, job_id: UUID, mobile: str | None = MOBILE) -> None:
    """Answer a job that is over."""
    await apply(pool, ending(job_id, mobile=mobile, answered_by="callback"))


async def test_a_late_number_reaches_a_retried_lookup(pool: Pool) -> None:
    """It was retried, and the new question is on its way: the number is given, the question is waited for."""
    taken = await take_one(pool, work_email=EMAIL)
    job_id = await end(pool, taken.id, state="unknown")
    assert await retry(pool, taken.id, POLICY)

    await answer_late(pool, job_id)

    assert (await read(pool, taken.id))["mobile"] == MOBILE
    assert await jobs(pool) == 0  # not asked yet


async def test_a_late_number_drops_a_newer_search_that_nobody_asked(pool: Pool) -> None:
    """Its first lookup takes the number, so the question is not asked."""
    taken = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    job_id = await end(pool, taken.id, state="unknown")
    newer = await take_one(pool, work_email=EMAIL, providers=BOTH)
    assert await jobs(pool) == 1  # LeadMagic's

    await answer_late(pool, job_id)

    assert await statuses(pool, [taken, newer]) == ["found", "found"]
    assert await jobs(pool) == 0
    assert await unswept_searches(pool, 10) == []


async def test_a_late_number_leaves_a_question_in_flight(pool: Pool) -> None:
    """It was asked already: its answer is booked, and every lookup has the first number."""
    taken = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    job_id = await end(pool, taken.id, state="unknown")
    newer = await take_one(pool, work_email=EMAIL, providers=BOTH)
    await pool.execute(
        """
        UPDATE jobs
           SET state = 'submitting', attempt = 1, submitted_at = now(), reserved_on = current_date,
               lease_expires_at = now() + interval '1 minute'
        """
    )

    await answer_late(pool, job_id)

    assert await statuses(pool, [taken, newer]) == ["found", "found"]
    asked = await pool.fetchval("SELECT id FROM jobs")
    await apply(pool, answer(asked, "inline", OTHER_MOBILE))
    assert [(await read(pool, one.id))["mobile"] for one in (taken, newer)] == [MOBILE, MOBILE]
    assert await jobs(pool) == 0


async def test_a_late_number_does_not_replace_one_found_elsewhere(pool: Pool) -> None:
    """A lookup that found its number by another provider keeps it; the others take the late one."""
    taken = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    job_id = await end(pool, taken.id, state="unknown")
    newer = await take_one(pool, work_email=EMAIL, providers=BOTH)
    await end(pool, newer.id, mobile=OTHER_MOBILE)

    await answer_late(pool, job_id)

    assert [(await read(pool, one.id))["mobile"] for one in (taken, newer)] == [MOBILE, OTHER_MOBILE]


@pytest.mark.parametrize(("days", "given"), [(29, True), (31, False)])
async def test_a_late_number_reaches_not_found_within_its_window(pool: Pool, days: int, given: bool) -> None:
    """A lookup that ended without a number long ago stays as it is."""
    taken = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    job_id = await end(pool, taken.id, state="unknown")
    other = await take_one(pool, work_email=EMAIL, personal_email=OTHER, providers=BOTH)
    await end(pool, other.id)
    await pool.execute("UPDATE lookups SET final_status = 'not_found' WHERE id = $1", other.id)
    await age(pool, other.id, days)

    await answer_late(pool, job_id)

    assert ((await read(pool, other.id))["mobile"] == MOBILE) is given


async def test_a_late_number_leaves_cancelled_ones_cancelled(pool: Pool) -> None:
    """A cancelled lookup stays cancelled."""
    taken = await take(pool, wish(work_email=EMAIL), wish(work_email=EMAIL))
    job_id = await end(pool, taken[0].id, state="unknown")
    assert await cancel(pool, taken[1].id, POLICY)

    await answer_late(pool, job_id)

    assert await statuses(pool, taken) == ["found", "cancelled"]


async def test_a_late_number_is_not_hearsay(pool: Pool) -> None:
    """A late number reaches no lookup without a key of the searched contact, even if a third contact connects them."""
    asked = await take_one(pool, profile_url=JANE)
    joined = await take_one(pool, profile_url=JANE, work_email=EMAIL)
    job_id = await end(pool, asked.id, state="unknown")
    apart = await take_one(pool, work_email=EMAIL)
    while job := await job_of(pool, apart.id):
        await apply(pool, ending(job["id"]))

    await answer_late(pool, job_id)

    assert [(await read(pool, one.id))["mobile"] for one in (asked, joined, apart)] == [MOBILE, MOBILE, None]


async def test_a_late_no_number_ends_the_doubt(pool: Pool) -> None:
    """All lookups that ended unresolved become not_found, as if the answer had come in time."""
    taken = await take(pool, wish(work_email=EMAIL), wish(work_email=EMAIL))
    job_id = await end(pool, taken[0].id, state="unknown")
    assert await statuses(pool, taken) == ["unresolved"] * 2

    await answer_late(pool, job_id, None)

    assert await statuses(pool, taken) == ["not_found"] * 2


# What is not asked


async def test_a_search_without_an_open_lookup_is_not_asked(pool: Pool) -> None:
    """When its last lookup is cancelled, the question is dropped; while another waits, it is not."""
    one, two = await take(pool, wish(work_email=EMAIL), wish(work_email=EMAIL))

    assert await cancel(pool, one.id, POLICY)
    assert await jobs(pool) == 1
    assert await cancel(pool, two.id, POLICY)

    assert await jobs(pool) == 0
    assert (await pool.fetchval("SELECT status::text FROM searches")) == "dropped"


async def test_a_search_was_asked_for_lookups_that_had_found_their_number_elsewhere(pool: Pool) -> None:
    """A number of another search reaches the last lookup that waited: the question is dropped."""
    first_one = await take_one(pool, work_email=EMAIL)
    by_other = await take_one(pool, work_email=OTHER)
    both = await take_one(pool, work_email=EMAIL, personal_email=OTHER)
    waits_for = {one.id: (await read(pool, one.id))["search_id"] for one in (first_one, by_other, both)}
    joined, elsewhere = (by_other, first_one) if waits_for[both.id] == waits_for[by_other.id] else (first_one, by_other)
    assert await cancel(pool, joined.id, POLICY)

    await end(pool, elsewhere.id, mobile=MOBILE)

    assert (await read(pool, both.id))["mobile"] == MOBILE
    assert await jobs(pool) == 0
    assert await unswept_searches(pool, 10) == []


async def test_the_next_provider_was_asked_though_nobody_waited_any_more(pool: Pool) -> None:
    """The lookups found their number elsewhere while the first provider was asked: the second is not asked."""
    taken = await take_one(pool, work_email=EMAIL, providers=BOTH)
    job = await job_of(pool, taken.id)
    assert job is not None
    await pool.execute("UPDATE lookups SET final_status = 'cancelled', finished_at = now() WHERE id = $1", taken.id)

    await apply(pool, ending(job["id"]))

    search = await pool.fetchrow("SELECT status::text, providers, unswept FROM searches")
    assert search is not None
    assert tuple(search) == ("not_found", ["leadmagic"], False)  # it does not speak for Nyne
    assert await jobs(pool) == 0
    assert (await take_one(pool, work_email=EMAIL, providers=BOTH)).status == "queued"


async def test_a_late_number_of_a_search_long_past_reached_another_person(pool: Pool) -> None:
    """While a search may still be answered, it is not forgotten: a contact that contradicts it shares the address."""
    jane = await take_one(pool, work_email=EMAIL, name="Jane Doe")
    job_id = await end(pool, jane.id, state="lost")
    await age(pool, jane.id, 100)
    await take_one(pool, profile_url=BOB)
    await take_one(pool, profile_url=BOB, work_email=EMAIL)  # leads the address to another search
    bob = await take_one(pool, work_email=EMAIL, name="Bob Ray")

    await answer_late(pool, job_id)

    assert (await read(pool, jane.id))["mobile"] == MOBILE
    assert (await read(pool, bob.id))["mobile"] is None


async def test_a_number_that_was_called_wrong_is_not_bought_again(pool: Pool) -> None:
    """Its provider is not asked for more identifiers of the same person either; another one is."""
    taken = await take_one(pool, work_email=EMAIL)
    await end(pool, taken.id, mobile=MOBILE)
    assert await retry(pool, taken.id, POLICY, wrong_number=True)

    more = await take_one(pool, work_email=EMAIL, profile_url=JANE)
    by_nyne = await take_one(pool, work_email=EMAIL, profile_url=JANE, providers=BOTH)

    assert [(await read(pool, one.id))["reason"] for one in (taken, more)] == [NOBODY_LEFT] * 2
    job = await job_of(pool, by_nyne.id)
    assert job is not None
    assert (job["provider"], job["todo"]) == ("nyne", [])


async def test_six_searches_are_enough(pool: Pool) -> None:
    """Contacts with ever more identifiers are asked about six times, and then end with that reason until a retry."""
    taken = []
    for number in range(MOST_SEARCHES + 1):
        taken.append(await take_one(pool, profile_url=JANE, work_email=f"{number}@acme.co"))
        if await job_of(pool, taken[-1].id):
            await end(pool, taken[-1].id)

    assert await searches(pool) == MOST_SEARCHES
    last = await read(pool, taken[-1].id)
    assert (last["status"], last["reason"]) == ("not_found", ASKED_OFTEN)


async def test_a_kept_number_is_read_when_a_region_comes(pool: Pool) -> None:
    """A national number without a region is kept; a later event's region reads it, and no provider is asked again."""
    taken = await take_one(pool, work_email=EMAIL)
    job = await job_of(pool, taken.id)
    assert job is not None
    await apply(pool, answer(job["id"], "inline", None, mobile_raw="07400 123456", needs_region=True))
    first = await read(pool, taken.id)
    assert (first["status"], first["mobile"], first["mobile_raw"]) == ("not_found", None, "07400 123456")

    with_region = await take_one(pool, work_email=EMAIL, region="GB")
    await follow_ends(pool, await unswept_searches(pool, 10), POLICY)

    rows = [await read(pool, one.id) for one in (taken, with_region)]
    assert [(row["status"], row["mobile"], row["region"]) for row in rows] == [("found", "+447400123456", "GB")] * 2
    assert (await searches(pool), await jobs(pool)) == (1, 0)


async def test_a_paid_answer_was_dropped_beside_a_text_that_could_not_be_read(pool: Pool) -> None:
    """The first provider's text is kept, the second one's number is given: no CHECK refuses it."""
    taken = await take_one(pool, work_email=EMAIL, providers=BOTH)
    by_leadmagic = await job_of(pool, taken.id)
    assert by_leadmagic is not None
    await apply(pool, answer(by_leadmagic["id"], "inline", None, mobile_raw="07400 123456", needs_region=True))

    await end(pool, taken.id, mobile=OTHER_MOBILE)

    row = await read(pool, taken.id)
    assert (row["status"], row["mobile"], row["provider"]) == ("found", OTHER_MOBILE, "nyne")


# Who is whom


@pytest.mark.parametrize("shared", ["info@acme.co", "team-jane@acme.co"])
async def test_two_people_were_merged_through_a_shared_mailbox(pool: Pool, shared: str) -> None:
    """Jane's number goes to no contact of Bob's, nor on through third contacts."""
    jane = await take_one(pool, profile_url=JANE, work_email=shared)
    await end(pool, jane.id, mobile=MOBILE)
    bob = await take_one(pool, profile_url=BOB, work_email=shared)
    bob_again = await take_one(pool, profile_url=BOB, work_email="bob@acme.co")
    bob_by_mail = await take_one(pool, work_email="bob@acme.co")

    assert [(await read(pool, one.id))["mobile"] for one in (bob, bob_again, bob_by_mail)] == [None] * 3
    await end(pool, bob.id, mobile=OTHER_MOBILE)
    mobiles = [(await read(pool, one.id))["mobile"] for one in (jane, bob, bob_again)]
    assert mobiles == [MOBILE, OTHER_MOBILE, OTHER_MOBILE]
    assert (await read(pool, bob_by_mail.id))["mobile"] != MOBILE
    box = await take_one(pool, work_email=shared)
    assert (await read(pool, box.id))["mobile"] is None


async def test_a_contradiction_while_a_search_is_open_parts_those_who_wait(pool: Pool) -> None:
    """The address stops being a key: the searched contact keeps the number, the others are decided anew."""
    by_box = await take_one(pool, work_email="team@x.co", name="Jane Doe")
    also = await take_one(pool, work_email="team@x.co")
    bob = await take_one(pool, work_email="team@x.co", name="Bob Ray")

    await end(pool, by_box.id, mobile=MOBILE)

    assert [(await read(pool, one.id))["mobile"] for one in (by_box, also, bob)] == [MOBILE, None, None]
    assert await statuses(pool, [also, bob]) == ["queued", "queued"]
    assert await jobs(pool) == 2


async def test_a_provider_that_was_removed_strands_nobody(pool: Pool) -> None:
    """A lookup that only the removed provider could answer ends; others go on with their next provider."""
    alone = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    more = await take_one(pool, work_email=OTHER, providers=("nyne", "leadmagic"))
    without = replace(POLICY, providers=("leadmagic",))

    assert await pass_over_removed(pool, without.providers, 10) == 2
    await follow_ends(pool, await unswept_searches(pool, 10), without)

    job = await job_of(pool, more.id)
    assert await statuses(pool, [alone, more]) == ["failed", "queued"]
    assert job is not None
    assert job["provider"] == "leadmagic"
