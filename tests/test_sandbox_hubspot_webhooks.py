"""The webhooks of the pretend HubSpot: what they say, how they are signed, and how they are tried again."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from sandbox.hubspot import publisher, signing, webhooks
from sandbox.hubspot.account import OBJECTS
from sandbox.hubspot.webhooks import MOST_RETRIES
from tests.hubspot_account import UNLIMITED, Client, Delivery, Inbox, account, inbox, kinds

SECRET = "hs_sandbox_secret"
# The vectors of docs/crm.md 1.2: HubSpot's page, its SDKs' tests, and some computed for that page.
KEY = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
PAGE = "https://www.example.com/webhook_uri"
EXAMPLE = b"{'example_field':'example_value'}"
BATCH = (
    b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
    b'"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM",'
    b'"changeFlag":"NEW","appId":54321}]'
)
ZOE = '[{"propertyName":"firstname","propertyValue":"Zoë"}]'.encode()


@pytest.fixture
async def hubspot() -> AsyncIterator[Client]:
    """An account without limits that tries again at once."""
    async with account() as client:
        yield client


@pytest.fixture
async def box(hubspot: Client) -> AsyncIterator[Inbox]:
    """The receiver of its webhooks."""
    async with inbox(hubspot) as box:
        yield box


@pytest.mark.parametrize(
    ("url", "body", "at", "signature"),
    [
        (PAGE, EXAMPLE, 15000000, "HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw="),
        (PAGE, EXAMPLE, 1693657560000, "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
        (PAGE, EXAMPLE, 1700000300000, "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw="),
        (PAGE, BATCH, 1700000300000, "smW6rgegs09CsNkBMkt7S2A8yJh/NGA8hRa/1lTI9wc="),
        (PAGE, ZOE, 1700000300000, "8hoyRyGFrKEX8LNZ1lED/Hn/DulDHxGsXX8h6fD+xrk="),
        (
            "https://hooks.example.com/events/hubspot?x=a%3Ab%2Fc",
            b"[]",
            1700000300000,
            "ursjomz3cMXt0xi/NjM4dnodLyF86ndS81KqCf5/MSg=",
        ),
    ],
)
def test_v3_signs_as_the_vectors_say(url: str, body: bytes, at: int, signature: str) -> None:
    """Method, address, body and time; in the address only what HubSpot names is decoded."""
    assert signing.v3(KEY, "POST", url, body, at) == signature


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (BATCH, "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"),
        (EXAMPLE, "69fc6631a867edd4f9e9e627fc5c1148e3fbdd8b21837b6d2b8901c1fa57f750"),
    ],
)
def test_v1_signs_as_the_vectors_say(body: bytes, signature: str) -> None:
    """Secret and body, in lower-case hex."""
    assert signing.v1(KEY, body) == signature


def v3_is_right(delivery: Delivery, url: str) -> bool:
    """Compute the signature anew, from what arrived."""
    text = f"POST{url}{delivery.body.decode()}{delivery.headers['x-hubspot-request-timestamp']}"
    expected = base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()).decode()
    return expected == delivery.headers["x-hubspot-signature-v3"]


async def test_what_is_sent_is_signed(hubspot: Client, box: Inbox) -> None:
    """v3 over what arrives at the address that was given, and no v1."""
    await hubspot.create(email="jane@acme.test", lastname="Zoë")
    await hubspot.told()

    (delivery,) = box.deliveries
    assert v3_is_right(delivery, box.url)
    assert "x-hubspot-signature" not in delivery.headers
    assert delivery.headers["content-type"] == "application/json"
    assert len(delivery.headers["x-hubspot-request-timestamp"]) == 13


async def test_an_address_is_kept_as_it_was_given(hubspot: Client) -> None:
    """Its query is neither encoded nor decoded on the way; only the signed text has the characters plain."""
    async with inbox(hubspot) as box:
        await hubspot.post("subscription", {"url": f"{box.url}?x=a%3Ab%2Fc"})
        await hubspot.create(email="jane@acme.test")
        await hubspot.told()

    assert box.deliveries[0].path == "/events/hubspot?x=a%3Ab%2Fc"
    assert v3_is_right(box.deliveries[0], f"{box.url}?x=a:b/c")


async def test_the_old_signature_is_a_switch(hubspot: Client) -> None:
    """Alone, or beside the new one."""
    async with inbox(hubspot, signing="v1") as box:
        await hubspot.create(email="jane@acme.test")
        await hubspot.told()
        await hubspot.post("subscription", {"signing": "both"})
        await hubspot.create(email="doe@acme.test")
        await hubspot.told()

    old, both = box.deliveries
    assert old.headers["x-hubspot-signature"] == hashlib.sha256(SECRET.encode() + old.body).hexdigest()
    assert old.headers["x-hubspot-signature-version"] == "v1"
    assert "x-hubspot-signature-v3" not in old.headers
    assert both.headers["x-hubspot-signature"] == hashlib.sha256(SECRET.encode() + both.body).hexdigest()
    assert v3_is_right(both, box.url)


async def test_a_creation_is_told(hubspot: Client, box: Inbox) -> None:
    """With every key of HubSpot's page, and a propertyChange for each subscribed value."""
    id = await hubspot.create(email="jane@acme.test", lastname="Doe")
    await hubspot.told()

    created, changed = box.events()
    assert created | {"eventId": 0, "occurredAt": 0} == {
        "eventId": 0,
        "subscriptionId": 543210,
        "portalId": 62515,
        "appId": 54321,
        "occurredAt": 0,
        "subscriptionType": "contact.creation",
        "attemptNumber": 0,
        "objectId": int(id),
        "changeSource": "CRM_UI",
        "changeFlag": "CREATED",
        "sourceId": "userId:2602",
    }
    assert (changed["subscriptionType"], changed["propertyName"]) == ("contact.propertyChange", "email")
    assert changed["propertyValue"] == "jane@acme.test"


async def test_our_own_write_is_told_as_well(hubspot: Client, box: Inbox) -> None:
    """That is the echo; a write that changes nothing has none."""
    id = await hubspot.create(lastname="Doe")
    for _ in range(2):
        await hubspot.patch(id, mobilephone="+14155550100")
    await hubspot.told()

    (echo,) = box.events("contact.propertyChange")
    assert (echo["objectId"], echo["propertyValue"]) == (int(id), "+14155550100")
    assert (echo["changeSource"], echo["sourceId"]) == ("INTEGRATION", "54321")


async def test_a_merge_is_told(hubspot: Client, box: Inbox) -> None:
    """With the new id and both old ones."""
    first, second = await hubspot.create(lastname="One"), await hubspot.create(lastname="Two", jobtitle="CTO")
    merged = (await hubspot.post(f"contacts/{first}/merge", {"other": second}))["id"]
    await hubspot.told()

    (event,) = box.events("contact.merge")
    assert (event["newObjectId"], event["primaryObjectId"]) == (int(merged), int(first))
    assert (event["mergedObjectIds"], event["numberOfPropertiesMoved"]) == ([int(second)], 1)


async def test_deletion_and_restore_are_told(hubspot: Client, box: Inbox) -> None:
    """By any author."""
    id = await hubspot.create(lastname="Doe")
    await hubspot.ask("DELETE", f"{OBJECTS}/{id}")
    await hubspot.post(f"contacts/{id}/restore")
    await hubspot.told()

    assert kinds(box.events())[1:] == ["contact.deletion", "contact.restore"]


async def test_a_privacy_deletion_is_two_events(hubspot: Client, box: Inbox) -> None:
    """In any order: over some of them, both orders come."""
    for _ in range(12):
        id = await hubspot.create(lastname="Doe")
        await hubspot.post(f"contacts/{id}/erase")
    await hubspot.told()

    told = kinds(box.events("contact.deletion", "contact.privacyDeletion"))
    pairs = {tuple(told[at : at + 2]) for at in range(0, len(told), 2)}
    assert pairs == {("contact.deletion", "contact.privacyDeletion"), ("contact.privacyDeletion", "contact.deletion")}


async def test_the_generic_dialect_is_a_switch(hubspot: Client) -> None:
    """object.creation with the type's id; privacy deletions keep their name; the type's key can be the other one."""
    async with inbox(hubspot, dialect="generic") as box:
        id = await hubspot.create(lastname="Doe")
        await hubspot.post(f"contacts/{id}/erase")
        await hubspot.told()
        await hubspot.post("subscription", {"type_key": "eventType"})
        await hubspot.create(lastname="Doe")
        await hubspot.told()

    *events, last = [event for delivery in box.deliveries for event in delivery.events]
    types = {event["subscriptionType"]: event.get("objectTypeId") for event in events}
    assert types == {"object.creation": "0-1", "object.deletion": "0-1", "contact.privacyDeletion": None}
    assert last["eventType"] == "object.creation"
    assert "subscriptionType" not in last


async def test_only_what_is_subscribed_is_told(hubspot: Client) -> None:
    """By kind and property; a star is every property; without an address nothing is sent."""
    await hubspot.create(lastname="Nobody hears of")
    async with inbox(hubspot, kinds=["propertyChange"], properties=["jobtitle"]) as box:
        id = await hubspot.create(lastname="Doe", jobtitle="CTO")
        await hubspot.told()
        await hubspot.post("subscription", {"properties": ["*"]})
        await hubspot.edit(id, lastname="Other")
        await hubspot.told()

    assert [event["propertyName"] for event in box.events()] == ["jobtitle", "lastname"]


async def test_a_body_holds_a_hundred_events(hubspot: Client, box: Inbox) -> None:
    """Events of one moment are sent together, a hundred at most."""
    await hubspot.post("contacts", {"n": 250, "with_email": 0, "with_linkedin": 1})
    await hubspot.told()

    sizes = sorted(len(delivery.events) for delivery in box.deliveries)
    assert (sum(sizes), sizes[-1]) == (500, 100)


@pytest.mark.parametrize("status", [302, 400, 404, 410, 429, 500, 503])
async def test_anything_but_success_is_tried_again(hubspot: Client, box: Inbox, status: int) -> None:
    """Also a 4xx; the same events under a new number of the attempt, signed afresh."""
    box.statuses = [status, status]
    await hubspot.create(email="jane@acme.test")
    await hubspot.told()

    attempts = [{event["attemptNumber"] for event in delivery.events} for delivery in box.deliveries]
    ids = [[event["eventId"] for event in delivery.events] for delivery in box.deliveries]
    assert attempts == [{0}, {1}, {2}]
    assert ids[0] == ids[1] == ids[2]
    assert all(v3_is_right(delivery, box.url) for delivery in box.deliveries)


async def test_after_ten_retries_it_is_given_up(hubspot: Client, box: Inbox) -> None:
    """Eleven attempts, all in the log with the answers that they got."""
    box.statuses = [503] * 20
    await hubspot.create(lastname="Doe")
    stats = await hubspot.told()

    log = (await hubspot.get("webhooks"))["entries"]
    assert len(box.deliveries) == stats["webhooks_refused"] == MOST_RETRIES + 1
    assert [(one["attempt"], one["status"], one["answer"]) for one in log] == [(n, 503, "noted") for n in range(11)]
    assert json.loads(log[0]["body"]) == box.deliveries[0].events


async def test_a_connection_that_fails_is_tried_again(hubspot: Client) -> None:
    """The address refuses connections at first; then the events come."""
    async with inbox(hubspot) as box:
        address = box.url
    await hubspot.post("subscription", {"url": address})
    await hubspot.create(lastname="Doe")
    stats = await hubspot.told()

    assert (stats["webhooks_failed"], stats["events_accepted"]) == (MOST_RETRIES + 1, 0)


async def test_a_slow_receiver_is_cut_off(hubspot: Client, box: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline of five seconds, here shorter, it counts as failed and is tried again."""
    assert webhooks.DEADLINE.total == 5
    monkeypatch.setattr(webhooks, "DEADLINE", aiohttp.ClientTimeout(total=0.5))
    box.held = 1
    await hubspot.create(lastname="Doe")
    stats = await hubspot.told()

    assert (stats["webhooks_failed"], stats["webhooks_accepted"], len(box.deliveries)) == (1, 1, 2)
    assert (await hubspot.get("webhooks"))["entries"][0]["error"] == "TimeoutError"


async def test_retries_are_spread_over_time() -> None:
    """With a pause that never ends here, the second attempt waits."""
    async with account(replace(UNLIMITED, retry_seconds=3600)) as hubspot, inbox(hubspot) as box:
        box.statuses = [503]
        await hubspot.create(lastname="Doe")
        async with asyncio.timeout(10):
            while not (stats := await hubspot.get("stats"))["webhooks_refused"]:
                pass

    assert (stats["webhooks_sent"], stats["webhooks_pending"]) == (1, 1)


async def test_a_reset_gives_up_what_waits() -> None:
    """Nothing is on its way any more."""
    async with account(replace(UNLIMITED, batch_seconds=3600)) as hubspot, inbox(hubspot) as box:
        await hubspot.create(lastname="Doe")
        waiting = (await hubspot.get("stats"))["webhooks_pending"]
        await hubspot.post("reset")
        await hubspot.told()

    assert (waiting, box.deliveries) == (2, [])


async def test_events_are_lost_doubled_late_and_reordered(
    hubspot: Client, box: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a fault of its own; the counts say which."""
    monkeypatch.setattr(publisher, "REORDERED", 1.0)
    await hubspot.post("faults", {"drop_events": 1})
    await hubspot.create(lastname="Lost")
    await hubspot.post("faults", {"duplicate_events": 1})
    doubled = await hubspot.create(lastname="Doubled")
    await hubspot.post("faults", {"reorder_events": 1})
    behind = await hubspot.create(lastname="Behind")
    await hubspot.post("faults", {"delay_events_seconds": [2, 2]})
    late = await hubspot.create(lastname="Late")
    await hubspot.post("faults", {})
    last = await hubspot.create(lastname="Last")
    stats = await hubspot.told()

    ids = [str(event["objectId"]) for event in box.events()]
    assert sorted(ids) == sorted([doubled, doubled, behind, late, last])
    assert ids[:2] == [doubled, last]
    assert ids[-1] == late
    assert (stats["events"], stats["events_dropped"], stats["events_duplicated"]) == (5, 1, 1)


async def test_events_lie(hubspot: Client, box: Inbox) -> None:
    """Forged under another secret, about another account, with an id that was used, without their values."""
    await hubspot.post("faults", {"forge_events": 1, "other_portal": 1, "redact_values": True, "reuse_event_ids": 1})
    await hubspot.create(email="jane@acme.test")
    stats = await hubspot.told()

    forged = [delivery for delivery in box.deliveries if not v3_is_right(delivery, box.url)]
    events = box.events()
    assert (len(forged), stats["forged_sent"], stats["webhooks_sent"]) == (2, 2, 1)
    assert {event["portalId"] for event in events} == {62515, 62516}
    assert {event["propertyValue"] for event in events if "propertyValue" in event} == {"REDACTED"}
    assert len({event["eventId"] for event in events}) == 1


async def test_words_steer_webhooks(hubspot: Client, box: Inbox) -> None:
    """One contact sends no events, one sends each twice, one sends no values."""
    await hubspot.create(email="hs-silent--a@acme.test")
    double = await hubspot.create(hs_linkedin_url="linkedin.com/in/hs-double--b")
    redacted = await hubspot.create(lastname="Doe")
    await hubspot.post(f"contacts/{redacted}/words", {"words": ["hs-redacted"]})
    await hubspot.edit(redacted, email="c@acme.test")
    await hubspot.told()

    changes = [(str(event["objectId"]), event["propertyValue"]) for event in box.events("contact.propertyChange")]
    assert changes.count((double, "linkedin.com/in/hs-double--b")) == 2
    assert (redacted, "REDACTED") in changes
    assert len(changes) == 3
    created = [str(event["objectId"]) for event in box.events("contact.creation")]
    assert sorted(created) == sorted([double, double, redacted])
