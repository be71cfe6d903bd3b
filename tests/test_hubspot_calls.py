"""The requests that HubSpot is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from enrichment.contact import read_contact
from enrichment.crms.base import CrmContact, Page, Writing
from enrichment.crms.hubspot import VERSION, HubSpot
from enrichment.providers.base import HttpRequest, HttpResponse
from enrichment.setting_types import Condition
from tests.crm_contacts import contact
from tests.crm_suite import SINCE, UNTIL, samples_of

CRM = HubSpot(
    access_token=SecretStr("pat-token"),
    linkedin_field="my_linkedin",
    only_if=(Condition("lifecyclestage", frozenset({"lead"})), Condition("hs_lead_status", frozenset({"new"}))),
)
CONTACTS = f"https://api.hubapi.com/crm/objects/{VERSION}/contacts"
HISTORY = ["mobilephone", "email", "my_linkedin", "lifecyclestage", "hs_lead_status"]


def query_of(request: HttpRequest) -> dict[str, str]:
    """Return the query of a request."""
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}


def filters_of(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the filters of a search."""
    assert request.body is not None
    (group,) = request.body["filterGroups"]
    filters: list[dict[str, Any]] = group["filters"]
    return filters


def test_a_batch_asks_for_history_of_what_matters() -> None:
    """The history tells who set or cleared the number, and since when there is something to look up by."""
    request = CRM.read_many(["1", "2"])

    assert (request.method, request.url) == ("POST", f"{CONTACTS}/batch/read")
    assert request.body is not None
    assert request.body["inputs"] == [{"id": "1"}, {"id": "2"}]
    assert request.body["propertiesWithHistory"] == HISTORY
    assert {"my_linkedin", "lifecyclestage", "hs_lead_status", "hs_merged_object_ids"} <= set(
        request.body["properties"]
    )
    assert "hs_linkedin_url" not in request.body["properties"]
    assert CRM.most_per_read == 50


def test_one_contact_is_asked_for_alike() -> None:
    """The same properties, in the address."""
    request = CRM.read_one("123")

    assert (request.method, request.url.partition("?")[0]) == ("GET", f"{CONTACTS}/123")
    assert query_of(request)["propertiesWithHistory"].split(",") == HISTORY
    assert query_of(request)["properties"].split(",") == list((CRM.read_many([]).body or {})["properties"])


@pytest.mark.parametrize(("number_in", "field"), [("mobile", "mobilephone"), ("phone", "phone")])
def test_a_number_goes_into_its_field(number_in: Any, field: str) -> None:
    """Without our own properties in the account, nothing but the number: an unknown name would be refused."""
    request = CRM.write(contact("123"), Writing("found", "+15551234567", number_in, provider="nyne", at=UNTIL))

    assert (request.method, request.url) == ("PATCH", f"{CONTACTS}/123")
    assert request.body == {"properties": {field: "+15551234567"}}


def test_our_own_properties_are_written_where_they_exist() -> None:
    """Status, source and date; no number, no source and no date if there are none."""
    crm = HubSpot(has_own_properties=True)

    found = crm.write(
        contact("1"), Writing("found", "+15551234567", provider="nyne", at=datetime(2026, 11, 28, 12, tzinfo=UTC))
    )
    none = crm.write(contact("1"), Writing("not_found"))

    assert found.body == {"properties": {
        "mobilephone": "+15551234567", "ringback_status": "found", "ringback_source": "nyne",
        "ringback_found_at": "2026-11-28T12:00:00.000Z",
    }}  # fmt: skip
    assert none.body == {"properties": {"ringback_status": "not_found"}}


def test_a_sweep_asks_for_what_changed_and_has_no_number() -> None:
    """Sorted by id and continued behind the last one, so that no search comes to 10,000."""
    first = CRM.sweep(since=SINCE, until=UNTIL, after=None)
    second = CRM.sweep(since=SINCE, until=UNTIL, after="77")

    window = [
        {"propertyName": "lastmodifieddate", "operator": "GTE", "value": "1795867200000"},
        {"propertyName": "lastmodifieddate", "operator": "LT", "value": "1795867500000"},
        {"propertyName": "mobilephone", "operator": "NOT_HAS_PROPERTY"},
    ]
    assert first.url == f"{CONTACTS}/search"
    assert first.body is not None
    assert first.body["sorts"] == [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
    assert first.body["limit"] == 200
    assert "after" not in first.body
    assert filters_of(first) == window
    assert filters_of(second) == [*window, {"propertyName": "hs_object_id", "operator": "GT", "value": "77"}]


def test_a_backfill_asks_for_what_was_created() -> None:
    """Whether they have a number or not: its preview counts all."""
    filters = filters_of(CRM.sweep(since=SINCE, until=UNTIL, after=None, news_only=False))

    assert [(one["propertyName"], one["operator"]) for one in filters] == [("createdate", "GTE"), ("createdate", "LT")]


def test_a_walk_goes_through_those_there_are_and_then_through_those_that_were_deleted() -> None:
    """Each cursor leads to its own page, and the last one to none."""
    listed = {sample["case"]: sample["body"] for sample in samples_of("hubspot", "page")}
    after: str | None = None
    asked = []
    for case in ("page-list", "page-list-last", "page-archived", "page-archived-last"):
        asked.append(query_of(CRM.walk(after)))
        page = CRM.read_page(HttpResponse(200, {}, json.dumps(listed[case]).encode()))
        assert isinstance(page, Page)
        after = page.after

    assert after is None
    assert [(one.get("after"), one.get("archived")) for one in asked] == [
        (None, None), ("9", None), (None, "true"), ("9", "true"),
    ]  # fmt: skip
    assert {one["limit"] for one in asked} == {"100"}


def test_every_address_is_of_one_version() -> None:
    """The next version is one constant away."""
    requests = [CRM.read_many(["1"]), CRM.walk(None), CRM.account(), CRM.properties(), *CRM.create_properties()]

    assert all(f"/{VERSION}/" in request.url for request in requests)


def test_our_properties_have_a_group_and_all_statuses() -> None:
    """A group, a list of statuses, a text and a date."""
    group, status, source, found_at = (request.body or {} for request in CRM.create_properties())

    assert group == {"name": "ringback", "label": "Ringback"}
    assert [option["value"] for option in status["options"]] == ["found", "not_found", "failed", "unresolved"]
    assert (status["type"], source["type"], found_at["type"]) == ("enumeration", "string", "datetime")
    assert {one["groupName"] for one in (status, source, found_at)} == {"ringback"}


def test_a_contact_reads_as_an_event_would() -> None:
    """The fields of a contact are those of an event: nothing of it is lost on the way to a lookup."""
    (sample,) = [one for one in samples_of("hubspot", "contact") if one["case"] == "contact-full"]
    crm = HubSpot()
    shown = crm.read_contact(HttpResponse(200, {}, json.dumps(sample["body"]).encode()))
    assert isinstance(shown, CrmContact)

    read, problems = read_contact(**shown.fields)

    assert read is not None
    assert not problems
    assert (read.profile_url, read.work_email, read.personal_email) == (
        "linkedin.com/in/janedoe", "jane@acme.test", "jane@mail.test",
    )  # fmt: skip
    assert (read.name, read.company, read.region) == ("Jane Doe", "Acme", "DE")


def test_the_body_is_the_contact_alone() -> None:
    """Of a batch, each contact is kept by itself, as it was sent."""
    (sample,) = [one for one in samples_of("hubspot", "contacts") if one["case"] == "contacts-all"]
    contacts = CRM.read_contacts(HttpResponse(200, {}, json.dumps(sample["body"]).encode()))
    assert isinstance(contacts, dict)

    for shown, sent in zip(contacts.values(), sample["body"]["results"], strict=True):
        assert json.loads(shown.body) == sent
