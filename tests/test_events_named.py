"""Events that are accepted with an unusable field: what is stored, and what the answer names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.asgi import Client
from tests.receiving import EVENT, lookups, stored

if TYPE_CHECKING:
    from tests.conftest import ClientWith
    from tests.wishes import Pool


async def test_a_bad_field_is_named_and_the_rest_is_used(client: Client, pool: Pool) -> None:
    """A good identifier is used; the answer names the other field and what would be usable."""
    (made,) = lookups(await client.post("/events/generic", EVENT | {"personal_email": "test@test.com"}))

    assert made["status"] == "queued"
    assert [problem["path"] for problem in made["problems"]] == ["personal_email"]
    assert "placeholder" in made["problems"][0]["message"]
    assert await pool.fetchval("SELECT personal_email FROM lookups") is None


async def test_one_bad_contact_of_a_hundred_costs_itself_only(client: Client, pool: Pool) -> None:
    """99 are stored; the one in the middle is null in its place, with its problems. Budibase/budibase#8818."""
    contacts: list[Any] = [{"work_email": f"p{number}@acme.co"} for number in range(100)]
    contacts[41] = {"work_email": "n.a.", "record_id": "crm-41"}

    made = lookups(await client.post("/events/generic", {"contacts": contacts}))

    assert len(made) == 100
    assert made[41] == {"id": None, "status": None, "duplicate": False, "problems": made[41]["problems"]}
    assert "nothing to look up by" in made[41]["problems"][0]["message"]
    assert [one["id"] is None for one in made].count(True) == 1
    assert await stored(pool) == (1, 99, 99)
    asked = [(await client.get(f"/v1/lookups/{made[n]['id']}")).json()["person"]["work_email"] for n in (40, 42)]
    assert asked == ["p40@acme.co", "p42@acme.co"]


async def test_a_bare_list_is_a_list_of_contacts(client: Client, pool: Pool) -> None:
    """[contact, contact] at the top are two lookups."""
    made = lookups(await client.post("/events/generic", [{"work_email": "a@acme.co"}, {"work_email": "b@acme.co"}]))

    assert len({one["id"] for one in made}) == 2
    assert await stored(pool) == (1, 2, 2)


async def test_strict_takes_what_has_no_problem(client: Client) -> None:
    """?strict=true changes nothing for an event in which every field can be used."""
    (made,) = lookups(await client.post("/events/generic?strict=true", EVENT))

    assert made["problems"] == []


async def test_an_unknown_provider_refuses_its_contact_only(client: Client, pool: Pool) -> None:
    """Nothing is bought from others than were named; the contact beside it is asked about."""
    contacts = [{"work_email": "a@acme.co", "providers": ["apollo"]}, {"work_email": "b@acme.co"}]

    refused, made = lookups(await client.post("/events/generic", {"contacts": contacts}))

    assert refused["id"] is None
    assert [problem["path"] for problem in refused["problems"]] == ["providers[0]"]
    assert made["status"] == "queued"
    assert await stored(pool) == (1, 1, 1)


async def test_the_names_of_other_systems_are_understood(client: Client) -> None:
    """A form that says email and linkedin_url is asked by both. alphaonedev/ai-memory-mcp#706."""
    body = {"Full Name": "Jane Doe", "email": "jane@acme.co", "linkedinUrl": "linkedin.com/in/janedoe", "recordId": 7}

    (made,) = lookups(await client.post("/events/generic", body))

    shown = (await client.get(f"/v1/lookups/{made['id']}")).json()
    assert made["problems"] == []
    assert shown["record_id"] == "7"
    assert shown["person"] == {
        "name": "Jane Doe", "work_email": "jane@acme.co", "profile_url": "linkedin.com/in/janedoe",
        "personal_email": None, "company": None,
    }  # fmt: skip


async def test_generic_fields_map_names_of_ones_own(client_with: ClientWith) -> None:
    """GENERIC_FIELDS says what the fields of one's own form are."""
    client = await client_with(generic_fields="Email 1=work_email, LI=profile_url, Owner Email = ignore")
    body = {"email 1": "jane@acme.co", "li": "linkedin.com/in/janedoe", "owner_email": "rep@ours.test"}

    (made,) = lookups(await client.post("/events/generic", body))

    person = (await client.get(f"/v1/lookups/{made['id']}")).json()["person"]
    assert made["problems"] == []
    assert (person["work_email"], person["profile_url"]) == ("jane@acme.co", "linkedin.com/in/janedoe")


@pytest.mark.parametrize(("number", "text"), [(20002, "20002"), (20002.0, "20002"), ("20002.0", "20002"), (0, "0")])
async def test_ids_may_be_numbers(client: Client, number: Any, text: str) -> None:
    """CRMs and spreadsheets number their records: 20002.0 is 20002. leftshifters/excel-parser#44."""
    event = {"event_id": number, "record_id": number, "work_email": "jane@acme.co"}

    (made,) = lookups(await client.post("/events/generic", event))
    (met,) = lookups(await client.post("/events/generic", event | {"event_id": text, "record_id": text}))

    assert met == made | {"duplicate": True}
    assert (await client.get(f"/v1/lookups/{made['id']}")).json()["record_id"] == text
