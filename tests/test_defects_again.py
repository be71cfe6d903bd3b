"""Defects that a second reading found."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from store.partitions import first_id
from store.recovery import hasten
from tests.at_work import AtWork
from tests.conftest import Start
from tests.crm_world import CrmWorld, crm_world
from tests.factories import delivery, finished_job, lookup
from tests.webhook_end import WebhookEnd, now, send_due, settings_for, webhook_end

EMAIL = "jane@acme.co"
WORDS = "call 555 123 4567"


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


@pytest.fixture
async def crm(start: Start) -> AsyncIterator[CrmWorld]:
    """Provide a process at work for HubSpot."""
    async with crm_world(start) as working:
        yield working


async def test_the_end_of_a_suppressed_lookup_is_sent_without_the_words_of_a_provider(
    world: AtWork, end: WebhookEnd
) -> None:
    """The receiver of results waits for that end, and a provider that was asked before may have left words."""
    row = await lookup(world.pool, final_status="suppressed", work_email=EMAIL)
    await finished_job(world.pool, lookup_id=row["id"], search_id=row["search_id"], raw=WORDS)
    waiting = await delivery(world.pool, lookup_id=row["id"])
    await world.pool.execute(
        "INSERT INTO suppressions (id, kind, hash) VALUES (new_id(), 'email', $1)",
        world.process.policy.hash("email", EMAIL),
    )

    await send_due(world.process)

    assert (await now(world.process, waiting["id"]))["state"] == "delivered"
    (message,) = end.arrived
    sent = json.loads(message.body)["data"]
    assert (sent["status"], [job["raw"] for job in sent["jobs"]]) == ("suppressed", [None])


async def test_what_fails_for_a_day_uses_up_its_tries(crm: CrmWorld) -> None:
    """Contacts that fail by themselves open the breaker again and again, and are given up all the same."""
    record_id = crm.create()
    await crm.name(record_id)
    row = await lookup(crm.pool, source="hubspot", record_id=record_id, final_status="found")
    long_ago = first_id(datetime.now(UTC) - timedelta(hours=25))
    await delivery(crm.pool, id=long_ago, lookup_id=row["id"], channel="hubspot")
    await crm.pool.execute("UPDATE readings SET named_at = now() - interval '25 h'")
    for table in ("readings", "deliveries"):
        await crm.pool.execute(
            f"UPDATE {table} SET due_at = now() + interval '5 h', tries = 3, error = 'HTTP 500'"  # noqa: S608
        )

    assert await hasten(crm.pool, "hubspot") == 2

    assert await crm.pool.fetchval("SELECT tries FROM readings") == 3
    assert await crm.pool.fetchval("SELECT tries FROM deliveries") == 3
