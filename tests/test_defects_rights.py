"""Ways in which an erased or suppressed person came back, or took others along: each was a defect."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress as suppress_errors
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from uuid_utils.compat import uuid7

from enrichment.outcome import Answered
from enrichment.selection import Wanted
from enrichment.suppression import Kind, read_identifier
from store import selections
from store.callbacks import Callback, record_callbacks
from store.endings import follow_ends
from store.erasure import erase_lookups, erase_person, erase_record
from store.lookups import retry
from store.pauses import Scope, add_pause
from store.suppressions import end_waiting, suppress
from submitter.selections import SelectionWorker
from tests.claims import take as claim
from tests.conftest import TOKEN
from tests.everywhere import where_is
from tests.test_erasure import JANE, arrive, erase
from tests.wishes import (
    MOBILE,
    OTHER_MOBILE,
    POLICY,
    apply,
    end,
    ending,
    job_of,
    read,
    status,
    take_one,
)

if TYPE_CHECKING:
    from tests.conftest import ClientWith, Start
    from tests.order import Order
    from tests.wishes import Pool


@pytest.mark.parametrize(
    ("kind", "text", "other"),
    [
        ("email", "ann@acme.co", {"email": "joann@acme.co"}),
        ("email", "ann@acme.co", {"email": "ann@acme.com"}),
        ("email", "ann@acme.co", {"email": "ann@acme.co.uk"}),
        ("profile", "linkedin.com/in/jan-doe", {"linkedin": "https://www.linkedin.com/in/jan-doerr"}),
        ("number", "+15551234567", {"email": "joe@acme.co", "id": "115551234567890"}),
    ],
)
async def test_who_only_looks_alike_is_left_alone(pool: Pool, kind: Kind, text: str, other: dict[str, Any]) -> None:
    """An address, a profile or a number that contains the erased one is another person's."""
    body = [other, {"email": "bob@acme.co"}]
    await arrive(pool, body, {"work_email": "other@acme.co"}, {"work_email": "bob@acme.co"})

    await erase(pool, kind, text)

    assert json.loads(await pool.fetchval("SELECT body FROM events")) == body


@pytest.mark.parametrize(
    "body",
    [
        rb'[{"email": "john@acme.co"}, {"url": "https:\/\/www.linkedin.com\/in\/jan\u00e9doe"}]',
        rb'[{"email": "john@acme.co"}, {"url": "https://www.linkedin.com/in/jan%C3%A9doe/"}]',
        '[{"email": "john@acme.co"}, {"url": "https://www.linkedin.com/in/JANÉdoe"}]'.encode(),
        rb'[{"email": "john@acme.co"}, {"mail": "jane\u002Bx\u0040acme.co"}]',
        rb'[{"email": "john@acme.co"}, {"link": "mailto:jane%2Bx%40acme.co"}]',
        rb'[{"email": "john@acme.co"}, {"text": "write to\njane+x@acme.co."}]',
    ],
)
async def test_whatever_way_a_body_writes_the_person(pool: Pool, body: bytes) -> None:
    """A body may escape slashes, letters and signs as JSON or in URLs: it is the same person."""
    await arrive(pool, [], {"work_email": "john@acme.co"})
    await pool.execute("UPDATE events SET body = $1", body)
    identifiers = [
        read_identifier("email", "jane+x@acme.co"),
        read_identifier("profile", "linkedin.com/in/jan%C3%A9doe"),
    ]

    await erase_person(pool, POLICY, identifiers)

    assert json.loads(await pool.fetchval("SELECT body FROM events")) == [{"email": "john@acme.co"}]


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_later_callback_of_a_shared_question_is_not_stored(db: Pool, is_lost: bool) -> None:
    """The question was about the erased person as well: its answer counts, late or not, and its body may name them."""
    await take_one(db, providers=("nyne",), **JANE)
    other = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe")
    (job,) = (await claim(db)).jobs
    if is_lost:
        await apply(db, ending(job.id, "lost"))
    await erase(db, "email", "jane@acme.co")

    body = json.dumps({"email": "jane@acme.co", "mobile": OTHER_MOBILE}).encode()
    await record_callbacks(
        db, [Callback("nyne", job.id, body, Answered(mobile=OTHER_MOBILE), Decimal(3))], POLICY, None
    )

    assert (await read(db, other.id))["mobile"] == OTHER_MOBILE
    assert await where_is(db, ["jane@acme.co"]) == []


async def test_who_has_the_number_of_a_shared_search_keeps_the_search(db: Pool) -> None:
    """The number was paid for, and another record has it: the next event of the same profile takes it."""
    await take_one(db, providers=("nyne",), **JANE)
    other = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe")
    await end(db, other.id, mobile=MOBILE)

    await erase(db, "email", "jane@acme.co")

    again = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe")
    assert (await status(db, other.id), again.status) == ("found", "found")
    assert (await read(db, other.id))["credits"] == 5
    assert await where_is(db, ["jane@acme.co", "Jane Q. Doe"]) == []


async def test_a_wrong_number_of_a_shared_search_is_not_bought_again(db: Pool) -> None:
    """The provider that gave it would give it again, and be paid again."""
    await take_one(db, providers=("nyne",), **JANE)
    other = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe")
    await end(db, other.id, mobile=MOBILE)
    await erase(db, "email", "jane@acme.co")

    await retry(db, other.id, POLICY, wrong_number=True)

    assert (await status(db, other.id), await job_of(db, other.id)) == ("not_found", None)


async def test_a_name_that_another_search_inherited_goes_too(db: Pool) -> None:
    """A search of the same profile takes over the facts of earlier ones, names of third contacts included."""
    shared = {"work_email": "jane@acme.co", "profile_url": "linkedin.com/in/janedoe"}
    first = await take_one(db, providers=("nyne",), **shared)
    jane = await take_one(db, providers=("nyne",), work_email="jane@acme.co", name="Jane Q. Doe")
    assert (await read(db, jane.id))["search_id"] == (await read(db, first.id))["search_id"]
    await end(db, first.id)
    second = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe", personal_email="j@doe.org")
    assert await db.fetchval("SELECT names FROM searches WHERE begun_for = $1", second.id) == ["Jane Q. Doe"]
    await erase_lookups(db, POLICY, [jane.id])

    assert await where_is(db, ["Jane Q. Doe"]) == []


async def test_a_search_that_no_key_leads_to_goes_with_its_lookup(db: Pool) -> None:
    """A key forgets settled searches past every window; their names and numbers are the person's all the same."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    await end(db, jane.id, mobile=MOBILE)
    await db.execute("UPDATE keys SET searches = '{}'")
    await db.execute("UPDATE lookups SET search_id = gen_random_uuid()")

    await erase(db, "email", "jane@acme.co")

    assert await where_is(db, ["Jane Q. Doe", MOBILE]) == []


async def test_a_suppressed_person_gets_no_late_number(db: Pool) -> None:
    """A failed lookup of a person suppressed since then does not take the number of another contact's search."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    await end(db, jane.id, state="failed")
    other = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe")
    identifiers = [read_identifier("email", "jane@acme.co")]
    await suppress(db, identifiers, POLICY, None)
    await end_waiting(db, identifiers, POLICY)

    await end(db, other.id, mobile=MOBILE)

    assert (await status(db, other.id), await status(db, jane.id)) == ("found", "failed")


async def test_a_suppressed_person_who_joined_late_gets_no_number(db: Pool) -> None:
    """An event that was being stored while its person was suppressed joined another contact's search."""
    other = await take_one(db, providers=("nyne",), profile_url="linkedin.com/in/janedoe")
    jane = await take_one(db, providers=("nyne",), **JANE)
    await suppress(db, [read_identifier("email", "jane@acme.co")], POLICY, None)

    await end(db, other.id, mobile=MOBILE)

    assert (await status(db, other.id), await status(db, jane.id)) == ("found", "suppressed")


async def test_words_of_people_about_the_person_go_too(db: Pool) -> None:
    """The note of a suppression, the reason of a pause and the filter of a selection are typed by people."""
    await suppress(db, [read_identifier("domain", "x.org")], POLICY, "asked for by Jane@acme.co")
    await db.execute(
        "INSERT INTO selections (id, who, action, filter) VALUES (gen_random_uuid(), 'me', 'retry', $1)",
        json.dumps({"reason": "jane@acme.co"}),
    )
    async with db.acquire() as connection, connection.transaction():
        await add_pause(connection, Scope(source="hubspot"), reason="jane@acme.co complained", who="me")
    await arrive(db, [], JANE)

    await erase(db, "email", "jane@acme.co")

    assert await where_is(db, ["jane@acme.co"]) == []


async def test_an_erasure_does_not_wait_for_a_selection(db: Pool, order: Order) -> None:
    """A worker that has taken an item waits for locks that the erasure has: one of both would be given up."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    selection = await selections.create(db, Wanted(action="cancel"), "me")
    await db.execute("INSERT INTO selected (selection_id, item_id) VALUES ($1, $2)", selection, jane.id)
    async with order.first() as first:
        await first.execute("SELECT FROM selected FOR UPDATE")
        async with asyncio.timeout(10):
            await erase(db, "email", "jane@acme.co")

    assert await where_is(db, ["jane@acme.co"]) == []


@pytest.mark.parametrize("note", ["\ud800", "jane\udfff"])
async def test_a_note_that_cannot_be_stored_is_refused(client_with: ClientWith, note: str) -> None:
    """JSON may have half of a surrogate pair; PostgreSQL has no such text."""
    client = await client_with(api_tokens=f"ann:operate:{TOKEN}")

    answer = await client.post("/v1/suppressions", {"email": "jane@acme.co", "note": note})

    assert (answer.status, [one["path"] for one in answer.json()["errors"]]) == (422, ["note"])


@pytest.mark.parametrize("moment", ["1970-01-01T00:00:00+14:00", "9998-12-31T23:59:59-23:59"])
async def test_a_time_that_another_zone_moves_out_of_reach_is_refused(client_with: ClientWith, moment: str) -> None:
    """A time that its zone moves out of range was stored in UTC and could never be read again."""
    client = await client_with(api_tokens=f"ann:operate:{TOKEN}")

    answer = await client.post("/v1/selections", {"action": "retry", "filter": {"since": moment}})

    assert (answer.status, [one["path"] for one in answer.json()["errors"]]) == (422, ["filter.since"])


async def test_a_selection_that_fails_keeps_no_other_waiting(start: Start) -> None:
    """The worker goes on with the next ones the next time."""
    async with start() as world:
        ids = [await selections.create(world.pool, Wanted(action="retry"), "me") for _ in range(4)]
        await world.pool.execute(
            'UPDATE selections SET filter = \'{"since": "x"}\' WHERE id = ANY($1::uuid[])', ids[:3]
        )
        worker = SelectionWorker(world.process, lambda: None)

        for _ in range(4):
            with suppress_errors(ValueError):
                await worker.work_on_selections()

        last = await selections.find(world.pool, ids[3])
        assert last is not None
        assert last.state == "previewed"


async def test_a_record_that_became_no_lookup_is_taken_out_of_what_a_workflow_sent(pool: Pool) -> None:
    """A privacy deletion names an id and no more; the body that named it has the address. Other sources' ids differ."""
    sent = [{"record_id": 7, "email": "jane@acme.co"}, {"record_id": "77", "email": "john@acme.co"}]
    other = [{"record_id": "7", "email": "bob@acme.co"}]
    for source, body in (("hubspot", sent), ("generic", other)):
        await pool.execute(
            "INSERT INTO events (id, source, body) VALUES ($1, $2, $3)", uuid7(), source, json.dumps(body).encode()
        )

    erased = await erase_record(pool, POLICY, "hubspot", "7")

    assert erased.events == 1
    bodies = [json.loads(row["body"]) for row in await pool.fetch("SELECT body FROM events ORDER BY id")]
    assert bodies == [[sent[1]], other]


async def test_who_was_handed_a_search_and_is_suppressed_is_not_asked_about(db: Pool) -> None:
    """The next question of a search whose first lookup was erased is about another contact."""
    both = ("nyne", "leadmagic")
    await take_one(db, providers=both, **JANE)
    heir = await take_one(db, providers=both, profile_url="linkedin.com/in/janedoe", personal_email="j@doe.org")
    (job,) = (await claim(db)).jobs
    await erase(db, "email", "jane@acme.co")
    identifiers = [read_identifier("email", "j@doe.org")]
    await suppress(db, identifiers, POLICY, None)
    await end_waiting(db, identifiers, POLICY)
    await apply(db, ending(job.id))

    claimed = await claim(db, "leadmagic")
    await follow_ends(db, claimed.unswept, POLICY)

    assert (list(claimed.jobs), await status(db, heir.id)) == ([], "suppressed")


async def test_an_erasure_that_others_always_overtake_is_to_be_sent_again(
    client_with: ClientWith, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is idempotent, and nothing is broken: 503 with Retry-After."""
    monkeypatch.setattr("store.erased_rows.TRIES", 0)
    client = await client_with(api_tokens=f"ann:admin:{TOKEN}")
    await take_one(pool, **JANE)

    answer = await client.delete("/v1/people?email=jane@acme.co")

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
