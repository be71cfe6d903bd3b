"""An event that comes while its contact is being read: the contact is read again, and money is spent once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from uuid_utils.compat import uuid7

from enrichment.contact import Contact
from enrichment.crms.base import Named
from enrichment.wish import Wish
from store.reading_work import Became, ClaimedReading, Skipped, claim, end_read
from store.readings import CrmEvent, name_contacts
from tests.asgi import Client
from tests.claims import LEASE
from tests.conftest import ClientWith
from tests.crm_contacts import NEWS_AT
from tests.crm_posts import SECRET, event, post
from tests.order import Order, one_connection
from tests.wishes import POLICY

if TYPE_CHECKING:
    from tests.wishes import Pool


@pytest.fixture
async def client(client_with: ClientWith) -> Client:
    """Provide a client of a receiver that knows HubSpot's client secret."""
    return Client((await client_with(hubspot_client_secret=SECRET)).app)


async def take(pool: Pool) -> ClaimedReading:
    """Claim the one reading that is due."""
    (one,) = await claim(pool, "hubspot", most=10, lease=LEASE, claim_id=uuid7())
    return one


def became(reading: ClaimedReading) -> Became:
    """Return that this contact becomes a lookup."""
    wish = Wish(Contact(work_email="jane@acme.co"), ("leadmagic",), reading.record_id)
    return Became(reading.id, reading.attempt, wish, reading.named_by, NEWS_AT, b"{}")


async def state(pool: Pool) -> tuple[str, int, int]:
    """Return the reading's state and attempt, and how many lookups there are."""
    row = await pool.fetchrow("SELECT state::text, attempt, (SELECT count(*) FROM lookups) FROM readings")
    assert row is not None
    return tuple(row.values())


async def test_what_was_read_before_the_event_is_dropped(client: Client, pool: Pool) -> None:
    """The submitter may have seen the contact as it was before: the next reading sees what changed."""
    await post(client, event())
    first = await take(pool)
    await post(client, event(kind="contact.propertyChange", propertyName="email"))

    dropped = await end_read(pool, "hubspot", [became(first)], [], POLICY)
    between = await state(pool)
    second = await take(pool)
    ended = await end_read(pool, "hubspot", [became(second)], [], POLICY)

    assert dropped == {}
    assert between == ("queued", 2, 0)
    assert set(ended) == {second.id}
    assert await state(pool) == ("done", 3, 1)


async def test_an_event_that_comes_during_the_end_waits_and_queues_the_contact_again(
    client: Client, pool: Pool, order: Order
) -> None:
    """The end commits first: its lookup stays, and the event's reading comes after it."""
    await post(client, event())
    mine = await take(pool)

    async with order.first() as ending:
        await end_read(one_connection(ending), "hubspot", [became(mine)], [], POLICY)
        posting = await order.waiting(post(client, event()))
    answer = await posting

    assert answer.json() == {"accepted": 1, "ignored": 0}
    assert await state(pool) == ("queued", 2, 1)


async def test_an_end_that_comes_during_a_naming_waits_and_is_dropped(client: Client, pool: Pool, order: Order) -> None:
    """The naming commits first: the end matches no attempt any more."""
    await post(client, event())
    mine = await take(pool)
    again = CrmEvent("hubspot", b"[]", (Named("123"),))

    async with order.first() as naming:
        await name_contacts(one_connection(naming), [again])
        ending = await order.waiting(
            end_read(pool, "hubspot", [], [Skipped(mine.id, mine.attempt, "has a mobile")], POLICY)
        )

    assert await ending == {}
    assert await state(pool) == ("queued", 2, 0)


async def test_two_batches_of_the_same_contacts_wait_for_each_other_in_one_order(pool: Pool, order: Order) -> None:
    """Batches lock contacts in one order, whatever the order of their events, so they do not deadlock."""
    one = CrmEvent("hubspot", b"[]", tuple(Named(str(number)) for number in range(20)))
    other = CrmEvent("hubspot", b"[]", tuple(Named(str(number)) for number in reversed(range(20))))

    async with order.first() as first:
        await name_contacts(one_connection(first), [one])
        second = await order.waiting(name_contacts(pool, [other]))

    assert await second == [20]
    assert await pool.fetchval("SELECT count(*) FROM readings WHERE attempt = 1") == 20


async def test_a_batch_that_was_committed_unheard_may_come_again(pool: Pool) -> None:
    """The same event again is stored once, and its contacts are read once more."""
    batch = [CrmEvent("hubspot", b"[]", (Named("1"), Named("2", erases=True)))]

    assert await name_contacts(pool, batch) == await name_contacts(pool, batch) == [2]
    assert await pool.fetchval("SELECT count(*) FROM events") == 1
    assert await pool.fetchval("SELECT count(*) FROM readings WHERE state = 'queued'") == 2


async def test_a_batch_keeps_accounts_apart(pool: Pool) -> None:
    """The same id in another account is another person: it is neither named nor erased here."""
    await pool.execute("INSERT INTO connections (crm, account) VALUES ('hubspot', '1')")
    mine = CrmEvent("hubspot", b"[1]", (Named("7", "1"),))
    theirs = CrmEvent("hubspot", b"[2]", (Named("7", "2", erases=True),))

    assert await name_contacts(pool, [theirs, mine]) == [0, 1]
    assert await pool.fetchval("SELECT erases FROM readings") is False
    assert await pool.fetchval("SELECT body FROM events") == b"[1]"
