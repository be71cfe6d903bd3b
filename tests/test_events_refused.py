"""Events that are refused, each with what is wrong; the database is unreachable, so nothing can have been stored."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from receiver import bodies
from tests.asgi import Client
from tests.conftest import TOKEN
from tests.receiving import EVENT, wrong_paths

if TYPE_CHECKING:
    from tests.conftest import ClientWith

# Bodies


@pytest.mark.parametrize("body", [b"", b"{", b"name=Jane", b'{"name": "J}', b"\xff\xfe", b"[" * 100_000])
async def test_what_is_not_json_is_a_400(offline: Client, body: bytes) -> None:
    """What cannot be read as JSON is a 400."""
    answer = await offline.post("/events/generic", body)

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""])
async def test_another_content_type_is_a_415(offline: Client, content_type: str) -> None:
    """Forms and texts are a 415 that says what to choose."""
    answer = await offline.post("/events/generic", EVENT, {"content-type": content_type})

    assert answer.status == 415
    assert "application/json" in answer.json()["detail"]
    assert "Zapier" in answer.json()["detail"]


async def test_more_than_a_mebibyte_is_a_413(offline: Client) -> None:
    """A body over 1 MiB is a 413, and nothing is stored."""
    body = json.dumps(EVENT | {"note": "x" * 1024 * 1024}).encode()

    answer = await offline.post("/events/generic", body)

    assert answer.status == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_of_undeclared_length_is_limited_as_well(offline: Client) -> None:
    """Without Content-Length, reading stops at the limit."""
    pieces: list[Any] = [{"type": "http.request", "body": b"x" * 300_000, "more_body": True} for _ in range(9)]

    answer = await offline.exchange("POST", "/events/generic", pieces, {"content-type": "application/json"})

    assert answer.status == 413
    assert len(pieces) == 5


async def test_a_slow_body_is_a_408(offline: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not arrive in time is a 408, and nothing is stored."""
    monkeypatch.setattr(bodies, "SLOWEST", 0.01)
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "POST", "path": "/events/generic", "query_string": b"",
        "headers": [(b"x-api-key", TOKEN.encode()), (b"content-type", b"application/json")],
    }  # fmt: skip

    async def never() -> Any:
        await asyncio.Event().wait()

    async def sending(message: Any) -> None:
        sent.append(message)

    await offline.app(scope, never, sending)

    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_who_hangs_up_has_sent_nothing(offline: Client) -> None:
    """A body that breaks off is not stored, however much of it looks whole."""
    broken_off: list[Any] = [
        {"type": "http.request", "body": json.dumps(EVENT).encode(), "more_body": True},
        {"type": "http.disconnect"},
    ]

    answer = await offline.exchange("POST", "/events/generic", broken_off, {"content-type": "application/json"})

    assert answer.status == 0


@pytest.mark.parametrize("source", ["hubspott", "api", "GENERIC", "%00"])
async def test_an_unknown_source_is_a_404_that_names_the_known_ones(offline: Client, source: str) -> None:
    """A source that does not exist is a 404 with the names of those that do."""
    answer = await offline.post(f"/events/{source}", EVENT)

    assert answer.status == 404
    assert "generic" in answer.json()["detail"]


# Contacts


@pytest.mark.parametrize("count", [0, 101])
async def test_a_hundred_contacts_are_the_most(offline: Client, count: int) -> None:
    """No contacts, or more than a hundred, are a 422."""
    answer = await offline.post("/events/generic", {"contacts": [{"name": f"P {n}"} for n in range(count)]})

    assert wrong_paths(answer) == ["contacts"]


UNUSABLE = [
    ({}, [""]),
    ({"company": "Acme"}, [""]),
    ({"name": "  ", "work_email": ""}, [""]),
    ({"name": 7}, ["name"]),
    ({"name": None, "work_email": {"jane": "acme.co"}}, ["work_email"]),
    ({"name": "Jane", "record_id": 7}, ["name"]),
    ({"name": "Ja\0ne Doe"}, ["name"]),
    ({"name": "Jane Doe", "providers": []}, ["providers"]),
    ({"name": "Jane Doe", "providers": {"nyne": True}}, ["providers"]),
    ({"name": "Jane Doe", "providers": ["nyne", "apollo"]}, ["providers[1]"]),
    ({"name": "Jane Doe", "providers": [7]}, ["providers[0]"]),
    ({"name": "Jane Doe", "providers": "apollo"}, ["providers[0]"]),
    ({"name": "Jane Doe", "providers": ["leadmagic"]}, [""]),
    ({"work_email": "jane@example.com"}, ["work_email"]),
    ({"work_email": "jane"}, ["work_email"]),
    ({"email": "jane"}, ["email"]),
    ({"profile_url": "https://www.linkedin.com/company/acme"}, ["profile_url"]),
    ({"profile_url": "linkedin.com/school/mit", "personal_email": "x"}, ["profile_url", "personal_email"]),
    ({"name": "Jane", "region": "Nowhere"}, ["name", "region"]),
    ({"properties": {"email": "jane@acme.co"}}, ["properties", ""]),
    ("Jane Doe", [""]),
    (None, [""]),
]  # fmt: skip


@pytest.mark.parametrize(("contact", "paths"), UNUSABLE)
async def test_contacts_without_anything_usable_are_a_422(offline: Client, contact: Any, paths: list[str]) -> None:
    """Every field that cannot be used is named by its path, in each contact, and nothing is stored."""
    answer = await offline.post("/events/generic", {"contacts": [contact, {"company": "Acme"}]})

    assert wrong_paths(answer) == [".".join(filter(None, ("contacts[0]", path))) for path in paths] + ["contacts[1]"]


@pytest.mark.parametrize(("contact", "paths"), [row for row in UNUSABLE if isinstance(row[0], dict)])
async def test_a_single_contact_has_no_prefix(offline: Client, contact: Any, paths: list[str]) -> None:
    """Paths of a contact that stands alone are the names of its fields."""
    assert wrong_paths(await offline.post("/events/generic", contact)) == paths


async def test_contacts_of_a_bare_list_are_named_by_their_place(offline: Client) -> None:
    """A list at the top is a list of contacts; its paths begin with the place in it."""
    assert wrong_paths(await offline.post("/events/generic", [{}, {"work_email": "x"}])) == ["[0]", "[1].work_email"]


@pytest.mark.parametrize(
    ("contact", "paths"),
    [
        ({"name": "Jane Doe", "record_id": 1.5}, ["record_id"]),
        ({"name": "Jane Doe", "record_id": True}, ["record_id"]),
        ({"name": "Jane Doe", "record_id": {"id": 7}}, ["record_id"]),
        ({"name": "Jane Doe", "record_id": "x" * 256}, ["record_id"]),
        ({"name": "Jane Doe", "record_id": "a\0b"}, ["record_id"]),
        ({"name": "Jane Doe", "event_id": "a\0b"}, ["event_id"]),
        ({"name": "Jane Doe", "region": "Nowhere"}, ["region"]),
        ({"name": "Jane Doe", "company": 7}, ["company"]),
        ({"name": "Jane Doe", "work_email": "test@test.com", "company": "x" * 256}, ["work_email", "company"]),
        ({"name": "Jane Doe", "Other E-Mail Adr": "jane@acme.co"}, ["Other E-Mail Adr"]),
    ],
)  # fmt: skip
async def test_strict_refuses_a_single_bad_field(offline: Client, contact: Any, paths: list[str]) -> None:
    """With ?strict=true, what would only be named is a 422; in each contact."""
    alone = await offline.post("/events/generic?strict=true", contact)
    second = await offline.post("/v1/lookups?strict=1", {"contacts": [{"name": "Ann Lee"}, contact]})

    assert wrong_paths(alone) == paths
    assert wrong_paths(second) == [f"contacts[1].{path}" for path in paths]


async def test_strict_is_true_or_false(offline: Client) -> None:
    """Another word for strict is a mistake that is named."""
    assert wrong_paths(await offline.post("/events/generic?strict=maybe", EVENT)) == ["strict"]


@pytest.mark.parametrize("body", ["[]", '"Jane"', "7", "null", "true", "NaN", '{"contacts": {}}', '{"contacts": 7}'])
async def test_json_without_contacts_is_a_422(offline: Client, body: str) -> None:
    """The body as a whole is wrong when it is neither a contact nor a list of them."""
    expected = ["contacts"] if "contacts" in body else [""]

    assert wrong_paths(await offline.post("/events/generic", body.encode())) == expected


@pytest.mark.parametrize("body", [json.dumps(json.dumps(EVENT)), json.dumps({"contacts": json.dumps([EVENT])})])
async def test_json_within_a_string_is_named_as_such(offline: Client, body: str) -> None:
    """What n8n and others send when a field is quoted twice says what to change. n8n-io/n8n#19442."""
    answer = await offline.post("/events/generic", body.encode())

    assert answer.status == 422
    assert "JSON within a string" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("many", [True, False])
async def test_hubspots_webhooks_are_sent_to_their_own_source(offline: Client, many: bool) -> None:
    """A thin event names a record and holds nothing of it: the answer names HubSpot's source. dubinc/dub#3799."""
    thin = {"eventId": 1, "subscriptionType": "contact.creation", "portalId": 2, "objectId": 3, "occurredAt": 4}

    answer = await offline.post("/events/generic", [thin, thin] if many else thin)

    assert answer.status == 422
    assert "/events/hubspot" in answer.json()["errors"][0]["message"]


async def test_all_wrong_fields_of_all_contacts_are_named_at_once(offline: Client) -> None:
    """One answer names every mistake of a hundred contacts."""
    contacts = [
        {"work_email": "x"},
        {"company": "Acme"},
        {"profile_url": "linkedin.com/company/a", "region": "Nowhere"},
    ]

    answer = await offline.post("/events/generic", {"contacts": contacts})

    assert wrong_paths(answer) == ["contacts[0].work_email", "contacts[1]", "contacts[2].profile_url",
                                   "contacts[2].region"]  # fmt: skip


async def test_nothing_usable_says_what_would_be(offline: Client) -> None:
    """The message names the identifiers that would do."""
    message = (await offline.post("/events/generic", {"company": "Acme"})).json()["errors"][0]["message"]

    assert "profile_url" in message
    assert "work_email" in message
    assert "name" in message


async def test_a_name_is_not_enough_where_nobody_takes_names(client_with: ClientWith) -> None:
    """With LeadMagic alone, a name is a 422 that says what is missing."""
    client = await client_with(providers="leadmagic")

    answer = await client.post("/events/generic", {"name": "Jane Doe", "company": "Acme"})

    assert wrong_paths(answer) == [""]
    assert "profile_url or an e-mail" in answer.json()["errors"][0]["message"]


async def test_a_provider_that_is_not_set_up_cannot_be_chosen(client_with: ClientWith) -> None:
    """`providers` may name those in PROVIDERS only."""
    client = await client_with(providers="nyne")

    assert wrong_paths(await client.post("/events/generic", EVENT | {"providers": ["leadmagic"]})) == ["providers[0]"]


async def test_problems_do_not_repeat_what_was_sent(offline: Client) -> None:
    """Errors end up in logs: they hold nothing of the person."""
    contacts: list[Any] = [
        {"work_email": "jane.secret@"},
        {"work_email": {"jane.secret": 1}},
        {"providers": ["jane.secret"]},
        {"jane.secret@acme.co": "jane@acme.co"},
        {"https://www.linkedin.com/in/jane.secret": "linkedin.com/in/jane"},
    ]
    for contact in contacts:
        answer = await offline.post("/events/generic", contact)

        assert answer.status == 422
        assert b"jane.secret" not in answer.body
