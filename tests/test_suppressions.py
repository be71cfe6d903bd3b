"""A suppressed person is never asked about, and a suppressed number is never given or stored."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from enrichment.outcome import Answered
from enrichment.suppression import Identifier, Kind, read_identifier
from enrichment.texts import Unusable
from store.callbacks import Callback, record_callbacks
from store.suppressions import end_waiting, list_suppressions, suppress, unsuppress
from tests.claims import take as claim
from tests.wishes import MOBILE, OTHER_MOBILE, POLICY, answer, apply, ending, job_of, read, status, take, take_one, wish

if TYPE_CHECKING:
    from tests.wishes import Pool

JANE = {"work_email": "jane@acme.co", "profile_url": "linkedin.com/in/janedoe"}
BOTH = ("leadmagic", "nyne")
EVERYTHING = ("lookups", "searches", "finished_jobs", "callbacks", "deliveries", "jobs")


async def forbid(pool: Pool, kind: Kind, text: str) -> int:
    """Suppress what a person typed, and return how many waiting lookups that ended."""
    identifiers = [read_identifier(kind, text)]
    await suppress(pool, identifiers, POLICY, None)
    return await end_waiting(pool, identifiers, POLICY)


async def follow(pool: Pool, *taken: Any) -> list[str]:
    """Let the lookups of ended searches follow, and return these lookups' statuses."""
    from store.endings import follow_ends
    from store.ends import unswept_searches

    await follow_ends(pool, await unswept_searches(pool, 100), POLICY)
    return [await status(pool, one.id) for one in taken]


async def is_stored(pool: Pool, text: str, tables: tuple[str, ...] = EVERYTHING) -> list[str]:
    """Return the tables with a row that contains *text*."""
    return [
        table for table in tables
        if await pool.fetchval(f"SELECT count(*) FROM {table} WHERE position($1 IN {table}::text) > 0", text)  # noqa: S608
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "typed", "other"),
    [
        ("email", "Jane <JANE@Acme.co>", "john@acme.co"),
        ("profile", "https://www.linkedin.com/in/JaneDoe/?trk=x", "john@acme.co"),
        ("domain", "@Acme.co", "jane@acme.com"),
        ("domain", "co", None),
    ],
)
async def test_a_suppressed_contact_ends_at_intake(pool: Pool, kind: Kind, typed: str, other: str | None) -> None:
    """It is stored, ends at once, and no question is asked; others are not affected."""
    if other is None:
        with pytest.raises(Unusable, match="one domain"):
            read_identifier(kind, typed)
        return
    await forbid(pool, kind, typed)

    jane = await take_one(pool, **JANE)
    john = await take_one(pool, work_email=other)

    told = await read(pool, jane.id)
    assert (jane.status, told["status"], told["reason"]) == ("suppressed", "suppressed", "suppressed")
    assert (told["finished_at"] is not None, told["reused_from"]) == (True, None)
    assert (john.status, await pool.fetchval("SELECT count(*) FROM jobs")) == ("queued", 1)


async def test_a_shared_mailbox_can_be_suppressed_as_well(pool: Pool) -> None:
    """A shared mailbox is no key, but a question would name it; so it would name a domain above the address's own."""
    await forbid(pool, "email", "info@acme.co")
    await forbid(pool, "domain", "other.co")

    one = await take_one(pool, profile_url="linkedin.com/in/janedoe", work_email="info@acme.co")
    two = await take_one(pool, work_email="jane@mail.other.co")

    assert (one.status, two.status) == ("suppressed", "suppressed")


async def test_nothing_is_learned_from_a_suppressed_contact(pool: Pool) -> None:
    """Its identifiers lead to no search, so that another contact's lookup is decided as if it had not come."""
    await forbid(pool, "email", "jane@acme.co")
    await take_one(pool, **JANE)

    other = await take_one(pool, profile_url="linkedin.com/in/janedoe", name="Jane Doe")

    assert other.status == "queued"
    assert await pool.fetchval("SELECT count(*) FROM searches") == 1


async def test_the_same_event_again_is_a_duplicate(pool: Pool) -> None:
    """A suppressed lookup is as final as any."""
    await forbid(pool, "email", "jane@acme.co")
    first = await take_one(pool, "evt-1", fingerprint="same", **JANE)

    again = await take_one(pool, "evt-1", fingerprint="same", **JANE)

    assert (again.id, again.status, again.duplicate) == (first.id, "suppressed", True)


async def test_a_lookup_that_waits_ends_when_its_contact_is_suppressed(pool: Pool) -> None:
    """Its job is dropped; a lookup of another contact that waited for the search asks a question of its own."""
    jane = await take_one(pool, providers=BOTH, **JANE)
    joined = await take_one(pool, providers=BOTH, profile_url="linkedin.com/in/janedoe")
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 1

    ended = await forbid(pool, "email", "jane@acme.co")

    assert (ended, await follow(pool, jane, joined)) == (1, ["suppressed", "queued"])
    job = await job_of(pool, joined.id)
    assert job is not None
    assert job["lookup_id"] == joined.id
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 1


async def test_one_that_joined_another_contacts_search_ends_alone(pool: Pool) -> None:
    """The question is about the other contact, who is not suppressed: it goes on."""
    first = await take_one(pool, profile_url="linkedin.com/in/janedoe")
    jane = await take_one(pool, **JANE)

    await forbid(pool, "email", "jane@acme.co")

    assert await follow(pool, first, jane) == ["queued", "suppressed"]


async def test_a_suppressed_question_is_not_claimed(db: Pool) -> None:
    """A lookup that commits beside the suppression ends at its claim: nothing is reserved, no provider is asked."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    joined = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe")
    await suppress(db, [read_identifier("domain", "acme.co")], POLICY, None)  # no sweep has looked yet

    claimed = await claim(db)

    assert (list(claimed.jobs), len(claimed.unswept)) == ([], 1)
    assert await follow(db, jane, joined) == ["suppressed", "queued"]
    assert (await db.fetchval("SELECT COALESCE(sum(reserved), 0) FROM usage")) == 0
    (asked,) = (await claim(db)).jobs
    assert asked.lookup_id == joined.id


async def test_the_answer_about_a_person_suppressed_meanwhile_is_not_kept(db: Pool) -> None:
    """The charge stands, the lookup is suppressed, no other provider is asked, and the number is nowhere."""
    jane = await take_one(db, providers=("nyne", "leadmagic"), **JANE)
    (job,) = (await claim(db)).jobs
    await forbid(db, "email", "jane@acme.co")
    assert await status(db, jane.id) == "running"

    await apply(db, answer(job.id, "callback", MOBILE, mobile_raw=MOBILE))

    told = await read(db, jane.id)
    assert (told["status"], told["reason"], told["mobile"], told["credits"]) == ("suppressed", "suppressed", None, 3)
    assert (await is_stored(db, MOBILE), await db.fetchval("SELECT count(*) FROM jobs")) == ([], 0)
    assert await db.fetchval("SELECT sum(charged) FROM usage") == 3


@pytest.mark.parametrize("state", ["failed", "unknown"])
async def test_a_bad_end_of_a_suppressed_question_asks_nobody_else(db: Pool, state: Any) -> None:
    """The chain of a search ends where its person is suppressed."""
    jane = await take_one(db, providers=("nyne", "leadmagic"), **JANE)
    (job,) = (await claim(db)).jobs
    await forbid(db, "email", "jane@acme.co")

    await apply(db, ending(job.id, state))

    assert (await status(db, jane.id), await db.fetchval("SELECT count(*) FROM jobs")) == ("suppressed", 0)


async def test_a_suppressed_number_is_bought_and_forgotten(db: Pool) -> None:
    """Its number is known only after the purchase: it is neither passed on nor stored, and the chain ends."""
    await forbid(db, "number", MOBILE)
    jane = await take_one(db, providers=("nyne", "leadmagic"), **JANE)
    (job,) = (await claim(db)).jobs

    await apply(db, answer(job.id, "inline", MOBILE, mobile_raw="+1-555-123-4567", raw="+1-555-123-4567"))

    told = await read(db, jane.id)
    assert (told["status"], told["mobile"], told["credits"]) == ("suppressed", None, 3)
    assert (await is_stored(db, MOBILE), await is_stored(db, "123-4567")) == ([], [])
    assert await db.fetchval("SELECT count(*) FROM jobs") == 0


async def test_who_comes_later_is_told_the_same_and_buys_nothing(db: Pool) -> None:
    """The number of this person was withheld: a second lookup does not buy it again."""
    await forbid(db, "number", MOBILE)
    await take_one(db, providers=("nyne",), **JANE)
    (job,) = (await claim(db)).jobs
    await apply(db, answer(job.id, "inline", MOBILE))

    later = await take_one(db, providers=("nyne",), **JANE)

    assert (later.status, await db.fetchval("SELECT count(*) FROM jobs")) == ("suppressed", 0)


async def test_other_numbers_are_given(db: Pool) -> None:
    """A suppression is of one number."""
    await forbid(db, "number", OTHER_MOBILE)
    jane = await take_one(db, providers=("nyne",), **JANE)
    (job,) = (await claim(db)).jobs

    await apply(db, answer(job.id, "inline", MOBILE))

    assert (await read(db, jane.id))["mobile"] == MOBILE


async def test_a_suppressed_number_of_an_earlier_search_is_not_reused(pool: Pool) -> None:
    """After the suppression, no lookup takes a number that was found before."""
    first = await take_one(pool, **JANE)
    job = await job_of(pool, first.id)
    assert job is not None
    await apply(pool, answer(job["id"], "inline", MOBILE))
    await forbid(pool, "number", MOBILE)

    later = await take_one(pool, **JANE)

    assert (later.status, (await read(pool, later.id))["mobile"]) == ("suppressed", None)


async def test_a_kept_text_that_a_region_makes_a_suppressed_number_is_not_given(pool: Pool) -> None:
    """The number is known only when the region is: it is checked then."""
    first = await take_one(pool, **JANE)
    job = await job_of(pool, first.id)
    assert job is not None
    await apply(pool, ending(job["id"], mobile_raw="0664 1234567", needs_region=True))
    await forbid(pool, "number", "+43 664 1234567")

    later = await take_one(pool, region="AT", **JANE)

    assert (later.status, (await read(pool, later.id))["mobile"]) == ("suppressed", None)


async def test_a_late_answer_is_checked_too(db: Pool) -> None:
    """The possible charge is settled, and the unresolved lookup becomes suppressed."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    (job,) = (await claim(db)).jobs
    await apply(db, ending(job.id, "unknown"))
    assert await status(db, jane.id) == "unresolved"
    await forbid(db, "number", MOBILE)

    await apply(db, answer(job.id, "callback", MOBILE, mobile_raw=MOBILE))

    told = await read(db, jane.id)
    assert (told["status"], told["mobile"], told["credits"]) == ("suppressed", None, 3)
    assert await is_stored(db, MOBILE) == []


async def test_a_late_answer_about_a_suppressed_person_stops_the_chain(db: Pool) -> None:
    """While the next provider's question is queued, a late suppressed number ends the search."""
    jane = await take_one(db, providers=("nyne", "leadmagic"), **JANE)
    (job,) = (await claim(db)).jobs
    await apply(db, ending(job.id, "unknown"))
    await forbid(db, "number", MOBILE)

    await apply(db, answer(job.id, "callback", MOBILE))

    assert (await status(db, jane.id), await db.fetchval("SELECT count(*) FROM jobs")) == ("suppressed", 0)


@pytest.mark.parametrize("kind", ["number", "email"])
async def test_a_callback_with_a_suppressed_number_is_stored_without_its_body(db: Pool, kind: Kind) -> None:
    """It is acknowledged and applied; a repetition is not stored either."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    (job,) = (await claim(db)).jobs
    await forbid(db, kind, MOBILE if kind == "number" else "jane@acme.co")
    callback = Callback("nyne", job.id, f'{{"mobile": "{MOBILE}"}}'.encode(), Answered(mobile=MOBILE), Decimal(3))
    other = Callback("nyne", job.id, f'{{"again": "{MOBILE}"}}'.encode(), Answered(mobile=MOBILE), Decimal(3))

    (first,) = await record_callbacks(db, [callback], POLICY, None)
    (again,) = await record_callbacks(db, [other], POLICY, None)

    assert (first.verdict, again.verdict, await status(db, jane.id)) == ("applied", "ignored", "suppressed")
    assert [row["body"] for row in await db.fetch("SELECT body FROM callbacks")] == [b"", b""]
    assert await is_stored(db, MOBILE) == []


async def test_a_webhook_hears_of_a_lookup_that_was_suppressed(pool: Pool) -> None:
    """A result and its deliveries are one commit, whatever the result."""
    from dataclasses import replace

    policy = replace(POLICY, channels=("webhook",))
    jane = await take_one(pool, **JANE)
    identifiers = [read_identifier("email", "jane@acme.co")]
    await suppress(pool, identifiers, policy, None)

    await end_waiting(pool, identifiers, policy)

    assert [row["lookup_id"] for row in await pool.fetch("SELECT lookup_id FROM deliveries")] == [jane.id]


async def test_a_suppression_is_listed_without_its_value_and_let_go(pool: Pool) -> None:
    """Only a hash is stored. A second suppression is the same; without it, the person may be asked about again."""
    (made,) = await suppress(pool, [read_identifier("email", "jane@acme.co")], POLICY, "asked by phone")
    (again,) = await suppress(pool, [read_identifier("email", "JANE@acme.co")], POLICY, None)
    assert (again.id, made.is_new, again.is_new) == (made.id, True, False)
    assert await is_stored(pool, "jane", ("suppressions",)) == []

    (listed,) = await list_suppressions(pool, before=None, limit=10)
    assert (listed.id, listed.kind, listed.note) == (made.id, "email", "asked by phone")

    assert (await unsuppress(pool, made.id), await unsuppress(pool, UUID(int=1))) == (True, False)
    assert (await take_one(pool, **JANE)).status == "queued"


async def test_many_waiting_lookups_end_chunk_by_chunk(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement looks at more than a few thousand open lookups."""
    monkeypatch.setattr("store.suppressions.SEEN_AT_ONCE", 3)
    monkeypatch.setattr("store.suppressions.ENDED_AT_ONCE", 2)
    taken = await take(pool, *(wish(work_email=f"p{n}@{'acme' if n % 2 else 'other'}.co") for n in range(10)))

    ended = await forbid(pool, "domain", "acme.co")

    assert ended == 5
    assert [await status(pool, one.id) for one in taken] == ["queued", "suppressed"] * 5


@pytest.mark.parametrize(
    ("kind", "text"),
    [("email", "acme.co"), ("email", "a@acme.co, b@acme.co"), ("email", ""), ("profile", "linkedin.com/company/acme"),
     ("domain", "https://acme.co/x"), ("number", "98"), ("number", "n/a")],
)  # fmt: skip
def test_what_cannot_be_suppressed_says_what_can(kind: Kind, text: str) -> None:
    """The message names the form that is wanted, and never repeats the value."""
    with pytest.raises(Unusable) as refused:
        read_identifier(kind, text)

    assert str(refused.value)
    assert not text or text not in str(refused.value)


def test_an_identifier_does_not_show_its_value() -> None:
    """Its repr may reach a log."""
    assert "jane" not in repr(Identifier("email", "jane@acme.co"))
