"""Named contacts of a pretend HubSpot become lookups, or are skipped for a reason."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Start
from tests.crm_world import THEIRS, CrmWorld, crm_world
from tests.factories import lookup
from tests.fake_provider import FakeProvider, Reply, found


@pytest.fixture
async def crm(start: Start) -> AsyncIterator[CrmWorld]:
    """Provide a process at work for HubSpot."""
    async with crm_world(start) as world:
        yield world


async def test_a_named_contact_becomes_a_lookup(crm: CrmWorld) -> None:
    """The contact is stored verbatim, and the lookup carries its record and identifiers."""
    record = crm.create(email="jane@acme.co", hs_linkedin_url="https://linkedin.com/in/janedoe", company="Acme")
    await crm.name(record)

    await crm.read()

    reading = await crm.reading(record)
    row = await crm.pool.fetchrow(
        """
        SELECT lookups.*, events.body, events.source AS event_source
          FROM lookups
          JOIN events ON events.id = event_id
        """
    )
    assert row is not None
    assert (reading["status"], reading["lookup_id"]) == ("done", row["id"])
    assert (row["source"], row["event_source"], row["record_id"]) == ("hubspot", "hubspot", record)
    assert (row["work_email"], row["name"], row["company"]) == ("jane@acme.co", "Jane Doe", "Acme")
    assert row["profile_url"].endswith("/in/janedoe")
    assert b'"janedoe' not in row["body"]
    assert f'"id":"{record}"'.encode() in row["body"]
    assert crm.wakes == 1


async def test_many_contacts_are_read_in_few_calls(crm: CrmWorld) -> None:
    """Contacts claimed together share batch reads; the first goes alone, because it need not wait."""
    records = [crm.create() for _ in range(60)]
    await crm.name(*records)

    await crm.read()

    assert await crm.lookups() == 60
    assert crm.requests("POST", "/batch/read") == 2
    assert crm.requests("GET", "/contacts/") <= 1


async def test_unchanged_contacts_make_no_second_lookup(crm: CrmWorld) -> None:
    """Named again without news, a contact leads to the lookup that it has."""
    record = crm.create()
    await crm.name(record)
    await crm.read()
    first = (await crm.reading(record))["lookup_id"]

    await crm.name(record)
    await crm.read()

    again = await crm.reading(record)
    assert (again["status"], again["lookup_id"]) == ("done", first)
    assert await crm.lookups() == 1


async def test_a_write_of_our_own_status_makes_no_lookup(crm: CrmWorld, fake: FakeProvider) -> None:
    """A failed lookup's status is written onto the contact, which changes it; that is no news to look up by."""
    fake.questions.append(Reply(400, {"error": "bad_request"}))
    record = crm.create()
    await crm.find_number(record)
    await crm.pool.execute("UPDATE lookups SET final_status = 'failed', finished_at = now()")
    crm.edit(record, jobtitle="written by us")

    await crm.name(record)
    await crm.read()

    assert (await crm.reading(record))["status"] == "done"
    assert await crm.lookups() == 1


async def test_a_new_identifier_is_news(crm: CrmWorld) -> None:
    """After an e-mail was set the contact is looked up again."""
    record = crm.create()
    await crm.name(record)
    await crm.read()
    crm.edit(record, email="another@acme.co")

    await crm.name(record)
    await crm.read()

    assert await crm.lookups() == 2


async def test_contacts_are_skipped_for_reasons(start: Start) -> None:
    """A mobile, ONLY_IF, and news older than the connection: each reason is recorded, and no lookup is made."""
    async with crm_world(start, hubspot_only_if="jobtitle=ceo") as crm:
        old = crm.create(jobtitle="ceo")
        crm.age(old, seconds=60)
        await crm.pool.execute("UPDATE connections SET connected_at = now() - interval '30 s'")
        with_mobile = crm.create(mobilephone=THEIRS, jobtitle="ceo")
        unworthy = crm.create(jobtitle="intern")
        await crm.name(with_mobile, unworthy, old)
        await crm.read()

        reasons = [(await crm.reading(one))["reason"] for one in (with_mobile, unworthy, old)]
        assert reasons == ["has a mobile", "not worth asking", "older than the connection"]
        assert await crm.lookups() == 0


async def test_a_suppressed_contact_is_skipped(crm: CrmWorld) -> None:
    """A suppressed contact is not stored as a lookup at all."""
    record = crm.create(email="jane@acme.co")
    await crm.pool.execute(
        "INSERT INTO suppressions (id, kind, hash) VALUES (new_id(), 'email', $1)",
        crm.at_work.process.policy.hash("email", "jane@acme.co"),
    )
    await crm.name(record)

    await crm.read()

    assert (await crm.reading(record))["reason"] == "suppressed"
    assert await crm.lookups() == 0


async def test_a_deleted_contact_cancels_its_lookup(crm: CrmWorld) -> None:
    """Gone: the queued lookup is cancelled with its question, and a restored contact is looked up again."""
    record = crm.create()
    await crm.name(record)
    await crm.read()
    crm.delete(record)

    await crm.name(record)
    await crm.read()

    row = await crm.pool.fetchrow("SELECT final_status::text, reason FROM lookups")
    assert row is not None
    assert tuple(row) == ("cancelled", "its contact was deleted")
    assert (await crm.reading(record))["reason"] == "gone"
    assert await crm.pool.fetchval("SELECT count(*) FROM jobs") == 0

    contact = crm.account.portal.find(int(record), archived=True)
    assert contact is not None
    crm.account.portal.restore(contact)
    await crm.name(record)
    await crm.read()

    assert await crm.lookups() == 2


async def test_a_running_lookup_of_a_deleted_contact_ends_by_itself(crm: CrmWorld, fake: FakeProvider) -> None:
    """Its question is paid for, so its answer is waited for."""
    fake.questions.append(found())
    record = crm.create()
    await crm.name(record)
    await crm.read()
    await crm.pool.execute("UPDATE jobs SET attempt = 1")
    crm.delete(record)

    await crm.name(record)
    await crm.read()

    assert (await crm.reading(record))["reason"] == "gone"
    assert await crm.pool.fetchval("SELECT final_status FROM lookups") is None


async def test_a_merged_contact_hands_over_its_open_lookup(crm: CrmWorld) -> None:
    """The old record's lookup belongs to the new record, which is named; the old reading says where it went."""
    record, other = crm.create(), crm.create()
    await crm.name(record)
    await crm.read()
    merged = crm.merge(other, record)

    await crm.name(record)
    await crm.read()

    assert (await crm.reading(record))["reason"] == f"merged into {merged}"
    assert (await crm.reading(merged))["status"] == "queued"
    assert await crm.pool.fetchval("SELECT record_id FROM lookups") == merged


async def test_a_delivery_that_waits_follows_its_merged_contact(crm: CrmWorld) -> None:
    """A result that has yet to be written goes to the record that the contact was merged into."""
    record, other = crm.create(), crm.create()
    ended = await lookup(crm.pool, source="hubspot", record_id=record, final_status="found")
    await crm.pool.execute(
        "INSERT INTO deliveries (id, lookup_id, channel) VALUES (new_id(), $1, 'hubspot')", ended["id"]
    )
    merged = crm.merge(other, record)

    await crm.name(record)
    await crm.read()

    assert [one["record_id"] for one in await crm.deliveries()] == [merged]
    assert await crm.pool.fetchval("SELECT record_id FROM lookups") == record  # it has ended: history stays


async def test_lookups_of_contacts_that_were_merged_unheard_follow_the_survivor(crm: CrmWorld) -> None:
    """When an event names only the survivor, it takes over the open lookups of the contacts merged into it."""
    record, other = crm.create(), crm.create()
    await crm.name(record)
    await crm.read()
    merged = crm.merge(other, record)

    await crm.name(merged)
    await crm.read()

    records = await crm.pool.fetch("SELECT DISTINCT record_id FROM lookups")
    assert [row["record_id"] for row in records] == [merged]


async def test_a_contact_that_batches_hide_is_read_alone(crm: CrmWorld) -> None:
    """A contact that is missing in a batch is not gone before a single read says so."""
    records = [crm.create() for _ in range(3)]
    hidden = crm.create("hidden")
    await crm.name(*records, hidden)

    await crm.read()

    assert (await crm.reading(hidden))["status"] == "done"


@pytest.mark.parametrize("word", ["500once", "502once", "garbage", "torn"])
async def test_a_failed_read_is_repeated(crm: CrmWorld, word: str) -> None:
    """A reading that fails is queued again with a counted try, and read later."""
    record = crm.create(word)
    await crm.name(record)

    await crm.read()
    failed = await crm.reading(record)
    await crm.due_now()
    await crm.read()

    assert (failed["status"], failed["tries"]) == ("queued", 1)
    assert failed["error"]
    assert (await crm.reading(record))["status"] == "done"


async def test_a_429_costs_no_try_and_lets_the_crm_rest(crm: CrmWorld) -> None:
    """Throttled: the reading waits, and while HubSpot rests nothing is claimed."""
    record = crm.create("429once")
    await crm.name(record)

    await crm.read()

    throttled = await crm.reading(record)
    assert (throttled["status"], throttled["tries"]) == ("queued", 0)
    await crm.pool.execute("UPDATE readings SET due_at = now()")
    assert await crm.read() == 0
    await crm.due_now()
    await crm.read()
    assert (await crm.reading(record))["status"] == "done"


async def test_the_last_failed_read_is_recorded(crm: CrmWorld) -> None:
    """After MAX_ATTEMPTS the reading is skipped, and says why it could not be read."""
    record = crm.create("500")
    await crm.name(record)
    await crm.pool.execute("UPDATE readings SET tries = 7")

    await crm.read()

    reading = await crm.reading(record)
    assert reading["status"] == "skipped"
    assert reading["reason"].startswith("could not be read: given up after 8 tries: HTTP 500")


async def test_an_id_that_is_none_is_not_asked_for(crm: CrmWorld) -> None:
    """A record that is no id of HubSpot's never becomes part of an address."""
    await crm.name("../../account")

    await crm.read()

    assert (await crm.reading("../../account"))["reason"] == "could not be read: HubSpot has no such ids"
    assert crm.requests("GET", "account") == 0


async def test_a_privacy_deletion_erases_the_person(crm: CrmWorld) -> None:
    """The person is forgotten here as well: nothing that was kept has the address any more."""
    record = crm.create(email="jane@acme.co")
    await crm.name(record)
    await crm.read()
    await crm.name(record)
    await crm.pool.execute("UPDATE readings SET erases = true")

    await crm.read()

    assert (await crm.reading(record))["reason"] == "erased"
    assert await crm.lookups() == 0
    assert (
        await crm.pool.fetchval("SELECT count(*) FROM events WHERE encode(body, 'escape') LIKE '%jane@acme.co%'") == 0
    )
