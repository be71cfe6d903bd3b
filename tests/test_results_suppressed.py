"""A result that waits for its delivery when its person, or its number, is suppressed: it does not leave any more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.at_work import AtWork
from tests.conftest import Start
from tests.crm_world import MOBILE, crm_world
from tests.factories import delivery, finished_job, lookup
from tests.fake_provider import FakeProvider, found
from tests.webhook_end import WebhookEnd, now, send_due, settings_for, webhook_end

EMAIL = "jane@acme.co"
FORBIDDEN = [("number", MOBILE), ("email", EMAIL), ("domain", "acme.co")]


@pytest.fixture
async def end() -> AsyncIterator[WebhookEnd]:
    """Provide the other side of the result webhook."""
    async with webhook_end() as server:
        yield server


@pytest.fixture
async def world(start: Start, end: WebhookEnd) -> AsyncIterator[AtWork]:
    """Provide a process that sends its results to *end*."""
    async with start(**settings_for(end)) as working:
        yield working


async def suppress(world: AtWork, kind: str, value: str) -> None:
    """Store a suppression."""
    await world.pool.execute(
        "INSERT INTO suppressions (id, kind, hash) VALUES (new_id(), $1, $2)",
        kind, world.process.policy.hash(kind, value),
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), FORBIDDEN)
async def test_a_result_that_was_suppressed_meanwhile_is_not_sent(
    world: AtWork, end: WebhookEnd, kind: str, value: str
) -> None:
    """The delivery was written before, and ends without a try."""
    row = await lookup(world.pool, final_status="found", work_email=EMAIL)
    waiting = await delivery(world.pool, lookup_id=row["id"])
    await suppress(world, kind, value)

    await send_due(world.process)

    ended = await now(world.process, waiting["id"])
    assert (ended["state"], ended["reason"], ended["tries"]) == ("skipped", "suppressed", 0)
    assert end.arrived == []


async def test_words_of_a_provider_are_not_sent_about_a_suppressed_person(world: AtWork, end: WebhookEnd) -> None:
    """What could not be read may hold the number."""
    row = await lookup(world.pool, final_status="unresolved", work_email=EMAIL)
    await finished_job(world.pool, lookup_id=row["id"], search_id=row["search_id"], raw="call 555 123 4567")
    await delivery(world.pool, lookup_id=row["id"])
    await suppress(world, "email", EMAIL)

    await send_due(world.process)

    assert end.arrived == []


async def test_that_there_is_no_number_is_sent(world: AtWork, end: WebhookEnd) -> None:
    """The end of a lookup without a number tells nothing that was forbidden."""
    row = await lookup(world.pool, final_status="suppressed", work_email=EMAIL)
    await delivery(world.pool, lookup_id=row["id"])
    await suppress(world, "email", EMAIL)

    await send_due(world.process)

    assert len(end.arrived) == 1


@pytest.mark.parametrize(("kind", "value"), [("email", "jane0@acme.co"), ("domain", "acme.co")])
async def test_a_person_who_was_suppressed_meanwhile_is_not_written_back(
    start: Start, fake: FakeProvider, kind: str, value: str
) -> None:
    """A CRM is not told either, also when the person was suppressed and not the number."""
    fake.questions.append(found("+1-555-123-4567"))
    async with crm_world(start) as crm:
        record = crm.create(email="jane0@acme.co")
        await crm.find_number(record)
        await suppress(crm.at_work, kind, value)

        await crm.deliver()

        assert await crm.delivery() == ("skipped", "suppressed")
        assert crm.value(record) is None
