"""The loop with a CRM at its worst moments: accepted contacts, paid questions, and whose number it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from enrichment.contact import Contact as ReadContact
from enrichment.crms.base import Named
from enrichment.crms.hubspot_contacts import read_contact
from enrichment.crms.hubspot_pages import read_page
from enrichment.write_back import is_same_person
from sandbox.hubspot import search
from sandbox.hubspot.faults import Faults
from store.connections import Connections
from store.leases import READINGS, Postponed
from store.providers import pause
from store.readings import CrmEvent, name_contacts
from store.sweeps import name
from submitter.crm_callers import CrmCallers
from tests.conftest import MakeSettings, Start
from tests.crm_sweeping import TOKEN, Sweeping, playing, sweeping
from tests.crm_world import MOBILE, CrmWorld, crm_world
from tests.fake_provider import FakeProvider, Reply, found, nothing
from tests.order import Order

if TYPE_CHECKING:
    from sandbox.hubspot.records import Contact
    from tests.wishes import Pool

FOUND = found("+1-555-123-4567")


@pytest.fixture
async def crm(start: Start) -> AsyncIterator[CrmWorld]:
    """Provide a process at work for HubSpot."""
    async with crm_world(start) as world:
        yield world


@pytest.fixture
async def world(pool: Pool, make_settings: MakeSettings) -> AsyncIterator[Sweeping]:
    """Provide a reconciler's sweep and walk over a HubSpot."""
    async with playing() as (hubspot, url):
        settings = make_settings(hubspot_access_token=TOKEN, hubspot_base_url=url)
        async with sweeping(pool, settings, hubspot, url) as opened:
            yield opened


async def hear(pool: Pool, record_id: str, *, erases: bool = False, is_request: bool = False) -> None:
    """Let an event name the contact."""
    one = Named(record_id, erases=erases, is_request=is_request)
    await name_contacts(pool, [CrmEvent("hubspot", b"[]", (one,))])


def contact_of(crm: CrmWorld, record_id: str) -> Contact:
    """Return the contact as HubSpot has it."""
    contact = crm.account.portal.find(int(record_id))
    assert contact is not None
    return contact


async def test_an_edit_that_a_reading_did_not_see_is_asked_about(crm: CrmWorld) -> None:
    """Made after the contact was read and before its lookup was stored, it is older than that and still news."""
    record = crm.create("stale", email="jane@acme.co")
    crm.age(record, seconds=1)
    contact = contact_of(crm, record)
    contact.edits = {field: [edit._replace(at=edit.at - 5000) for edit in all] for field, all in contact.edits.items()}
    await crm.pool.execute("UPDATE connections SET connected_at = now() - interval '1 min'")
    crm.edit(record, hs_linkedin_url="https://www.linkedin.com/in/janedoe")
    await hear(crm.pool, record)
    await crm.read()
    assert await crm.pool.fetchval("SELECT profile_url FROM lookups") is None  # the answer was old

    crm.account.conduct.words[contact.id] = ()
    await hear(crm.pool, record)
    await crm.read()

    profiles = await crm.pool.fetch("SELECT profile_url FROM lookups ORDER BY id")
    assert [row["profile_url"] for row in profiles] == [None, "linkedin.com/in/janedoe"]


@pytest.mark.parametrize(
    ("now", "is_written"),
    [
        ({"email": "bob@other.co", "firstname": "Bob", "lastname": "Smith"}, False),
        ({"email": "j.doe@other.co"}, False),
        ({"email": "", "firstname": "Bob", "lastname": "Smith"}, False),
        ({"hs_linkedin_url": "https://www.linkedin.com/in/janedoe"}, True),
        ({"lastname": "Smith-Doe", "company": "Other"}, True),
        ({"email": ""}, True),
    ],
)
async def test_a_number_is_written_only_onto_the_person_who_was_asked_about(
    crm: CrmWorld, fake: FakeProvider, now: dict[str, str], is_written: bool
) -> None:
    """A record that has become another person's, or may have, keeps its field empty."""
    fake.questions.append(FOUND)
    record = crm.create(email="jane@acme.co")
    await crm.find_number(record)
    crm.edit(record, **now)

    await crm.deliver()

    if is_written:
        assert await crm.delivery() == ("delivered", None)
        assert crm.value(record) == MOBILE
    else:
        assert await crm.delivery() == ("skipped", "the contact is about somebody else by now")
        assert crm.value(record) is None


async def test_a_profile_that_changed_is_somebody_elses(crm: CrmWorld, fake: FakeProvider) -> None:
    """Without a shared identifier, another profile is another person, whether or not the names agree."""
    fake.questions.append(FOUND)
    record = crm.create(email="", hs_linkedin_url="https://www.linkedin.com/in/janedoe")
    await crm.find_number(record)
    crm.edit(record, hs_linkedin_url="https://www.linkedin.com/in/another-janedoe")

    await crm.deliver()

    assert await crm.delivery() == ("skipped", "the contact is about somebody else by now")


def test_a_shared_mailbox_names_nobody() -> None:
    """Two people behind one office address are two people."""
    jane = ReadContact(work_email="office@acme.co", name="Jane Doe")

    assert not is_same_person(jane, ReadContact(work_email="office@acme.co", name="Bob Smith"))
    assert is_same_person(jane, ReadContact(work_email="office@acme.co", name="J. Doe"))


async def test_an_answer_about_another_contact_is_no_merge(crm: CrmWorld, fake: FakeProvider) -> None:
    """HubSpot's answer names the absorbed id in a merge; one that does not is a wrong answer, and moves no lookup."""
    fake.questions.append(FOUND)
    record, other = crm.create(email="jane@acme.co"), crm.create(email="joe@acme.co", firstname="Joe")
    await crm.name(record)
    await crm.read()
    crm.account.portal.contacts.pop(int(record))
    crm.account.portal.merged[int(record)] = int(other)

    await crm.name(record)
    await crm.read()

    assert (await crm.reading(record))["status"] == "queued"
    assert await crm.pool.fetchval("SELECT record_id FROM lookups") == record

    await crm.at_work.ask("leadmagic")
    await crm.deliver()

    assert crm.value(other) is None
    assert (await crm.deliveries())[0]["status"] == "queued"


async def test_a_person_is_forgotten_while_the_crm_is_paused(crm: CrmWorld, fake: FakeProvider) -> None:
    """A privacy deletion was accepted, and needs no call."""
    fake.questions.append(nothing())
    record = crm.create()
    await crm.find_number(record)
    await pause(crm.pool, "hubspot", "no key", timedelta(hours=1))
    await hear(crm.pool, record, erases=True)
    assert await crm.read() == 0
    await crm.pool.execute("UPDATE readings SET due_at = now() - interval '2 min'")

    await crm.duties.erase()

    assert await crm.lookups() == 0
    assert (await crm.reading(record))["reason"] == "erased"


async def test_a_person_is_forgotten_after_the_crm_was_disconnected(crm: CrmWorld, fake: FakeProvider) -> None:
    """No submitter reads for that CRM any more, and an erasure is never given up."""
    fake.questions.append(nothing())
    record = crm.create()
    await crm.find_number(record)
    await hear(crm.pool, record, erases=True)
    await crm.pool.execute("DELETE FROM connections")
    await crm.pool.execute(
        """
        UPDATE readings
           SET named_at = now() - interval '36 days', due_at = now() - interval '36 days',
               id = overlay(id::text PLACING '01900000' FROM 1 FOR 8)::uuid
        """
    )

    await crm.duties.end_stale()
    await crm.duties.erase()

    assert await crm.lookups() == 0
    assert (await crm.reading(record))["reason"] == "erased"


async def test_a_sweep_does_not_take_an_events_wish(crm: CrmWorld) -> None:
    """An event asks again where an answer is too old to be reused; a sweep of the same change does not undo it."""
    await hear(crm.pool, "101")

    await name(crm.pool, "hubspot", "sweep", {"101": datetime.now(UTC)})
    await name(crm.pool, "hubspot", "walk", {"101": None})

    assert (await crm.reading("101"))["named_by"] == "event"


async def test_what_was_asked_for_is_asked_for_after_a_merge(crm: CrmWorld) -> None:
    """A workflow wants the number of a contact that is older than the connection, and was merged before it was read."""
    record, other = crm.create(), crm.create()
    merged = crm.merge(other, record)
    await crm.pool.execute("UPDATE connections SET connected_at = now() + interval '1 h'")
    await hear(crm.pool, record, is_request=True)

    await crm.read()
    await crm.read()

    assert (await crm.reading(merged))["status"] == "done"


async def test_a_date_to_come_is_no_news_for_ever(crm: CrmWorld, fake: FakeProvider) -> None:
    """An import may date an e-mail years ahead: our own write of a failure must not lead to the next question."""
    fake.questions.append(Reply(400, {"error": "bad_request"}))
    record = crm.create(email="jane@acme.co")
    contact = contact_of(crm, record)
    (edit,) = contact.edits["email"]
    contact.edits["email"] = [edit._replace(at=edit.at + 10**11)]
    await crm.find_number(record)
    await crm.pool.execute("UPDATE lookups SET final_status = 'failed', finished_at = now()")
    crm.edit(record, jobtitle="written by us")

    await crm.name(record)
    await crm.read()

    assert await crm.lookups() == 1


def test_a_field_that_was_cleared_is_so_without_a_date() -> None:
    """A former value counts although its time cannot be read: a person wrote it once."""
    contact = read_contact(
        {
            "id": "101",
            "properties": {"mobilephone": None, "createdate": "2026-01-01T00:00:00Z"},
            "propertiesWithHistory": {
                "mobilephone": [{"value": "", "timestamp": "soon"}, {"value": "+4912345", "timestamp": None}]
            },
        },
        "hs_linkedin_url",
        (),
    )

    assert contact is not None
    assert sorted(edit.value for edit in contact.edits) == ["", "+4912345"]


@pytest.mark.parametrize("after", ["a\0b", "a\ud800b", "a\nb"])
def test_a_cursor_that_cannot_be_stored_is_none(after: str) -> None:
    """A walk keeps its cursor in PostgreSQL: with such a one it would stand still for ever."""
    page = read_page({"paging": {"next": {"after": after}}}, [{"id": "101", "archived": True}])

    assert page.after is None


async def test_an_erasure_follows_merges(crm: CrmWorld, fake: FakeProvider) -> None:
    """The results of contacts that were merged into a person's go with it."""
    fake.questions.append(FOUND)
    record = crm.create(email="jane@acme.co")
    await crm.find_number(record)
    second = crm.merge(crm.create(email="j.doe@acme.co"), record)
    await crm.name(record)
    await crm.read()
    third = crm.merge(crm.create(email="j@acme.co"), second)
    await crm.name(second)
    await crm.read()

    await hear(crm.pool, third, erases=True)
    await crm.due_now()
    await crm.read()

    assert await crm.pool.fetchval("SELECT count(*) FROM lookups WHERE record_id = $1", record) == 0


async def test_a_token_of_another_account_works_for_nobody(crm: CrmWorld) -> None:
    """The ids of one account are other people's in another: nothing is read or written before a new connect."""
    await crm.pool.execute("UPDATE connections SET account = '1'")
    settings = crm.at_work.process.settings
    callers = CrmCallers(crm.pool, settings, Connections(crm.pool, settings))

    assert await callers.of("hubspot") is None
    assert await callers.of("hubspot") is None
    await callers.close()

    assert crm.requests("GET", "/account-info/") == 1
    error = await crm.pool.fetchval("SELECT error FROM connections")
    assert error == "the token is of account 62515, not of 1: disconnect, and connect again"


async def test_the_account_is_asked_for_until_it_is_told(world: Sweeping) -> None:
    """While the account is not known, events of any account are accepted."""
    await world.pool.execute("UPDATE connections SET account = NULL")
    world.hubspot.conduct.chaos.faults = Faults(error_rate=1)
    await world.sweep()
    world.hubspot.conduct.chaos.faults = Faults()
    await world.pool.execute("UPDATE providers SET rest_until = NULL, open_until = NULL")

    await world.sweep()

    assert await world.pool.fetchval("SELECT account FROM connections") == "62515"


async def test_a_search_without_end_is_left(world: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CRM that forgets where a page begins answers the same one for ever: the sweep says so, and tries later."""
    for _ in range(201):
        world.create(email="")
    visible = world.hubspot.index.visible
    first = sorted(visible(), key=lambda values: int(values["hs_object_id"]))[:200]
    monkeypatch.setattr(search.Question, "found", lambda *_: [*first, first[-1]])

    async with asyncio.timeout(20):
        await world.sweep()

    assert "itself" in await world.pool.fetchval("SELECT error FROM connections")


async def test_a_walk_without_end_begins_anew(world: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk gives up a cursor that leads nowhere, and so does a list."""
    for _ in range(101):
        world.create(email="")
    listed = world.hubspot.portal.listed
    monkeypatch.setattr(
        type(world.hubspot.portal), "listed", lambda _, *, archived=False, after=0: listed(archived=archived)
    )
    await world.begin_walk()
    await world.walk_a_page()

    row = await world.pool.fetchrow("SELECT walk_began, walk_cursor, error FROM connections")
    assert row is not None
    assert (row["walk_began"], row["walk_cursor"]) == (None, None)
    assert "itself" in row["error"]


async def test_naming_waits_for_a_requeue_in_order(pool: Pool, order: Order) -> None:
    """Both lock readings by record id, so an event that names two contacts cannot deadlock with a requeue."""
    await pool.execute(
        """
        INSERT INTO readings (id, source, record_id, named_by, state, lease_expires_at, attempt)
        VALUES ('ffffffff-0000-7000-8000-000000000000', 'hubspot', '101', 'event', 'reading', now(), 1),
               ('00000000-0000-7000-8000-000000000000', 'hubspot', '102', 'event', 'reading', now(), 1)
        """
    )
    rows = await pool.fetch("SELECT id, attempt FROM readings")
    again = [Postponed(row["id"], row["attempt"], timedelta(0), "busy") for row in rows]
    async with order.first() as first:
        await first.execute("SELECT FROM readings WHERE record_id = '101' FOR UPDATE")
        requeue = await order.waiting(READINGS.requeue(pool, again))
        await first.execute("SET LOCAL lock_timeout = '1s'")
        await first.execute("SELECT FROM readings WHERE record_id = '102' FOR UPDATE")
    await requeue


async def test_an_outage_of_the_crm_gives_up_nothing(crm: CrmWorld, fake: FakeProvider) -> None:
    """Once the breaker is open, the calls that probe tell of the CRM, not of the contact: they cost no try."""
    fake.questions.append(FOUND)
    record, unread = crm.create(), crm.create()
    await crm.find_number(record)
    await crm.name(unread)
    crm.account.conduct.chaos.faults = Faults(error_rate=1)
    for _ in range(12):
        await crm.deliver()
        await crm.read()
        await crm.pool.execute("UPDATE deliveries SET due_at = now()")
        await crm.pool.execute("UPDATE readings SET due_at = now()")
        await crm.pool.execute("UPDATE providers SET open_until = now() - interval '1 ms', rest_until = NULL")
    crm.account.conduct.chaos.faults = Faults()

    await crm.due_now()
    await crm.deliver()
    await crm.read()

    assert await crm.delivery() == ("delivered", None)
    assert (await crm.reading(unread))["status"] == "done"


async def test_nobody_buys_for_a_crm_that_was_disconnected(crm: CrmWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a disconnect, the age of contacts is not known, so a contact that was being read waits."""
    monkeypatch.setattr("store.connections.REFRESH", 0.0)
    await crm.name(crm.create())
    await crm.read()
    record = crm.create()
    crm.age(record, seconds=86_400)
    await crm.name(record)
    await crm.pool.execute("DELETE FROM connections")

    await crm.read()

    assert (await crm.reading(record))["status"] == "queued"
    assert await crm.lookups() == 1
