"""A second try that finds the number there: ours if the first may have written it, a person's if one typed it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sandbox.hubspot.faults import Faults
from submitter.write_back import WriteBack
from tests.conftest import Start
from tests.crm_world import MOBILE, CrmWorld, crm_world
from tests.factories import lookup
from tests.fake_provider import FakeProvider, found

NEWER = "+15551230000"


@pytest.fixture
async def crm(start: Start, fake: FakeProvider) -> AsyncIterator[CrmWorld]:
    """Provide a process at work for HubSpot, and a provider that finds the number."""
    fake.questions.append(found("+1-555-123-4567"))
    async with crm_world(start, write_back="own") as world:
        yield world


async def newer_number(crm: CrmWorld) -> None:
    """Let the lookup have another number by now, and deliver it."""
    await crm.pool.execute("UPDATE lookups SET mobile = $1", NEWER)
    await crm.pool.execute("UPDATE deliveries SET state = 'queued', ended_at = NULL, reason = NULL")
    await crm.deliver()


async def test_a_number_that_a_person_typed_stays_theirs(crm: CrmWorld) -> None:
    """HubSpot was away at the first try, and a person typed the same number: WRITE_BACK=own does not replace it."""
    record = crm.create()
    await crm.find_number(record)
    crm.account.conduct.chaos.faults = Faults(error_rate=1)
    await crm.deliver()
    crm.account.conduct.chaos.faults = Faults()
    crm.edit(record, mobilephone=MOBILE)
    await crm.due_now()

    await crm.deliver()
    (delivery,) = await crm.deliveries()
    await newer_number(crm)

    assert (delivery["status"], delivery["attempt"]) == ("delivered", 2)
    assert delivery["reason"] == "the number stood there already"
    assert delivery["wrote"] is None
    assert crm.value(record) == MOBILE
    assert await crm.delivery() == ("skipped", "a person wrote another number")


async def test_a_number_that_the_first_try_wrote_is_ours(crm: CrmWorld) -> None:
    """The answer to that write was lost: it is replaced by a newer one of ours."""
    record = crm.create("lostwrite")
    await crm.find_number(record)
    await crm.deliver()
    await crm.due_now()

    await crm.deliver()
    (delivery,) = await crm.deliveries()
    await newer_number(crm)

    assert delivery["reason"] == "the number stood there already"
    assert crm.value(record) == NEWER


async def test_two_results_of_one_contact_do_not_look_like_a_persons(crm: CrmWorld) -> None:
    """They are delivered one after the other, also by two processes: the second finds a number of ours."""
    record = crm.create()
    lookup_id = await crm.find_number(record)
    other = await crm.pool.fetchrow("SELECT * FROM lookups WHERE id = $1", lookup_id)
    assert other is not None
    row = await lookup(
        crm.pool, source="hubspot", record_id=record, final_status="found", mobile=NEWER, name=other["name"],
        work_email=other["work_email"],
    )  # fmt: skip
    await crm.pool.execute(
        "INSERT INTO deliveries (id, lookup_id, channel) VALUES (new_id(), $1, 'hubspot')", row["id"]
    )
    second = WriteBack(crm.caller, crm.at_work.process)

    first_batch = await crm.write_back.loop.claim_once()
    second_batch = await second.loop.claim_once()
    await crm.write_back.loop.settled()
    await second.loop.settled()
    await second.close()
    await crm.deliver()

    assert (len(first_batch.items), len(second_batch.items)) == (1, 0)
    assert [(one["status"], one["reason"]) for one in await crm.deliveries()] == [("delivered", None)] * 2
    assert crm.written_by_us() == [MOBILE, NEWER]
