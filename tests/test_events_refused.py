"""Events that are refused, each with what is wrong; where no database can be reached, nothing can have been stored."""

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


@pytest.mark.parametrize("body", [b"", b"{", b"name=Jane", b'{"name": "J}', b"\xff\xfe", b'{"name": "\\ud800"}'])
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


@pytest.mark.parametrize(
    ("contact", "paths"),
    [
        ({}, [""]),
        ({"company": "Acme"}, [""]),
        ({"name": "  ", "work_email": ""}, [""]),
        ({"name": 7}, ["name"]),
        ({"name": None, "work_email": ["jane@acme.co"]}, ["work_email"]),
        ({"name": "Jane", "record_id": 1.5}, ["record_id"]),
        ({"name": "Jane", "record_id": True}, ["record_id"]),
        ({"name": "Jane", "record_id": "x" * 256}, ["record_id"]),
        ({"name": "Jane", "record_id": "a\0b"}, ["record_id"]),
        ({"name": "Jane", "event_id": "a\0b"}, ["event_id"]),
        ({"name": "Ja\0ne"}, ["name"]),
        ({"name": "Jane", "region": "Germany"}, ["region"]),
        ({"name": "Jane", "providers": []}, ["providers"]),
        ({"name": "Jane", "providers": "nyne"}, ["providers"]),
        ({"name": "Jane", "providers": ["nyne", "apollo"]}, ["providers[1]"]),
        ({"name": "Jane", "providers": [7]}, ["providers[0]"]),
        ({"name": "Jane", "providers": ["leadmagic"]}, [""]),
        ({"work_email": "jane@example.com"}, ["work_email"]),
        ({"work_email": "jane"}, ["work_email"]),
        ({"profile_url": "https://www.linkedin.com/company/acme"}, ["profile_url"]),
        ({"profile_url": "linkedin.com/school/mit", "personal_email": "x"}, ["profile_url", "personal_email"]),
    ],
)  # fmt: skip
async def test_each_wrong_field_is_named(offline: Client, contact: Any, paths: list[str]) -> None:
    """A 422 names every wrong field by its path, alone and within contacts, and nothing is stored."""
    alone = await offline.post("/events/generic", contact)
    second = await offline.post("/events/generic", {"contacts": [{"name": "Ann Lee"}, contact]})

    assert wrong_paths(alone) == paths
    assert wrong_paths(second) == [".".join(filter(None, ("contacts[1]", path))) for path in paths]


@pytest.mark.parametrize("body", ["[]", '"Jane"', "7", "null", "[{}]"])
async def test_json_that_is_no_object_is_a_422(offline: Client, body: str) -> None:
    """The body as a whole is wrong when it is no object."""
    assert wrong_paths(await offline.post("/events/generic", body.encode())) == [""]


async def test_all_wrong_fields_of_all_contacts_are_named_at_once(offline: Client) -> None:
    """Nobody has to send a hundred contacts a hundred times to hear of every mistake."""
    contacts = [
        {"work_email": "x"},
        {"name": "Ann Lee"},
        {"profile_url": "linkedin.com/company/a", "region": "Nowhere"},
    ]

    answer = await offline.post("/events/generic", {"contacts": contacts})

    assert wrong_paths(answer) == ["contacts[0].work_email", "contacts[2].profile_url", "contacts[2].region"]


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
    for contact in ({"work_email": "jane.secret@"}, {"work_email": {"jane.secret": 1}}, {"providers": ["jane.secret"]}):
        answer = await offline.post("/events/generic", contact)

        assert answer.status == 422
        assert b"jane.secret" not in answer.body
