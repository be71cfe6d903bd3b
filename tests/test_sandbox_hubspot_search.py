"""The search of the pretend HubSpot: filters, sorts, pages, and everything that it refuses."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.hubspot.account import OBJECTS
from sandbox.hubspot.definitions import Definitions
from sandbox.hubspot.portal import Portal
from sandbox.hubspot.records import HUMAN
from sandbox.hubspot.search import OPERATORS, Index, InvalidSearch, read
from tests.hubspot_account import UNLIMITED, Client, account, the_next_millisecond

FOREVER = (3600, 3600)
FILTER = ("filters", "propertyName", "operator", "value", "direction")
OTHERS = ("sorts", "limit", "after", "query", "properties")


@pytest.fixture
async def hubspot() -> AsyncIterator[Client]:
    """An account without limits, whose searches see everything at once."""
    async with account() as client:
        yield client


def one(name: str, operator: str, value: str | None = None, **more: Any) -> dict[str, Any]:
    """A filter."""
    return {"propertyName": name, "operator": operator} | ({} if value is None else {"value": value}) | more


async def found(hubspot: Client, *filters: dict[str, Any], **more: Any) -> list[str]:
    """Return the last names of the contacts found, in order."""
    status, answer = await hubspot.search(*filters, properties=["lastname"], **more)
    assert status == 200, answer
    return [contact["properties"]["lastname"] for contact in answer["results"]]


async def test_each_filter_finds_what_it_says(hubspot: Client) -> None:
    """Numbers by size, words in any case, absent values by nothing but NOT_HAS_PROPERTY."""
    a = await hubspot.create(lastname="A", mobilephone="+14155550100", email="a@acme.test")
    b = await hubspot.create(lastname="B", email="b@acme.test")
    c = await hubspot.create(lastname="C")

    assert await found(hubspot, one("mobilephone", "HAS_PROPERTY")) == ["A"]
    assert await found(hubspot, one("mobilephone", "NOT_HAS_PROPERTY")) == ["B", "C"]
    assert await found(hubspot, one("email", "EQ", "B@ACME.test")) == ["B"]
    assert await found(hubspot, one("email", "NEQ", "b@acme.test")) == ["A"]
    assert await found(hubspot, one("hs_object_id", "GT", a)) == ["B", "C"]
    assert await found(hubspot, one("hs_object_id", "GTE", b)) == ["B", "C"]
    assert await found(hubspot, one("hs_object_id", "LT", b)) == ["A"]
    assert await found(hubspot, one("hs_object_id", "LTE", b)) == ["A", "B"]
    assert await found(hubspot, one("hs_object_id", "IN", values=[a, c])) == ["A", "C"]
    assert await found(hubspot, one("hs_object_id", "NOT_IN", values=[a, c])) == ["B"]
    assert await found(hubspot, one("hs_object_id", "BETWEEN", a, highValue=b)) == ["A", "B"]
    assert await found(hubspot, one("createdate", "GTE", "1700000000000"), one("lastname", "EQ", "c")) == ["C"]
    assert await found(hubspot, one("createdate", "LT", "2023-11-14")) == []
    assert await found(hubspot, query="acme") == ["A", "B"]


async def test_groups_are_or_and_filters_are_and(hubspot: Client) -> None:
    """As the page says."""
    for name in "ABC":
        await hubspot.create(lastname=name, firstname="Jane")
    groups = [
        {"filters": [one("lastname", "EQ", "A"), one("firstname", "EQ", "Jane")]},
        {"filters": [one("lastname", "EQ", "B"), one("firstname", "EQ", "John")]},
        {"filters": [one("lastname", "EQ", "C")]},
    ]

    assert await found(hubspot, filterGroups=groups) == ["A", "C"]


async def test_a_sweep_sees_changes_in_order(hubspot: Client) -> None:
    """Sorted by lastmodifieddate, from a watermark on; our own write moves a contact as well."""
    contacts = []
    for name in "ABC":
        contacts.append(await hubspot.create(lastname=name))
        await the_next_millisecond()
    mark = (await hubspot.read(contacts[2]))[1]["updatedAt"]
    await hubspot.patch(contacts[0], mobilephone="+14155550100")
    sort = {"propertyName": "lastmodifieddate", "direction": "ASCENDING"}

    assert await found(hubspot, one("lastmodifieddate", "GTE", mark), sorts=[sort]) == ["C", "A"]
    assert await found(hubspot, sorts=[sort | {"direction": "DESCENDING"}]) == ["A", "C", "B"]


async def test_pages_follow_each_other(hubspot: Client) -> None:
    """`after` is a position, `total` counts all, and the last page names no next one."""
    for name in "ABCDE":
        await hubspot.create(lastname=name)

    pages, after = [], "0"
    while after:
        answer = (await hubspot.search(limit=2, after=after, properties=["lastname"]))[1]
        pages.append([contact["properties"]["lastname"] for contact in answer["results"]])
        after = answer.get("paging", {}).get("next", {}).get("after")

    assert (pages, answer["total"]) == ([["A", "B"], ["C", "D"], ["E"]], 5)


@pytest.mark.parametrize(
    "document",
    [
        {"limit": 201},
        {"limit": 0},
        {"limit": "many"},
        {"limit": 200, "after": 9_801},
        {"sorts": ["lastname", "email"]},
        {"sorts": ["nosuchname"]},
        {"filterGroups": [{"filters": [one("lastname", "EQ", "A")]}] * 6},
        {"filterGroups": [{"filters": [one("lastname", "EQ", "A")] * 7}]},
        {"filterGroups": [{"filters": [one("lastname", "EQ", "A")] * 5}] * 4},
        {"filterGroups": [{"filters": [one("nosuchname", "EQ", "A")]}]},
        {"filterGroups": [{"filters": [one("lastname", "RESEMBLES", "A")]}]},
        {"filterGroups": [{"filters": [one("lastname", "EQ")]}]},
        {"filterGroups": [{"filters": [one("hs_object_id", "GT", "x")]}]},
        {"filterGroups": [{"filters": [one("createdate", "GT", "soon")]}]},
        {"filterGroups": [{}]},
        {"query": "x" * 3000},
    ],
)
async def test_a_search_beyond_the_rules_is_refused(hubspot: Client, document: dict[str, Any]) -> None:
    """200 a page, 10,000 in all, one sort, 5 groups of 6 filters, 18 in all, 3,000 characters."""
    status, answer = await hubspot.search(**document)

    assert (status, answer["category"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "document",
    [
        {"limit": 200, "after": 9_800},
        {"filterGroups": [{"filters": [one("lastname", "EQ", "A")] * 6}] * 3},
        {"filterGroups": [{"filters": [one("lastname", "EQ", "A")] * 3}] * 5},
    ],
)
async def test_a_search_at_the_edge_of_the_rules_is_answered(hubspot: Client, document: dict[str, Any]) -> None:
    """The last allowed one of each."""
    assert (await hubspot.search(**document))[0] == 200


async def test_ten_thousand_is_the_end(hubspot: Client) -> None:
    """`total` counts on, but no page leads past it; a filter by id does."""
    await hubspot.post("contacts", {"n": 10_150})

    last = (await hubspot.search(limit=200, after="9800"))[1]
    listed = (await hubspot.search(one("hs_object_id", "GT", last["results"][-1]["id"]), limit=200))[1]

    assert (last["total"], len(last["results"]), "paging" in last) == (10_150, 200, False)
    assert listed["total"] == 150


async def test_searches_see_changes_late() -> None:
    """New contacts, edits and deletions alike; single reads and lists see them at once."""
    async with account(replace(UNLIMITED, index_lag=FOREVER)) as hubspot:
        a, b = [await hubspot.create(lastname=name) for name in "AB"]
        unseen = await found(hubspot)
        await hubspot.post("index")
        await hubspot.edit(a, lastname="Z")
        await hubspot.ask("DELETE", f"{OBJECTS}/{b}")

        stale = await found(hubspot)
        await hubspot.post("index")

        assert (unseen, stale, await found(hubspot)) == ([], ["A", "B"], ["Z"])


def test_the_lag_is_between_its_bounds() -> None:
    """Nothing is seen before the least, everything after the most; a later change is never undone by an earlier one."""
    now, dice = [0.0], random.Random(3)
    index = Index(lambda: dice.uniform(1, 30), lambda: now[0])
    portal = Portal(lambda _: None, index.take, dice)
    contacts = [portal.create({"lastname": "old"}, HUMAN) for _ in range(50)]
    for contact in contacts:
        portal.edit(contact, {"lastname": "new"}, HUMAN)

    now[0] = 0.99
    early = index.visible()
    now[0] = 15
    some = index.visible()
    now[0] = 30
    late = index.visible()

    assert (early, 5 < len(some) < 50) == ([], True)
    assert [values["lastname"] for values in late] == ["new"] * 50


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.fixed_dictionaries({}, optional=dict.fromkeys(FILTER, inner)),
)
FILTERS = st.fixed_dictionaries(
    {
        "propertyName": st.sampled_from(["email", "createdate", "hs_object_id"]),
        "operator": st.sampled_from(sorted(OPERATORS)),
    },
    optional={"value": VALUES, "values": VALUES, "highValue": VALUES},
)
GROUPS = st.lists(st.fixed_dictionaries({"filters": st.lists(FILTERS, max_size=2) | VALUES}), max_size=2)


@given(st.fixed_dictionaries({}, optional={"filterGroups": GROUPS | VALUES} | dict.fromkeys(OTHERS, VALUES)))
@example({"filterGroups": [{"filters": [{"operator": []}]}]})
def test_any_document_is_a_search_or_a_refusal(document: Any) -> None:
    """Nothing that is posted breaks the reading of it."""
    definitions = Definitions()
    try:
        question = read(document, 10, definitions)
    except InvalidSearch:
        return
    contact = {"hs_object_id": "1", "createdate": "2026-11-28T00:00:00.000Z", "email": "jane@acme.test"}
    assert question.found([contact], definitions) in ([], [contact])
