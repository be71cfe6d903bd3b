"""A second try that finds the number there: ours if the first may have written it, a person's if one typed it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sandbox.hubspot.faults import Faults
from tests.conftest import Start
from tests.crm_world import MOBILE, CrmWorld, crm_world
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
