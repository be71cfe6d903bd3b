"""Events that come again are the same lookup; others about the same person cost nothing while the answer is fresh."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from tests.asgi import Client
from tests.factories import finished_job, lookup
from tests.receiving import EVENT, lookups, stored
from tests.wishes import age

if TYPE_CHECKING:
    from tests.conftest import ClientWith
    from tests.wishes import Pool

# Again


async def test_the_same_event_again_is_a_duplicate(client: Client, pool: Pool) -> None:
    """The same source, event_id and content, however it is written, is the same lookup."""
    (made,) = lookups(await client.post("/events/generic", EVENT))
    (met,) = lookups(await client.post("/events/generic", EVENT | {"work_email": "<Jane@ACME.co>", "note": "again"}))

    assert met == made | {"duplicate": True}
    assert await stored(pool) == (1, 1, 1)


@pytest.mark.parametrize(
    "change", [{"name": "Ann Lee"}, {"work_email": "ann@acme.co"}, {"record_id": "crm-9"}, {"providers": ["nyne"]}]
)
async def test_the_same_id_with_other_content_is_another_event(client: Client, change: dict[str, Any]) -> None:
    """An id used twice loses no contact: another person, record or order is another event.

    Mnexa-AI/e2a#516, dubinc/dub#3799 (HubSpot's eventId is not guaranteed to be unique).
    """
    (first,) = lookups(await client.post("/events/generic", EVENT))
    (second,) = lookups(await client.post("/events/generic", EVENT | change))

    assert not second["duplicate"]
    assert second["id"] != first["id"]


@pytest.mark.parametrize("id", ["undefined", "null", "{{event.id}}", "", "  ", None, False, "NaN", "[object Object]"])
async def test_a_word_for_no_id_is_no_id(client: Client, id: Any) -> None:
    """Events whose id was never filled in differ by record and content. PostHog/posthog-js#34."""
    ann = {"event_id": id, "record_id": "a", "profile_url": "linkedin.com/in/ann-lee"}
    bob = {"event_id": id, "record_id": "b", "profile_url": "linkedin.com/in/bob-ray"}

    (first,) = lookups(await client.post("/events/generic", ann))
    (second,) = lookups(await client.post("/events/generic", bob))
    (again,) = lookups(await client.post("/events/generic", ann | {"event_id": None}))

    assert not second["duplicate"]
    assert again == first | {"duplicate": True}


async def test_the_order_of_the_contacts_makes_no_other_event(client: Client) -> None:
    """The same contacts in another order are answered with their own lookups. muxinc/mux-node-sdk#83."""
    ann, bob = {"work_email": "ann@acme.co"}, {"work_email": "bob@acme.co"}

    first = lookups(await client.post("/events/generic", {"event_id": "e", "contacts": [ann, bob]}))
    second = lookups(await client.post("/events/generic", {"event_id": "e", "contacts": [bob, ann]}))

    assert [one["id"] for one in second] == [one["id"] for one in reversed(first)]
    assert all(one["duplicate"] for one in second)


async def test_one_person_in_two_records_of_one_event_is_two_lookups(client: Client) -> None:
    """Both records of the CRM wait for a number, even if their contacts and the event's id are the same."""
    contacts = [{"record_id": record, "work_email": "ann@acme.co"} for record in ("a", "b")]

    first, second = lookups(await client.post("/events/generic", {"event_id": "e", "contacts": contacts}))

    assert first["id"] != second["id"]
    assert not second["duplicate"]


async def test_without_event_id_the_content_decides(client: Client, pool: Pool) -> None:
    """The same record with the same content, however it is written, is the same lookup."""
    first = {"record_id": "crm-1", "work_email": "Jane@Acme.co", "profile_url": "https://www.linkedin.com/in/JaneDoe/"}
    again = {"profile_url": "linkedin.com/in/janedoe", "work_email": "jane@acme.co ", "record_id": "crm-1", "x": 1}

    (made,) = lookups(await client.post("/events/generic", first))
    (met,) = lookups(await client.post("/events/generic", again))

    assert met == made | {"duplicate": True}
    assert await stored(pool) == (1, 1, 1)


@pytest.mark.parametrize(
    "change",
    [{"record_id": "crm-2"}, {"name": "Jane D."}, {"region": "DE"}, {"providers": ["nyne"]}, {"event_id": "evt-2"}],
)
async def test_another_record_or_content_is_another_lookup(client: Client, pool: Pool, change: dict[str, Any]) -> None:
    """Another record, content or id is a lookup of its own, which waits for the first one's search."""
    event = {"record_id": "crm-1", "work_email": "jane@acme.co", "name": "Jane Doe"}

    (first,) = lookups(await client.post("/events/generic", event))
    (second,) = lookups(await client.post("/events/generic", event | change))

    assert not second["duplicate"]
    assert second["id"] != first["id"]
    assert await pool.fetchval("SELECT reused_from::text FROM lookups WHERE id = $1", second["id"]) == first["id"]
    assert await stored(pool) == (2, 2, 1)


async def test_sources_do_not_share_event_ids(client: Client) -> None:
    """evt-1 of the API is not evt-1 of a CRM."""
    await client.post("/events/generic", EVENT)
    (other,) = lookups(await client.post("/v1/lookups", EVENT))

    assert not other["duplicate"]


async def test_a_duplicate_in_the_same_body(client: Client, pool: Pool) -> None:
    """The second of two equal contacts in one event is a duplicate of the first."""
    made, met, other = lookups(await client.post("/events/generic", {"contacts": [EVENT, EVENT, {"name": "Bob Lee"}]}))

    assert met == made | {"duplicate": True}
    assert not other["duplicate"]
    assert await stored(pool) == (1, 2, 2)


async def test_the_same_event_at_the_same_instant(client: Client, pool: Pool) -> None:
    """Twenty copies of one event at once are one lookup, and each answer names it."""
    answers = await asyncio.gather(*(client.post("/events/generic", EVENT) for _ in range(20)))

    made = [lookups(answer)[0] for answer in answers]
    assert len({one["id"] for one in made}) == 1
    assert [one["duplicate"] for one in made].count(False) == 1
    assert await stored(pool) == (1, 1, 1)


async def test_the_same_event_at_two_receivers_at_once(client_with: ClientWith, pool: Pool) -> None:
    """Two processes that get one event at the same instant make one lookup of it."""
    one, other = await client_with(), await client_with()
    answers = await asyncio.gather(*((one, other)[n % 2].post("/events/generic", EVENT) for n in range(20)))

    assert len({lookups(answer)[0]["id"] for answer in answers}) == 1
    assert await stored(pool) == (1, 1, 1)


async def test_one_person_at_two_receivers_at_once_is_asked_for_once(client_with: ClientWith, pool: Pool) -> None:
    """Different events for one person, at two processes at the same instant, cost one question."""
    one, other = await client_with(), await client_with()
    events = [{"event_id": f"e{n}", "record_id": f"r{n}", "work_email": "jane@acme.co"} for n in range(20)]
    answers = await asyncio.gather(*((one, other)[n % 2].post("/events/generic", e) for n, e in enumerate(events)))

    assert len({lookups(answer)[0]["id"] for answer in answers}) == 20
    assert await stored(pool) == (20, 20, 1)


# One person, one charge


async def answered_no(pool: Pool) -> UUID:
    """Jane's number was asked for by her e-mail; no provider has it."""
    row = await lookup(pool, work_email="jane@acme.co", final_status="not_found")
    for provider, by in (("leadmagic", "inline"), ("nyne", "callback")):
        await finished_job(pool, lookup_id=row["id"], provider=provider, answered_by=by)
    id: UUID = row["id"]
    return id


async def test_a_number_found_lately_is_taken_again_for_free(client: Client, pool: Pool) -> None:
    """Within REUSE_FOUND_DAYS, another event for the person ends at once with the number, for no credits."""
    first = await lookup(pool, work_email="jane@acme.co", final_status="found")

    (made,) = lookups(await client.post("/events/generic", {"work_email": "Jane@Acme.co", "record_id": "crm-9"}))

    assert made["status"] == "found"
    shown = (await client.get(f"/v1/lookups/{made['id']}")).json()
    assert shown["mobile"] == "+15551234567"
    assert shown["credits"] == 0
    assert shown["reused_from"] == str(first["id"])
    assert shown["record_id"] == "crm-9"
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 0


async def test_an_old_number_is_looked_up_anew(client: Client, pool: Pool) -> None:
    """After REUSE_FOUND_DAYS the person is asked for again."""
    first = await lookup(pool, work_email="jane@acme.co", final_status="found")
    await age(pool, first["id"], 91)

    (made,) = lookups(await client.post("/events/generic", {"work_email": "jane@acme.co"}))

    assert made["status"] == "queued"
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 1


@pytest.mark.parametrize(("days", "status"), [(29, "not_found"), (31, "queued")])
async def test_no_number_is_an_answer_for_a_month(client: Client, pool: Pool, days: int, status: str) -> None:
    """Within REUSE_NOT_FOUND_DAYS "no number" is taken again; afterwards the person is asked for again."""
    first = await answered_no(pool)
    await age(pool, first, days)

    (made,) = lookups(await client.post("/events/generic", {"work_email": "jane@acme.co"}))

    assert made["status"] == status


async def test_a_new_identifier_is_worth_another_question(client: Client, pool: Pool) -> None:
    """ "No number" is not taken by an event that knows more about the person."""
    await answered_no(pool)

    contact = {"work_email": "jane@acme.co", "profile_url": "linkedin.com/in/janedoe"}
    (made,) = lookups(await client.post("/events/generic", contact))

    assert made["status"] == "queued"
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 1
