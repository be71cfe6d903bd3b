"""The generic body at a CRM's address: sent with a token, it names contacts by the CRM's own ids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from enrichment.crms.generic import read_named
from enrichment.crms.hubspot import HubSpot
from enrichment.event import NotAnEvent
from enrichment.event_json import NotJson
from tests.asgi import Client
from tests.conftest import ClientWith
from tests.crm_fits import assert_heard_fits
from tests.crm_posts import PATH, event, readings
from tests.provider_suite import bodies, quick
from tests.receiving import EVENT, stored

if TYPE_CHECKING:
    from tests.wishes import Pool

CRM = HubSpot()


@pytest.mark.parametrize(
    "contact",
    [
        {"record_id": "123"},
        {"record_id": 123},
        {"record_id": 123.0},
        {"hs_object_id": "123", "email": "jane@acme.co"},
        {"objectId": 123, "objectTypeId": "0-1", "properties": {}},
        {"vid": 123, "canonical-vid": 123, "portal-id": 62515, "properties": {"email": {"value": "jane@acme.co"}}},
        {"id": "123"},
        {"recordId": "123", "id": "7"},
        {"id": "7", "record_id": "123", "vid": 8},
        {"record_id": "", "id": "123"},
    ],
)
async def test_the_contact_is_named_by_any_of_its_names(client: Client, pool: Pool, contact: dict[str, Any]) -> None:
    """Workflows and tools call the id what they like; our own name comes first, `id` last."""
    answer = await client.post(PATH, contact)

    assert (answer.status, answer.json()) == (202, {"accepted": 1, "ignored": 0})
    assert await readings(pool) == [("123", "queued")]


async def test_nothing_but_the_id_is_taken(client: Client, pool: Pool) -> None:
    """Money is spent on what the CRM says now: no lookup is made of what the body says."""
    await client.post(PATH, EVENT | {"record_id": "123"})

    assert await stored(pool) == (1, 0, 0)
    assert await readings(pool) == [("123", "queued")]


async def test_a_contact_without_an_id_is_ignored_and_named(client: Client, pool: Pool) -> None:
    """The answer says which contact has none, and which id is none of the CRM's."""
    answer = await client.post(
        PATH, {"contacts": [{"record_id": "1"}, {"email": "jane@acme.co"}, {"record_id": "crm-42"}, 7]}
    )

    assert answer.status == 202
    assert (answer.json()["accepted"], answer.json()["ignored"]) == (1, 3)
    assert answer.json()["problems"] == [
        {"path": "contacts[1]", "message": "ignored: `record_id` must be the contact's id in HubSpot"},
        {"path": "contacts[2].record_id", "message": "no id of a contact in HubSpot"},
        {"path": "contacts[3]", "message": "a contact as an object"},
    ]
    assert await readings(pool) == [("1", "queued")]


async def test_a_body_without_any_id_is_not_stored(client: Client, pool: Pool) -> None:
    """A body that names no contact is not stored."""
    answer = await client.post(PATH, {"email": "jane@acme.co"})

    assert (answer.status, answer.json()["accepted"], answer.json()["ignored"]) == (202, 0, 1)
    assert (await stored(pool))[0] == 0


async def test_the_crm_s_own_events_are_read_as_such(client: Client, pool: Pool) -> None:
    """A forwarder with a token may send them: a company's id is no contact's."""
    answer = await client.post(PATH, [event(1), event(2, "company.creation"), event(3, "contact.privacyDeletion")])

    assert answer.json() == {"accepted": 2, "ignored": 1}
    assert await readings(pool) == [("1", "queued"), ("3", "queued")]


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"7", 422), (b"[]", 422), (b'{"contacts": 7}', 422), (b"[1]" * 2, 400)]
)
async def test_what_is_no_body_is_refused(client: Client, body: bytes, status: int) -> None:
    """As at the other addresses."""
    assert (await client.post(PATH, body)).status == status


async def test_a_token_needs_the_scope_of_events(client_with: ClientWith, pool: Pool) -> None:
    """A token that may only read cannot spend."""
    started = await client_with(api_tokens="looks:read:only-reads,sends:events:only-sends")
    answers = [
        await Client(started.app).post(PATH, {"record_id": "1"}, {"x-api-key": token})
        for token in ("only-reads", "only-sends")
    ]

    assert [answer.status for answer in answers] == [403, 202]
    assert await readings(pool) == [("1", "queued")]


async def test_a_challenge_is_answered(client: Client) -> None:
    """A sender that checks the address with its token gets its challenge back."""
    answer = await client.post(PATH, {"challenge": "abc"})

    assert (answer.status, answer.json()) == (200, {"challenge": "abc"})


async def test_generic_fields_name_the_id(client_with: ClientWith, pool: Pool) -> None:
    """GENERIC_FIELDS maps the sender's name of the id."""
    started = await client_with(generic_fields="Contact Number=record_id")

    await started.post(PATH, {"Contact Number": 123})

    assert await readings(pool) == [("123", "queued")]


@quick
@given(body=bodies)
def test_any_body_reads_to_contacts_or_to_an_error_of_ours(body: bytes) -> None:
    """Any body reads to contacts with ids that fit, or to one of our two errors."""
    try:
        heard, problems = read_named(body, CRM, {})
    except (NotJson, NotAnEvent):
        return
    assert_heard_fits(CRM, heard)
    json.dumps(problems).encode()


async def test_a_workflow_asks_however_old_the_contact_is(client: Client, pool: Pool) -> None:
    """A contact named with a token is asked about at any age, also when an event or a sweep names it as well."""
    await client.post(PATH, {"record_id": "123"})
    await client.post(PATH, [event(objectId=123)])

    assert await pool.fetchval("SELECT named_by FROM readings") == "request"


async def test_a_token_cannot_have_somebody_erased(client: Client, pool: Pool) -> None:
    """A privacy deletion counts only under the CRM's signature; with a token, the contact is read again."""
    await client.post(PATH, [event(objectId=123, subscriptionType="contact.privacyDeletion")])

    row = await pool.fetchrow("SELECT state::text, erases FROM readings")
    assert row is not None
    assert (row["state"], row["erases"]) == ("queued", False)
