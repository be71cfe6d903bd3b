"""The contacts of the pretend HubSpot: reading, writing, histories, merges and deletions, as docs/crm.md has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sandbox.hubspot.account import OBJECTS, PROPERTIES
from sandbox.people import mobile_e164
from tests.hubspot_account import Client, account, the_next_millisecond

READ_MANY = f"{OBJECTS}/batch/read"
UPDATE_MANY = f"{OBJECTS}/batch/update"
NO_SUCH_ID = "999"


@pytest.fixture
async def hubspot() -> AsyncIterator[Client]:
    """An account without limits, whose searches see everything at once."""
    async with account() as client:
        yield client


def enumeration(name: str, *values: str, group: str = "contactinformation") -> dict[str, Any]:
    """The definition of a property with these options."""
    options = [{"label": value, "value": value, "displayOrder": 0, "hidden": False} for value in values]
    kind = {"type": "enumeration", "fieldType": "select"}
    return {"groupName": group, "name": name, "label": name, "options": options} | kind


async def test_a_contact_shows_what_was_asked_for(hubspot: Client) -> None:
    """Values are strings, unset ones null, unknown names left out in silence."""
    id = await hubspot.create(email="jane@acme.test", firstname="Jane")

    status, shown = await hubspot.read(id, "properties=email,mobilephone,nosuchname")
    _, usual = await hubspot.read(id, "")

    assert (status, shown["id"], shown["archived"]) == (200, id, False)
    assert shown["properties"].keys() == {"email", "mobilephone", "hs_object_id", "createdate", "lastmodifieddate"}
    assert (shown["properties"]["email"], shown["properties"]["mobilephone"]) == ("jane@acme.test", None)
    assert usual["properties"]["firstname"] == "Jane"
    assert "propertiesWithHistory" not in shown


async def test_a_contact_is_found_by_its_email(hubspot: Client) -> None:
    """In the path with idProperty, and in a batch; in any case."""
    id = await hubspot.create(email="jane@acme.test")

    one = await hubspot.read("Jane@Acme.test", "idProperty=email")
    many = await hubspot.ask("POST", READ_MANY, {"idProperty": "email", "inputs": [{"id": "jane@acme.test"}]})

    assert (one[0], one[1]["id"]) == (200, id)
    assert [contact["id"] for contact in many[1]["results"]] == [id]


async def test_a_history_tells_who_set_a_value(hubspot: Client) -> None:
    """Newest first: a person by CRM_UI, our token by INTEGRATION; a cleared value is empty."""
    id = await hubspot.create(mobilephone="+14155550100")
    await hubspot.edit(id, mobilephone="")
    await hubspot.patch(id, mobilephone="+14155550101")

    _, shown = await hubspot.read(id, "propertiesWithHistory=mobilephone")

    history = shown["propertiesWithHistory"]["mobilephone"]
    assert [(edit["value"], edit["sourceType"]) for edit in history] == [
        ("+14155550101", "INTEGRATION"),
        ("", "CRM_UI"),
        ("+14155550100", "CRM_UI"),
    ]
    assert [edit["sourceId"] for edit in history] == ["54321", "userId:2602", "userId:2602"]
    assert history[0]["timestamp"] > history[1]["timestamp"] > history[2]["timestamp"]


async def test_a_batch_names_what_it_does_not_find(hubspot: Client) -> None:
    """207 with results and errors; 200 when all are there."""
    id = await hubspot.create(email="jane@acme.test")

    whole = await hubspot.ask("POST", READ_MANY, {"inputs": [{"id": id}], "properties": ["email", "nosuchname"]})
    part = await hubspot.ask("POST", READ_MANY, {"inputs": [{"id": id}, {"id": NO_SUCH_ID}, {"id": "x"}]})

    assert (whole[0], whole[1]["results"][0]["properties"]["email"]) == (200, "jane@acme.test")
    assert (part[0], len(part[1]["results"]), part[1]["numErrors"]) == (207, 1, 2)
    assert part[1]["errors"][0]["category"] == "OBJECT_NOT_FOUND"
    assert part[1]["errors"][0]["context"] == {"ids": [NO_SUCH_ID, "x"]}


@pytest.mark.parametrize(
    ("inputs", "history", "status"),
    [(100, [], 207), (101, [], 400), (50, ["email"], 207), (51, ["email"], 400), (0, [], 400)],
)
async def test_a_batch_has_a_size(hubspot: Client, inputs: int, history: list[str], status: int) -> None:
    """100 contacts, 50 with history."""
    document = {"inputs": [{"id": str(n)} for n in range(1, inputs + 1)], "propertiesWithHistory": history}

    assert (await hubspot.ask("POST", READ_MANY, document))[0] == status


async def test_a_write_overwrites_and_clears(hubspot: Client) -> None:
    """200 with the record, whatever value was there; an empty string clears; lastmodifieddate moves."""
    id = await hubspot.create(mobilephone="+14155550100")
    before = (await hubspot.read(id))[1]["updatedAt"]

    await the_next_millisecond()
    status, written = await hubspot.patch(id, mobilephone="+14155550101")
    await the_next_millisecond()
    cleared = (await hubspot.patch(id, mobilephone=""))[1]

    assert (status, written["id"], written["properties"]["mobilephone"]) == (200, id, "+14155550101")
    assert before < written["updatedAt"] < cleared["updatedAt"]
    assert (await hubspot.read(id))[1]["properties"]["mobilephone"] is None


@pytest.mark.parametrize(
    ("properties", "codes"),
    [
        ({"nosuchname": "x"}, ["PROPERTY_DOESNT_EXIST"]),
        ({"hs_object_id": "5"}, ["READ_ONLY_VALUE"]),
        ({"mobilephone": "+14155550100", "nosuchname": "x"}, ["PROPERTY_DOESNT_EXIST"]),
        ({"nosuchname": "x", "lastmodifieddate": "5"}, ["PROPERTY_DOESNT_EXIST", "READ_ONLY_VALUE"]),
        ({"email": "jane"}, ["INVALID_EMAIL"]),
        ({"lifecyclestage": "nosuchstage"}, ["INVALID_OPTION"]),
    ],
)
async def test_a_wrong_write_is_refused_whole(hubspot: Client, properties: dict[str, str], codes: list[str]) -> None:
    """400 with a code and the property for each; nothing is written."""
    id = await hubspot.create(lastname="Doe")

    status, answer = await hubspot.patch(id, **properties)

    assert (status, answer["status"], answer["category"]) == (400, "error", "VALIDATION_ERROR")
    assert [error["code"] for error in answer["errors"]] == codes
    assert all(error["context"]["propertyName"][0] in properties for error in answer["errors"])
    assert (await hubspot.read(id))[1]["properties"]["mobilephone"] is None


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"properties": {}}', b"{}", b'{"properties": {"email": {}}}'])
async def test_a_write_of_nothing_is_refused(hubspot: Client, body: bytes) -> None:
    """400, whatever is missing."""
    id = await hubspot.create(lastname="Doe")

    assert (await hubspot.ask("PATCH", f"{OBJECTS}/{id}", body))[0] == 400


async def test_the_admins_rules_hold_for_writes(hubspot: Client) -> None:
    """A conditional rule for both kinds of writes, an unconditional one for creation; people's forms are not asked."""
    conditional = {"require": ["jobtitle"], "when": "lifecyclestage", "values": ["customer"]}
    await hubspot.post("rules", [conditional, {"require": ["lastname"]}])
    id = await hubspot.create(lifecyclestage="customer")

    broken = await hubspot.patch(id, mobilephone="+14155550100")
    created = await hubspot.ask("POST", OBJECTS, {"properties": {"email": "jane@acme.test"}})
    kept = await hubspot.patch(id, mobilephone="+14155550100", jobtitle="CTO")

    assert (broken[0], broken[1]["errors"][0]["code"]) == (400, "MISSING_CONDITIONAL_REQUIRED_PROPERTY")
    assert broken[1]["errors"][0]["context"] == {"propertyName": ["jobtitle"]}
    assert (created[0], created[1]["errors"][0]["code"]) == (400, "MISSING_REQUIRED_PROPERTY")
    assert kept[0] == 200


async def test_many_are_written_each_by_itself(hubspot: Client) -> None:
    """207: the right ones are written, the others are named."""
    first, second = await hubspot.create(lastname="One"), await hubspot.create(lastname="Two")
    inputs = [
        {"id": first, "properties": {"mobilephone": "+14155550100"}},
        {"id": second, "properties": {"nosuchname": "x"}},
        {"id": NO_SUCH_ID, "properties": {"mobilephone": "+14155550100"}},
    ]

    status, answer = await hubspot.ask("POST", UPDATE_MANY, {"inputs": inputs})

    assert (status, [contact["id"] for contact in answer["results"]], answer["numErrors"]) == (207, [first], 2)
    assert {error["category"] for error in answer["errors"]} == {"VALIDATION_ERROR", "OBJECT_NOT_FOUND"}


async def test_an_email_belongs_to_one_contact(hubspot: Client) -> None:
    """409 that names the other contact in its text, for creation and for a change."""
    id = await hubspot.create(email="jane@acme.test")
    other = await hubspot.create(lastname="Doe")

    created = await hubspot.ask("POST", OBJECTS, {"properties": {"email": "Jane@acme.test"}})
    changed = await hubspot.patch(other, email="jane@acme.test")

    assert (created[0], created[1]["message"]) == (409, f"Contact already exists. Existing ID: {id}")
    assert (changed[0], created[1]["category"]) == (409, "CONFLICT")


async def test_our_side_may_create_a_contact(hubspot: Client) -> None:
    """201 with the id; the history says that it was an integration."""
    status, created = await hubspot.ask("POST", OBJECTS, {"properties": {"email": "jane@acme.test"}})

    _, shown = await hubspot.read(created["id"], "propertiesWithHistory=email")
    assert (status, shown["propertiesWithHistory"]["email"][0]["sourceType"]) == (201, "INTEGRATION")


async def test_a_merge_makes_a_new_contact(hubspot: Client) -> None:
    """Both old ids answer with the new one, which names them; a batch and a search do not resolve them."""
    first = await hubspot.create(email="jane@acme.test", lastname="Doe")
    second = await hubspot.create(email="doe@acme.test", lastname="Other", mobilephone="+14155550100")
    pair = {"primaryObjectId": first, "objectIdToMerge": second}

    status, merged = await hubspot.ask("POST", f"{OBJECTS}/merge", pair)

    assert status == 200
    assert merged["id"] not in {first, second}
    query = (
        "properties=hs_merged_object_ids,lastname,mobilephone,hs_additional_emails&propertiesWithHistory=mobilephone"
    )
    for old in (first, second):
        shown = (await hubspot.read(old, query))[1]
        assert shown["id"] == merged["id"]
    values = shown["properties"]
    assert values["hs_merged_object_ids"] == f"{first};{second}"
    assert (values["lastname"], values["mobilephone"]) == ("Doe", "+14155550100")
    assert values["hs_additional_emails"] == "doe@acme.test"
    assert shown["propertiesWithHistory"]["mobilephone"][0]["sourceType"] == "CRM_UI"
    assert (await hubspot.ask("POST", READ_MANY, {"inputs": [{"id": first}]}))[1]["results"] == []
    assert (await hubspot.search({"propertyName": "hs_object_id", "operator": "EQ", "value": first}))[1]["total"] == 0


async def test_a_write_follows_a_merge(hubspot: Client) -> None:
    """PATCH of an old id writes onto the new contact; not confirmed, so a fault makes it a 404. A batch never does."""
    first, second = await hubspot.create(lastname="One"), await hubspot.create(lastname="Two")
    merged = (await hubspot.ask("POST", f"/sandbox/contacts/{first}/merge", {"other": second}))[1]["id"]
    inputs = [{"id": second, "properties": {"jobtitle": "CTO"}}]

    followed = await hubspot.patch(second, mobilephone="+14155550100")
    many = await hubspot.ask("POST", UPDATE_MANY, {"inputs": inputs})
    await hubspot.post("faults", {"refuse_merged_writes": True})
    refused = await hubspot.patch(second, mobilephone="+14155550101")

    assert (followed[0], followed[1]["id"]) == (200, merged)
    assert (many[0], refused[0]) == (207, 404)


async def test_a_merge_needs_two(hubspot: Client) -> None:
    """404 for a contact that is none, 400 for one with itself."""
    id = await hubspot.create(lastname="Doe")

    missing = await hubspot.ask("POST", f"{OBJECTS}/merge", {"primaryObjectId": id, "objectIdToMerge": NO_SUCH_ID})
    itself = await hubspot.ask("POST", f"{OBJECTS}/merge", {"primaryObjectId": id, "objectIdToMerge": id})

    assert (missing[0], itself[0]) == (404, 400)


async def test_a_deleted_contact_can_still_be_read(hubspot: Client) -> None:
    """404, and 200 with archived=true; a list tells the two apart; a restore brings it back."""
    id = await hubspot.create(email="jane@acme.test")

    deleted = await hubspot.ask("DELETE", f"{OBJECTS}/{id}")
    gone, archived = await hubspot.read(id), await hubspot.read(id, "archived=true")
    lists = [await hubspot.ask("GET", f"{OBJECTS}?archived={flag}") for flag in ("false", "true")]
    await hubspot.post(f"contacts/{id}/restore")

    assert (deleted, gone[0], gone[1]["category"]) == ((204, None), 404, "OBJECT_NOT_FOUND")
    assert (archived[0], archived[1]["archived"]) == (200, True)
    assert [[contact["id"] for contact in one[1]["results"]] for one in lists] == [[], [id]]
    assert (await hubspot.read("jane@acme.test", "idProperty=email"))[0] == 200


async def test_an_erased_contact_is_gone(hubspot: Client) -> None:
    """404 also with archived=true, and its e-mail address is free; a contact deleted before can be erased too."""
    id = await hubspot.create(email="jane@acme.test")
    deleted = await hubspot.create(email="doe@acme.test")
    await hubspot.ask("DELETE", f"{OBJECTS}/{deleted}")

    status, _ = await hubspot.ask("POST", f"{OBJECTS}/gdpr-delete", {"objectId": id})

    assert (status, (await hubspot.read(id))[0], (await hubspot.read(id, "archived=true"))[0]) == (204, 404, 404)
    assert await hubspot.create(email="jane@acme.test") != id
    assert (await hubspot.ask("POST", f"{OBJECTS}/gdpr-delete", {"objectId": deleted}))[0] == 204
    assert (await hubspot.read(deleted, "archived=true"))[0] == 404


async def test_what_is_no_contact_is_not_found(hubspot: Client) -> None:
    """An id that is none, and an address that is none: the latter without a category."""
    never = await hubspot.read(NO_SUCH_ID)
    letters = await hubspot.read("jane")
    nowhere = await hubspot.ask("GET", "/crm/objects/2026-09/companies")

    assert (never[0], letters[0], nowhere[0]) == (404, 404, 404)
    assert nowhere[1] == {"status": "error", "message": "resource not found"}


async def test_all_contacts_are_listed_by_id(hubspot: Client) -> None:
    """Page by page, at most 100 of them, without a total and without any lag."""
    await hubspot.post("contacts", {"n": 7})

    ids, after = [], "0"
    while after:
        page = (await hubspot.ask("GET", f"{OBJECTS}?limit=3&after={after}&properties=email"))[1]
        ids += [int(contact["id"]) for contact in page["results"]]
        after = page.get("paging", {}).get("next", {}).get("after")
    too_many = await hubspot.ask("GET", f"{OBJECTS}?limit=101")

    assert (len(ids), ids) == (7, sorted(ids))
    assert too_many[0] == 400


async def test_a_property_is_created_once(hubspot: Client) -> None:
    """201, then 409 by category; an archived one comes back; then writes know it."""
    group = {"name": "ringback", "label": "Ringback"}
    own = enumeration("ringback_status", "found", group="ringback")
    id = await hubspot.create(lastname="Doe")

    early = await hubspot.ask("POST", PROPERTIES, own)
    groups = [(await hubspot.ask("POST", f"{PROPERTIES}/groups", group)) for _ in range(2)]
    created = [(await hubspot.ask("POST", PROPERTIES, own)) for _ in range(2)]
    deleted = await hubspot.ask("DELETE", f"{PROPERTIES}/ringback_status")
    refused = await hubspot.patch(id, ringback_status="found")
    again = await hubspot.ask("POST", PROPERTIES, own)
    written = await hubspot.patch(id, ringback_status="found")

    assert (early[0], [status for status, _ in groups], [status for status, _ in created]) == (
        400,
        [201, 409],
        [201, 409],
    )
    assert groups[1][1]["category"] == created[1][1]["category"] == "OBJECT_ALREADY_EXISTS"
    assert created[1][1]["subCategory"] == "Properties.PROPERTY_WITH_NAME_EXISTS"
    assert (deleted[0], refused[0], again[0], written[0]) == (204, 400, 201, 200)


async def test_options_are_replaced_whole(hubspot: Client) -> None:
    """A PATCH of a property with options keeps only the options sent."""
    own = enumeration("own", "a", "b")
    await hubspot.ask("POST", PROPERTIES, own)

    status, changed = await hubspot.ask("PATCH", f"{PROPERTIES}/own", {"options": own["options"][:1]})

    assert (status, [option["value"] for option in changed["options"]]) == (200, ["a"])


async def test_the_definitions_are_listed(hubspot: Client) -> None:
    """Names and types, the read-only ones marked."""
    _, listed = await hubspot.ask("GET", PROPERTIES)

    by_name = {one["name"]: one for one in listed["results"]}
    assert by_name["hs_linkedin_url"]["type"] == "string"
    assert by_name["hs_object_id"]["modificationMetadata"]["readOnlyValue"]
    assert not by_name["mobilephone"]["modificationMetadata"]["readOnlyValue"]


async def test_a_contact_is_a_person_whom_the_vendors_know(hubspot: Client) -> None:
    """The profile decides, else the e-mail address: the number is the one that LeadMagic and Nyne give."""
    await hubspot.create(hs_linkedin_url="https://linkedin.com/in/Jane/", email="j@acme.test")
    await hubspot.create(email="doe@acme.test")

    shown = (await hubspot.get("contacts"))["entries"]

    assert [one["person"] for one in shown] == ["slug:jane", "email:doe@acme.test"]
    assert [one["true_number"] for one in shown] == [mobile_e164("slug:jane"), mobile_e164("email:doe@acme.test")]


async def test_invented_contacts_can_be_asked_about(hubspot: Client) -> None:
    """Each has a profile or an e-mail address that carries the words; so many have a mobile number."""
    made = await hubspot.post("contacts", {"n": 50, "words": "lm-none--ny-found", "with_mobile": 1})

    assert len({one["person"] for one in made["contacts"]}) == 50
    assert all("lm-none--ny-found--" in one["person"] and one["properties"]["mobilephone"] for one in made["contacts"])


async def test_a_misspelt_word_is_an_error(hubspot: Client) -> None:
    """In identifiers as in the admin's document."""
    status, _, _ = await hubspot.send("POST", "/sandbox/contacts", {"n": 1, "words": "hs-nosuchword"})
    id = await hubspot.create(lastname="Doe")
    chosen, _, _ = await hubspot.send("POST", f"/sandbox/contacts/{id}/words", {"words": ["nosuchword"]})

    assert (status, chosen) == (400, 400)


async def test_the_ledger_tells_every_write(hubspot: Client) -> None:
    """With author, old value and new value; a write that changes nothing is not listed."""
    id = await hubspot.create(mobilephone="+14155550100")
    await hubspot.patch(id, mobilephone="+14155550101")
    await hubspot.patch(id, mobilephone="+14155550101")
    await hubspot.edit(id, mobilephone="")

    entries = (await hubspot.get("ledger"))["entries"]

    assert [(one["source_type"], one["old"], one["new"]) for one in entries] == [
        ("CRM_UI", None, "+14155550100"),
        ("INTEGRATION", "+14155550100", "+14155550101"),
        ("CRM_UI", "+14155550101", None),
    ]
    assert {(one["contact"], one["property"]) for one in entries} == {(id, "mobilephone")}
