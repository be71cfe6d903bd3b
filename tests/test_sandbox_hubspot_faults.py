"""The faults of the pretend HubSpot: by a contact's words, by rate, and by its people at the worst moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from sandbox.hubspot.account import OBJECTS
from sandbox.hubspot.conduct import GARBAGE
from tests.hubspot_account import UNLIMITED, Client, account, breaks_off

READ_MANY = f"{OBJECTS}/batch/read"
OURS = "+14155550100"


@pytest.fixture
async def hubspot() -> AsyncIterator[Client]:
    """An account without limits, in which slow is soon."""
    async with account(replace(UNLIMITED, slow_seconds=0.01)) as client:
        yield client


async def mobile(hubspot: Client, id: str) -> str | None:
    """Return the value of the field, past every fault."""
    value: str | None = (await hubspot.get(f"contacts/{id}"))["properties"].get("mobilephone")
    return value


async def written_by(hubspot: Client) -> list[str]:
    """Return the authors of the mobile numbers, in order."""
    entries = (await hubspot.get("ledger"))["entries"]
    return [entry["source_type"] for entry in entries if entry["property"] == "mobilephone"]


@pytest.mark.parametrize(
    ("word", "status", "category"),
    [
        ("429once", 429, None),
        ("477once", 477, "MIGRATION_IN_PROGRESS"),
        ("500once", 500, "INTERNAL_ERROR"),
        ("502once", 502, None),
        ("524once", 524, None),
    ],
)
async def test_the_first_read_fails(hubspot: Client, word: str, status: int, category: str | None) -> None:
    """By batch or singly; the second one is right; a gateway's failure is HTML, a move carries Retry-After."""
    for method, more, document in (("GET", "{id}", None), ("POST", "batch/read", {"inputs": [{"id": "{id}"}]})):
        id = await hubspot.create(email=f"hs-{word}--{method.lower()}@acme.test")
        path = f"{OBJECTS}/{more}".replace("{id}", id)
        body = json.dumps(document).replace("{id}", id).encode()

        answered, answer, headers = await hubspot.send(method, path, body)
        again, _, _ = await hubspot.send(method, path, body)

        assert (answered, again) == (status, 200)
        if status in {502, 524}:
            assert headers["content-type"].startswith("text/html")
        elif category:
            assert json.loads(answer)["category"] == category
        assert headers.get("retry-after") == ("1" if status == 477 else None)


async def test_one_contact_spoils_the_batch(hubspot: Client) -> None:
    """A 500 for one of them is a 500 for all, for ever."""
    well = await hubspot.create(lastname="Doe")
    bad = await hubspot.create(email="hs-500--jane@acme.test")

    statuses = [
        (await hubspot.ask("POST", READ_MANY, {"inputs": [{"id": id} for id in ids]}))[0]
        for ids in ([well], [well, bad], [well, bad])
    ]

    assert statuses == [200, 500, 500]


@pytest.mark.parametrize("word", ["cut", "torn"])
async def test_a_read_breaks_off(hubspot: Client, word: str) -> None:
    """Before the answer, or in the middle of it; the next one is whole."""
    id = await hubspot.create(email=f"hs-{word}--jane@acme.test")

    assert await breaks_off(hubspot, "POST", READ_MANY, {"inputs": [{"id": id}]})
    assert (await hubspot.read(id))[0] == 200


async def test_a_read_is_garbage(hubspot: Client) -> None:
    """200 without JSON, once."""
    id = await hubspot.create(email="hs-garbage--jane@acme.test")

    status, body, _ = await hubspot.send("GET", f"{OBJECTS}/{id}")

    assert (status, body) == (200, GARBAGE)
    assert (await hubspot.read(id))[1]["id"] == id


async def test_a_read_is_never_answered(hubspot: Client) -> None:
    """The client gives up; the second read is answered; a slow one is only slow."""
    id = await hubspot.create(email="hs-hang--jane@acme.test")
    slow = await hubspot.create(email="hs-slow--jane@acme.test")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await hubspot.read(id)

    assert (await hubspot.read(id))[0] == 200
    assert (await hubspot.read(slow))[0] == 200


async def test_a_contact_hides_from_batches(hubspot: Client) -> None:
    """Missing in the batch, there when it is read alone."""
    id = await hubspot.create(email="hs-hidden--jane@acme.test")

    status, answer = await hubspot.ask("POST", READ_MANY, {"inputs": [{"id": id}]})

    assert (status, answer["errors"][0]["context"]["ids"]) == (207, [id])
    assert (await hubspot.read(id))[0] == 200


async def test_a_contact_hides_from_searches(hubspot: Client) -> None:
    """The list shows it, no search does; a fault leaves out others at random."""
    await hubspot.create(email="hs-unsearchable--jane@acme.test")
    await hubspot.create(lastname="Doe")
    seen = (await hubspot.search())[1]["total"]
    await hubspot.post("faults", {"search_omits": 1})
    omitted = (await hubspot.search())[1]["total"]

    listed = (await hubspot.ask("GET", OBJECTS))[1]["results"]
    assert (seen, omitted, len(listed)) == (1, 0, 2)


async def test_a_read_is_stale(hubspot: Client) -> None:
    """Our write is not to be seen at first, by a word as by a fault."""
    id = await hubspot.create(email="hs-stale--jane@acme.test")
    other = await hubspot.create(lastname="Doe")
    await hubspot.patch(id, mobilephone=OURS)
    await hubspot.patch(other, mobilephone=OURS)
    by_word = await hubspot.read(id, "properties=mobilephone&propertiesWithHistory=mobilephone")
    await hubspot.post("faults", {"stale_seconds": 60})
    by_fault = await hubspot.read(other)

    assert by_word[1]["properties"]["mobilephone"] is None
    assert by_word[1]["propertiesWithHistory"]["mobilephone"] == []
    assert by_fault[1]["properties"]["mobilephone"] is None
    assert await mobile(hubspot, id) == OURS


@pytest.mark.parametrize(
    ("word", "first", "second", "done"),
    [
        ("locked", 423, 423, False),
        ("lockedonce", 423, 200, False),
        ("rule", 400, 400, False),
        ("403", 403, 403, False),
        ("500write", 500, 200, False),
        ("502write", 502, 200, False),
        ("504write", 504, 200, True),
        ("slowwrite", 200, 200, True),
        ("garbagewrite", 200, 200, True),
        ("ignored", 200, 200, False),
    ],
)
async def test_a_write_fails(hubspot: Client, word: str, first: int, second: int, done: bool) -> None:
    """The books tell whether it was done, whatever the answer said."""
    id = await hubspot.create(email=f"hs-{word}--jane@acme.test")

    answered, body, _ = await hubspot.send("PATCH", f"{OBJECTS}/{id}", {"properties": {"mobilephone": OURS}})
    is_done = await mobile(hubspot, id) == OURS
    again, _, _ = await hubspot.send("PATCH", f"{OBJECTS}/{id}", {"properties": {"mobilephone": OURS}})

    assert (answered, again, is_done) == (first, second, done)
    if word == "rule":
        assert json.loads(body)["errors"][0]["code"] == "MISSING_CONDITIONAL_REQUIRED_PROPERTY"
    if word == "ignored":
        assert json.loads(body)["properties"]["mobilephone"] == OURS


@pytest.mark.parametrize(("word", "done"), [("lostwrite", True), ("lostbefore", False)])
async def test_a_write_is_never_answered(hubspot: Client, word: str, done: bool) -> None:
    """The connection closes, and only a read tells whether it was written."""
    id = await hubspot.create(email=f"hs-{word}--jane@acme.test")

    broke_off = await breaks_off(hubspot, "PATCH", f"{OBJECTS}/{id}", {"properties": {"mobilephone": OURS}})

    assert (broke_off, await mobile(hubspot, id) == OURS) == (True, done)
    assert (await hubspot.patch(id, mobilephone=OURS))[0] == 200


async def test_a_write_hangs(hubspot: Client) -> None:
    """Written, and no answer comes."""
    id = await hubspot.create(email="hs-hangwrite--jane@acme.test")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await hubspot.patch(id, mobilephone=OURS)

    assert await mobile(hubspot, id) == OURS


async def test_words_hold_in_batches_too(hubspot: Client) -> None:
    """A refusal concerns that contact alone; a failure the whole batch."""
    well = await hubspot.create(lastname="Doe")
    locked = await hubspot.create(email="hs-lockedonce--jane@acme.test")
    failing = await hubspot.create(email="hs-500write--jane@acme.test")

    def inputs(*ids: str) -> dict[str, Any]:
        return {"inputs": [{"id": id, "properties": {"mobilephone": OURS}} for id in ids]}

    part = await hubspot.ask("POST", f"{OBJECTS}/batch/update", inputs(well, locked))
    whole = await hubspot.ask("POST", f"{OBJECTS}/batch/update", inputs(locked, failing))

    assert (part[0], [one["id"] for one in part[1]["results"]]) == (207, [well])
    assert part[1]["errors"][0]["category"] == "RESOURCE_LOCKED"
    assert whole[0] == 500


async def test_a_person_writes_between_our_read_and_our_write(hubspot: Client) -> None:
    """Once, after a read by batch or singly, and not before one: our write then overwrites what he wrote."""
    id = await hubspot.create(email="hs-human--jane@acme.test")
    unread = await hubspot.create(email="hs-human--doe@acme.test")
    await hubspot.ask("POST", READ_MANY, {"inputs": [{"id": id}]})
    for _ in range(2):
        await hubspot.patch(id, mobilephone=OURS)
    await hubspot.patch(unread, mobilephone=OURS)

    history = (await hubspot.read(id, "propertiesWithHistory=mobilephone"))[1]["propertiesWithHistory"]["mobilephone"]

    assert await written_by(hubspot) == ["CRM_UI", "INTEGRATION", "INTEGRATION"]
    assert [(edit["sourceType"], edit["value"] == OURS) for edit in history] == [
        ("INTEGRATION", True),
        ("CRM_UI", False),
    ]


async def test_a_person_clears_between_our_read_and_our_write(hubspot: Client) -> None:
    """The history shows that a number was there and was taken away; no two edits have the same time."""
    id = await hubspot.create(email="hs-humanclears--jane@acme.test")
    await hubspot.read(id)
    await hubspot.patch(id, mobilephone=OURS)

    history = (await hubspot.read(id, "propertiesWithHistory=mobilephone"))[1]["propertiesWithHistory"]["mobilephone"]

    assert [edit["value"] for edit in history][:2] == [OURS, ""]
    assert [edit["sourceType"] for edit in history] == ["INTEGRATION", "CRM_UI", "CRM_UI"]
    assert history[0]["timestamp"] > history[1]["timestamp"] > history[2]["timestamp"]


async def test_a_person_writes_right_after_us(hubspot: Client) -> None:
    """The answer shows our number, the next read shows theirs."""
    id = await hubspot.create(email="hs-humanafter--jane@acme.test")

    _, written = await hubspot.patch(id, mobilephone=OURS)

    assert written["properties"]["mobilephone"] == OURS
    assert (await hubspot.read(id))[1]["properties"]["mobilephone"] not in {OURS, None}
    assert await written_by(hubspot) == ["INTEGRATION", "CRM_UI"]


async def test_a_contact_goes_between_our_read_and_our_write(hubspot: Client) -> None:
    """Deleted: a 404. Merged: our write lands on the contact with the new id."""
    deleted = await hubspot.create(email="hs-humandeletes--jane@acme.test")
    merged = await hubspot.create(email="hs-humanmerges--doe@acme.test")
    for id in (deleted, merged):
        await hubspot.read(id)

    gone, _ = await hubspot.patch(deleted, mobilephone=OURS)
    status, written = await hubspot.patch(merged, mobilephone=OURS)

    assert (gone, status) == (404, 200)
    assert written["id"] not in {deleted, merged}
    assert (await hubspot.read(merged))[1]["properties"]["mobilephone"] == OURS


async def test_a_contact_that_was_merged_is_not_merged_at_every_write(hubspot: Client) -> None:
    """The people act once: the survivor of a merge takes a read and a write like any other contact."""
    merged = await hubspot.create(email="hs-humanmerges--doe@acme.test")
    await hubspot.read(merged)
    _, survivor = await hubspot.patch(merged, mobilephone=OURS)
    await hubspot.read(survivor["id"])

    _, written = await hubspot.patch(survivor["id"], mobilephone=OURS)

    assert written["id"] == survivor["id"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"error_rate": 1}, 503),
        ({"error_rate": 1, "error_status": 500}, 500),
        ({"error_rate": 1, "error_status": 521}, 521),
        ({"moving": True}, 477),
        ({"locked_rate": 1}, 423),
    ],
)
async def test_a_fault_befalls_every_write(hubspot: Client, fault: dict[str, Any], status: int) -> None:
    """Nothing is written; without the fault all is well again."""
    id = await hubspot.create(lastname="Doe")
    await hubspot.post("faults", fault)
    answered, _, headers = await hubspot.send("PATCH", f"{OBJECTS}/{id}", {"properties": {"mobilephone": OURS}})

    assert (answered, await mobile(hubspot, id)) == (status, None)
    assert headers.get("retry-after") == ("1" if status == 477 else None)
    assert (await hubspot.send("DELETE", "/sandbox/faults"))[0] == 200
    assert (await hubspot.patch(id, mobilephone=OURS))[0] == 200


@pytest.mark.parametrize(
    ("fault", "done"),
    [
        ({"reset_connections": 1}, False),
        ({"disconnect_before_work": 1}, False),
        ({"disconnect_after_accept": 1}, True),
        ({"torn_answers": 1}, True),
    ],
)
async def test_connections_break_at_any_moment(hubspot: Client, fault: dict[str, Any], done: bool) -> None:
    """Before the work or after it: the books tell."""
    id = await hubspot.create(lastname="Doe")
    await hubspot.post("faults", fault)

    assert await breaks_off(hubspot, "PATCH", f"{OBJECTS}/{id}", {"properties": {"mobilephone": OURS}})
    assert (await mobile(hubspot, id) == OURS) == done


async def test_answers_lie_or_say_nothing(hubspot: Client) -> None:
    """Garbage, a write that was ignored, an error without its words, an answer byte by byte."""
    id = await hubspot.create(lastname="Doe")
    await hubspot.post("faults", {"ignored_writes": 1})
    ignored = await hubspot.patch(id, mobilephone=OURS)
    unwritten = await mobile(hubspot, id)
    await hubspot.post("faults", {"garbage_answers": 1})
    _, garbage, _ = await hubspot.send("GET", f"{OBJECTS}/{id}")
    await hubspot.post("faults", {"bare_errors": True})
    bare = await hubspot.ask("GET", f"{OBJECTS}/999")
    await hubspot.post("faults", {"slow_bytes": 1})
    slow = await hubspot.ask("GET", f"{OBJECTS}/{id}?properties=email")

    assert (ignored[1]["properties"]["mobilephone"], unwritten) == (OURS, None)
    assert (garbage, bare) == (GARBAGE, (404, {}))
    assert slow[1]["id"] == id


async def test_an_answer_hangs_for_a_while(hubspot: Client) -> None:
    """It is done at once and answered later."""
    id = await hubspot.create(lastname="Doe")
    await hubspot.post("faults", {"hang_rate": 1, "hang_seconds": 3600})

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await hubspot.patch(id, mobilephone=OURS)

    assert await mobile(hubspot, id) == OURS


async def test_people_are_at_work_everywhere(hubspot: Client) -> None:
    """By rate, on any contact that we have read."""
    id = await hubspot.create(lastname="Doe")
    await hubspot.post("faults", {"human_edits": 1})
    await hubspot.read(id)
    await hubspot.patch(id, mobilephone=OURS)

    assert await written_by(hubspot) == ["CRM_UI", "INTEGRATION"]
