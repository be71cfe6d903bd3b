"""An erased person is nowhere afterwards; the sums of the ledger stay, and other people's lookups go on."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from uuid_utils.compat import uuid7

from enrichment.contact import Contact
from enrichment.outcome import Answered
from enrichment.suppression import Kind, read_identifier
from enrichment.wish import Wish
from store.callbacks import Callback, record_callbacks
from store.erasure import erase_lookups, erase_person, erase_record, preview_erasure
from store.intake import Event, ingest
from tests import factories
from tests.claims import take as claim
from tests.everywhere import where_is
from tests.wishes import (
    MOBILE,
    OTHER_MOBILE,
    POLICY,
    answer,
    apply,
    ending,
    job_of,
    jobs,
    read,
    status,
    take_one,
)

if TYPE_CHECKING:
    from store.erasure import Erased
    from tests.wishes import Pool

WITH_WEBHOOK = replace(POLICY, channels=("webhook",))
JANE: dict[str, Any] = {
    "work_email": "jane@acme.co", "profile_url": "linkedin.com/in/janedoe", "name": "Jane Q. Doe",
}  # fmt: skip
VALUES = ("jane@acme.co", "janedoe", "Jane Q. Doe", MOBILE, MOBILE.removeprefix("+"))


async def erase(pool: Pool, kind: Kind, text: str, **options: Any) -> Erased:
    """Erase a person by values as a person types them."""
    return await erase_person(pool, POLICY, [read_identifier(kind, text)], **options)


async def sums(pool: Pool) -> list[tuple[Any, ...]]:
    """Return what the ledger adds up to, by kind; and the days' sums."""
    ledger = await pool.fetch("SELECT kind, sum(credits) FROM ledger GROUP BY kind ORDER BY kind")
    usage = await pool.fetch("SELECT sum(reserved), sum(charged), sum(possible) FROM usage")
    return [tuple(row) for row in [*ledger, *usage]]


async def arrive(pool: Pool, body: dict[str, Any] | list[Any], *contacts: dict[str, Any], source: str = "generic",
                 providers: tuple[str, ...] = ("nyne",)) -> list[UUID]:  # fmt: skip
    """Let one event with these contacts come; return their lookups."""
    wishes = tuple(
        Wish(Contact(**{k: v for k, v in one.items() if k != "record_id"}), providers, record_id=one.get("record_id"),
             event_id=f"evt-{uuid7()}")
        for one in contacts
    )  # fmt: skip
    (taken,) = await ingest(pool, [Event(source, json.dumps(body).encode(), wishes)], WITH_WEBHOOK)
    return [one.id for one in taken]


async def full_history(pool: Pool) -> list[UUID]:
    """Let Jane be everywhere: found by a callback, with deliveries, a reading, a selection, an error and raw bodies."""
    (jane,) = await arrive(pool, [{"email": "Jane@Acme.co"}], {**JANE, "record_id": "7"}, source="hubspot")
    (job,) = (await claim(pool)).jobs
    body = json.dumps({"email": "jane@acme.co", "mobile": MOBILE}).encode()
    await record_callbacks(
        pool, [Callback("nyne", job.id, body, Answered(mobile=MOBILE), Decimal(3))], WITH_WEBHOOK, None
    )
    assert await status(pool, jane) == "found"
    (again,) = await arrive(pool, [{"email": "jane@acme.co", "name": "Jane Q. Doe"}], JANE)
    await pool.execute("UPDATE deliveries SET answer = 'hello jane@acme.co', error = 'no janedoe'")
    await pool.execute("UPDATE finished_jobs SET raw = 'jane@acme.co', error = 'about Jane Q. Doe'")
    await pool.execute(
        """
        INSERT INTO readings (id, source, record_id, state, named_by, ended_at, lookup_id, error)
        VALUES ($1, 'hubspot', '7', 'done', 'event', now(), $2, 'jane@acme.co')
        """,
        uuid7(),
        jane,
    )
    selection = uuid7()
    await pool.execute("INSERT INTO selections (id, who, action, filter) VALUES ($1, 'me', 'erase', '{}')", selection)
    await pool.execute("INSERT INTO selected (selection_id, item_id) VALUES ($1, $2)", selection, jane)
    return [jane, again]


async def test_nothing_of_a_person_is_left(db: Pool) -> None:
    """Every column of every table is searched for the values; the sums of the ledger are as before."""
    lookups = await full_history(db)
    before = await sums(db)
    assert {place.partition(".")[0] for place in await where_is(db, VALUES)} >= {
        "lookups", "events", "callbacks", "deliveries", "finished_jobs", "searches", "readings",
    }  # fmt: skip

    erased = await erase(db, "email", "Jane@acme.co")

    assert await where_is(db, [*VALUES, *map(str, lookups)]) == [f"ledger.lookup_id: {lookups[0]}"]
    assert (erased.lookups, erased.events, erased.numbers, erased.deliveries, erased.readings) == (2, 2, 1, 2, 1)
    assert (erased.jobs, erased.callbacks, erased.searches) == (1, 1, 1)
    assert await sums(db) == before
    for table in ("lookups", "searches", "finished_jobs", "keys", "fingerprints", "selected", "readings"):
        assert (table, await db.fetchval(f"SELECT count(*) FROM {table}")) == (table, 0)  # noqa: S608


async def test_a_preview_counts_what_would_go(db: Pool) -> None:
    """Nothing is changed by looking, and the erasure does what the preview said."""
    await full_history(db)
    identifiers = [read_identifier("profile", "linkedin.com/in/janedoe")]

    would = await preview_erasure(db, identifiers)
    done = await erase_person(db, POLICY, identifiers)

    assert (would.lookups, would.events, would.numbers) == (done.lookups, done.events, done.numbers) == (2, 2, 1)


async def test_erasing_again_finds_nothing(db: Pool) -> None:
    """It is idempotent: that is how an interrupted one is resumed."""
    await full_history(db)
    await erase(db, "number", MOBILE)

    again = await erase(db, "number", MOBILE)

    assert set(again.counts().values()) == {0}
    assert await where_is(db, VALUES) == []


async def test_others_of_an_event_keep_their_part_of_its_body(pool: Pool) -> None:
    """The contact is taken out of the JSON; the others stay as they were sent."""
    john = {"work_email": "john@acme.co", "name": "John Roe"}
    body = {"event_id": "e", "contacts": [{"email": "JANE@acme.co", "id": 1.50}, {"email": "john@acme.co", "id": 2}]}
    await arrive(pool, body, JANE, john)

    await erase(pool, "email", "jane@acme.co")

    (left,) = await pool.fetch("SELECT body FROM events")
    assert json.loads(left["body"]) == {"event_id": "e", "contacts": [{"email": "john@acme.co", "id": 2}]}
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 1


async def test_a_body_in_which_the_person_cannot_be_found_is_emptied(pool: Pool) -> None:
    """A body without readable contacts is emptied: it might name the person."""
    john = {"work_email": "john@acme.co"}
    await arrive(pool, [{"x": {"m": "j.a.n.e at acme"}}, {"email": "john@acme.co"}], JANE, john)

    await erase(pool, "email", "jane@acme.co")

    assert await pool.fetchval("SELECT body FROM events") == b""


async def test_an_event_that_only_repeats_a_person_is_searched_too(pool: Pool) -> None:
    """A duplicate, or a contact that was refused, has no lookup, and is in the body all the same."""
    body = [{"email": "john@acme.co"}, {"email": "jane@acme.co", "providers": ["nobody"]}]
    await arrive(pool, body, {"work_email": "john@acme.co"})

    erased = await erase(pool, "email", "jane@acme.co")

    assert (erased.lookups, erased.events) == (0, 1)
    assert json.loads(await pool.fetchval("SELECT body FROM events")) == [{"email": "john@acme.co"}]


async def test_a_question_that_was_not_asked_is_dropped(db: Pool) -> None:
    """The job goes with the lookup, and nothing was reserved."""
    await take_one(db, providers=("nyne",), **JANE)

    await erase(db, "email", "jane@acme.co")

    assert (await jobs(db), list((await claim(db)).jobs), await sums(db)) == (0, [], [(None, None, None)])


async def test_a_question_under_way_was_perhaps_charged(db: Pool) -> None:
    """Its reservation becomes a possible charge; its late callback is answered, and not stored."""
    await take_one(db, providers=("nyne",), **JANE)
    (job,) = (await claim(db)).jobs

    await erase(db, "email", "jane@acme.co")

    assert await sums(db) == [("possible", 3), (0, 0, 3)]
    callback = Callback("nyne", job.id, b'{"mobile": "+15551234567"}', Answered(mobile=MOBILE), Decimal(3))
    (receipt,) = await record_callbacks(db, [callback], POLICY, None)
    assert (receipt.verdict, receipt.lookup_id, await db.fetchval("SELECT count(*) FROM callbacks")) == (
        "ignored", None, 0,
    )  # fmt: skip
    assert await where_is(db, VALUES) == []
    assert await apply(db, answer(job.id, "inline"))  # the submitter comes too late as well, and changes nothing
    assert await sums(db) == [("possible", 3), (0, 0, 3)]


async def test_a_callback_of_a_job_that_is_unknown_but_not_erased_is_stored(pool: Pool) -> None:
    """Only a tombstone silences a callback."""
    callback = Callback("nyne", uuid7(), b"{}", Answered(mobile=None), Decimal(3))

    await record_callbacks(pool, [callback], POLICY, None)

    assert await pool.fetchval("SELECT count(*) FROM callbacks") == 1


async def test_who_shares_a_queued_search_asks_a_question_of_its_own(db: Pool) -> None:
    """The queued question was about the erased person's identifiers; the other lookup's are its own."""
    await take_one(db, providers=("nyne",), **JANE)
    other = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe", name="Jane Doe")

    await erase(db, "email", "jane@acme.co")

    job = await job_of(db, other.id)
    assert job is not None
    assert (job["lookup_id"], await jobs(db), await status(db, other.id)) == (other.id, 1, "queued")
    assert await where_is(db, ["jane@acme.co", "Jane Q. Doe"]) == []


async def test_who_shares_a_search_under_way_gets_its_answer(db: Pool) -> None:
    """The search goes on without the erased person's identifiers, names and lookup."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    other = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe", name="Jane Doe")
    (job,) = (await claim(db)).jobs

    await erase(db, "email", "jane@acme.co")

    assert await where_is(db, ["jane@acme.co", "Jane Q. Doe", str(jane.id)]) == []
    search = await factories.search_of(db, other.id)
    assert (search["begun_for"], search["names"], len(search["asked"])) == (other.id, ["Jane Doe"], 1)
    body = json.dumps({"mobile": OTHER_MOBILE}).encode()
    await record_callbacks(
        db, [Callback("nyne", job.id, body, Answered(mobile=OTHER_MOBILE), Decimal(3))], POLICY, None
    )
    told = await read(db, other.id)
    assert (told["mobile"], told["reused_from"], told["credits"]) == (OTHER_MOBILE, None, 3)


async def test_who_shares_an_answered_search_keeps_what_it_covers(db: Pool) -> None:
    """ "No number" for the shared profile is not bought a second time; the e-mail's coverage is forgotten."""
    await take_one(db, providers=("nyne",), **JANE)
    other = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe")
    (job,) = (await claim(db)).jobs
    await apply(db, ending(job.id, error="vendor says jane@acme.co is unknown", raw="jane@acme.co"))
    assert await status(db, other.id) == "not_found"

    await erase(db, "email", "jane@acme.co")

    assert await where_is(db, ["jane@acme.co", "Jane Q. Doe"]) == []
    assert (await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe")).status == "not_found"
    assert (await take_one(db, providers=("nyne",), **JANE)).status == "queued"


async def test_nothing_further_is_inferred(pool: Pool) -> None:
    """A lookup that shares only the profile is not erased by the e-mail."""
    await take_one(pool, **JANE)
    other = await take_one(pool, profile_url="linkedin.com/in/janedoe")

    assert (await erase(pool, "email", "jane@acme.co")).lookups == 1
    assert await status(pool, other.id) == "queued"


async def test_a_number_that_was_called_wrong_is_forgotten(db: Pool) -> None:
    """It stood at the search and at lookups that refused it, and was the erased person's."""
    await take_one(db, providers=("nyne",), **JANE)
    other = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe")
    (job,) = (await claim(db)).jobs
    await apply(db, answer(job.id, "callback", MOBILE))
    from store.lookups import retry

    assert await retry(db, other.id, POLICY, wrong_number=True)

    await erase(db, "email", "jane@acme.co")

    assert await where_is(db, [MOBILE]) == []


async def test_an_erasure_may_suppress_as_well(pool: Pool) -> None:
    """The person's lookups are gone, and the next event of theirs ends at once."""
    await take_one(pool, **JANE)

    erased = await erase(pool, "email", "jane@acme.co", suppressing=True, note="asked by mail")

    assert (erased.lookups, erased.suppressions) == (1, 1)
    assert (await take_one(pool, **JANE)).status == "suppressed"


async def test_a_crm_record_leads_to_the_person(db: Pool) -> None:
    """A CRM's privacy deletion erases its lookups, and others with the same e-mail or profile; shared mailboxes do not
    count, and a reading that is under way stays for its submitter.
    """
    await arrive(db, {}, {**JANE, "personal_email": "info@acme.co", "record_id": "7"}, source="hubspot")
    same = await take_one(db, work_email="jane@acme.co")
    other = await take_one(db, work_email="info@acme.co", name="Somebody Else", company="Acme")
    await db.execute(
        """
        INSERT INTO readings (id, source, record_id, state, named_by, erases, lookup_id, lease_expires_at)
        SELECT $1, 'hubspot', '7', 'reading', 'event', true, id, now() FROM lookups WHERE record_id = '7'
        """,
        uuid7(),
    )

    erased = await erase_record(db, POLICY, "hubspot", "7", suppressing=True)

    assert (erased.lookups, erased.suppressions) == (2, 2)
    assert await db.fetchval("SELECT count(*) FROM lookups WHERE id = $1", same.id) == 0
    assert await status(db, other.id) == "queued"
    assert await db.fetchval("SELECT lookup_id IS NULL FROM readings") is True
    assert set((await erase_record(db, POLICY, "hubspot", "8")).counts().values()) == {0}


async def test_given_lookups_are_erased_and_no_others(pool: Pool) -> None:
    """A selection erases exactly what was previewed."""
    one = await take_one(pool, **JANE)
    other = await take_one(pool, **JANE)

    erased = await erase_lookups(pool, POLICY, [one.id, uuid7()])

    assert erased.lookups == 1
    assert await status(pool, other.id) == "queued"
    job = await job_of(pool, other.id)
    assert job is not None
    assert job["lookup_id"] == other.id


async def test_a_shared_address_stays_shared(pool: Pool) -> None:
    """Without the mark, two people with that address would be taken for one. It is a hash and a flag."""
    await take_one(pool, work_email="bothofus@acme.co", name="Jane Doe")
    await take_one(pool, work_email="bothofus@acme.co", name="John Roe")
    assert await pool.fetchval("SELECT count(*) FROM keys WHERE shared") == 1

    await erase(pool, "email", "bothofus@acme.co")

    assert await pool.fetchval("SELECT count(*) FROM keys WHERE shared") == 1
    assert await where_is(pool, ["bothofus@acme.co", "John Roe"]) == []


async def test_a_large_history_is_read_in_bounded_statements(pool: Pool, monkeypatch: Any) -> None:
    """Lookups, events and chunks are walked in the order of their ids."""
    for name in ("LOOKED_AT", "BODIES_AT_ONCE", "ERASED_AT_ONCE"):
        monkeypatch.setattr(f"store.erasure.{name}", 2)
    for number in range(7):
        await arrive(pool, {"email": "jane@acme.co"}, JANE if number % 2 else {"work_email": f"p{number}@acme.co"})

    erased = await erase(pool, "email", "jane@acme.co")

    assert (erased.lookups, await pool.fetchval("SELECT count(*) FROM lookups")) == (3, 4)
    assert await where_is(pool, VALUES) == []
