"""Defects that hostile inputs of CRMs, settings and the result webhook's address found; each a rule now."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.crms.base import Page, Property
from enrichment.crms.hubspot import HubSpot
from enrichment.providers.base import HttpResponse
from enrichment.public_addresses import is_public
from enrichment.settings import Settings
from tests.asgi import Client
from tests.bare_settings import problems
from tests.crm_posts import PATH, readings
from tests.webhook_end import WebhookEnd, sent, settings_for, webhook_end

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.order import Pool

CRM = HubSpot()
DEEP = "[" * 500 + "]" * 500  # that the JSON parser takes
CONDITIONS = "must have plain values, without `=`, brackets and quotes, and `;` between two properties"


@pytest.fixture
async def end() -> AsyncIterator[WebhookEnd]:
    """Provide the other side of the result webhook."""
    async with webhook_end() as server:
        yield server


def answer(content: Any, status: int = 200) -> HttpResponse:
    """Return HubSpot's answer with this content."""
    return HttpResponse(status, {}, json.dumps(content).encode())


@pytest.mark.parametrize("name", ["record_id", "id", "vid"])
async def test_an_id_in_many_lists_names_nobody(client: Client, pool: Pool, name: str) -> None:
    """An id nested in many lists is ignored and named as a problem, at any depth."""
    told = await client.post(
        PATH, f'[{{"{name}": {DEEP}}}, {{"id": 7}}]'.encode(), {"content-type": "application/json"}
    )

    assert told.status == 202
    assert told.json()["accepted"] == told.json()["ignored"] == 1
    assert await readings(pool) == [("7", "queued")]


@pytest.mark.parametrize("name", ["record_id", "event_id"])
async def test_an_id_in_many_lists_loses_no_event(client: Client, name: str) -> None:
    """The contact of a generic event is asked about without it."""
    body = f'{{"profile_url": "linkedin.com/in/janedoe", "{name}": {DEEP}}}'.encode()

    told = await client.post("/events/generic", body, {"content-type": "application/json"})

    assert told.status == 202


@pytest.mark.parametrize("note", ["\\ud800", "a\\u0000b"])
async def test_a_note_that_cannot_be_stored_is_refused(client: Client, note: str) -> None:
    """It is named, and nothing is suppressed."""
    body = f'{{"email": "jane@acme.co", "note": "{note}"}}'.encode()

    told = await client.post("/v1/suppressions", body, {"content-type": "application/json"})

    assert told.status == 422
    assert [one["path"] for one in told.json()["errors"]] == ["note"]


@pytest.mark.parametrize("results", [1, 1.5, "text", {"a": 1}, True, False, 0, ""])
@pytest.mark.parametrize("status", [200, 207])
def test_results_of_another_type_are_no_batch(results: Any, status: int) -> None:
    """A batch with errors whose results are no list is tried again; it is no crash, and no absence of all."""
    read = CRM.read_contacts(answer({"results": results, "errors": [{"category": "OBJECT_NOT_FOUND"}]}, status))

    assert not isinstance(read, dict)


def test_a_batch_of_errors_alone_has_no_contacts() -> None:
    """Without results, all that were asked for are missing."""
    assert CRM.read_contacts(answer({"errors": [{"category": "OBJECT_NOT_FOUND"}]}, 207)) == {}


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "\x1b[31mred", "two\nlines"])
def test_a_field_that_cannot_be_shown_is_none(text: str) -> None:
    """Its name reaches a terminal and the database; of a label, the name is shown instead."""
    told = {"results": [
        {"name": text, "label": "x", "type": "string"}, {"name": "x", "label": "x", "type": text},
        {"name": "li", "label": text, "type": "string"},
    ]}  # fmt: skip

    assert CRM.read_properties(answer(told)) == (Property("li", "li", "string"),)


@pytest.mark.parametrize("after", ["\ud800", "a\0b"])
def test_a_place_that_cannot_be_stored_ends_the_walk(after: str) -> None:
    """The next night makes up for it."""
    page = CRM.read_page(answer({"results": [], "paging": {"next": {"after": after}}}))

    assert page == Page((), None)


@pytest.mark.parametrize(
    "address",
    [
        "192.0.0.8", "192.88.99.1", "::ffff:0:127.0.0.1", "::ffff:0:a00:1", "64:ff9b:1::7f00:1", "64:ff9b:1::a00:1",
        "100:0:0:1::1", "3fff::1", "5f00::1",
    ],
)  # fmt: skip
def test_an_address_of_no_public_network_is_not_public(address: str) -> None:
    """On every version of Python that we run on: translated, local to a gateway, for documents, or of segments."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.zapier.com/hooks/catch/1/abc/",
        "https://x.azurewebsites.net/api/result?code=a%2Bb%3D%3D&name=a%26b",
        "https://x.co/a",
    ],
)
def test_results_go_to_the_address_that_was_given(environment: pytest.MonkeyPatch, url: str) -> None:
    """With its last slash and its query: without them many a receiver redirects or refuses."""
    environment.setenv("RESULT_WEBHOOK_URL", url)
    environment.setenv("RESULT_WEBHOOK_SECRET", "whsec_" + "A" * 32)

    assert Settings.load("submitter").result_webhook_url == url


async def test_the_address_is_called_as_it_was_given(start: Start, end: WebhookEnd) -> None:
    """Escapes in its query too."""
    path = "/hook/?code=a%2Bb%3D%3D&name=a%26b"
    async with start(**settings_for(end, result_webhook_url=f"http://127.0.0.1:{end.port}{path}")) as world:
        row = await sent(world.process)

    assert (row["state"], end.arrived[0].path) == ("delivered", path)


@pytest.mark.parametrize("url", ["https://x.co/a#b", "https://user:pw@x.co/a", "https://x.co/a?b#c"])
def test_what_is_no_address_to_call_is_refused(environment: pytest.MonkeyPatch, url: str) -> None:
    """A fragment, or a password that every log of a proxy would show."""
    environment.setenv("RESULT_WEBHOOK_URL", url)
    environment.setenv("RESULT_WEBHOOK_SECRET", "whsec_" + "A" * 32)

    assert list(problems("submitter")) == ["RESULT_WEBHOOK_URL"]


@pytest.mark.parametrize(
    "written", ['lifecyclestage="lead","sales qualified"', "lifecyclestage = 'lead' , sales qualified;"]
)
def test_a_condition_may_have_its_values_in_quotes(environment: pytest.MonkeyPatch, written: str) -> None:
    """Quotes are no part of a value; with them, no contact would match."""
    environment.setenv("HUBSPOT_ONLY_IF", written)

    (condition,) = Settings.load("submitter").hubspot.only_if
    assert condition.values == {"lead", "sales qualified"}


@pytest.mark.parametrize(
    "written",
    ["lifecyclestage==lead", "lifecyclestage=[lead,customer]", "a=b, c=d", "a=b and c=d", "a=“b”", "a={b}", 'a="b, c"'],
)
def test_a_condition_that_nobody_meets_is_refused(environment: pytest.MonkeyPatch, written: str) -> None:
    """A condition that no contact can meet is refused; otherwise no contact would be asked about, silently."""
    environment.setenv("HUBSPOT_ONLY_IF", written)

    assert problems("submitter") == {"HUBSPOT_ONLY_IF": CONDITIONS}
