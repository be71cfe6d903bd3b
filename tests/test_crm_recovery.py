"""A CRM that answers again after an outage: what waited because its calls failed is due at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from store import recovery
from store.recovery import hasten
from submitter.crm_calls import LONG_OUTAGE
from tests.conftest import Start
from tests.crm_world import CrmWorld, crm_world
from tests.factories import lookup
from tests.order import Order

TABLES = ("readings", "deliveries")


@pytest.fixture
async def crm(start: Start) -> AsyncIterator[CrmWorld]:
    """Provide a process at work for HubSpot."""
    async with crm_world(start) as world:
        yield world


async def all_wait(crm: CrmWorld) -> None:
    """Let a reading and a delivery wait after three failures."""
    await crm.name(crm.create())
    row = await lookup(crm.pool, source="hubspot", record_id="7", final_status="found")
    await crm.pool.execute(
        "INSERT INTO deliveries (id, lookup_id, channel) VALUES (new_id(), $1, 'hubspot')", row["id"]
    )
    await failed(crm)


async def failed(crm: CrmWorld) -> None:
    """Let everything wait for hours after three failures."""
    for table in TABLES:
        await crm.pool.execute(
            f"UPDATE {table} SET due_at = now() + interval '5 h', tries = 3, error = 'HTTP 503'"  # noqa: S608
        )


async def waiting(crm: CrmWorld) -> dict[str, int]:
    """Return the tries of what is due later, by table."""
    found = {}
    for table in TABLES:
        query = f"SELECT tries FROM {table} WHERE state = 'queued' AND due_at > now()"  # noqa: S608
        for row in await crm.pool.fetch(query):
            found[table] = row["tries"]
    return found


async def opened(crm: CrmWorld, trips: int) -> None:
    """Let the breaker have opened so many times in a row; the next call probes it."""
    await crm.pool.execute(
        "UPDATE providers SET failures = 10 * $1, trips = $1, open_until = now() WHERE name = 'hubspot'", trips
    )


async def test_what_failed_in_an_outage_is_due_when_it_is_over(crm: CrmWorld) -> None:
    """The first call that is answered closes the breaker and ends the waits; the last failure costs no try."""
    well = crm.create()
    await all_wait(crm)
    await opened(crm, LONG_OUTAGE)

    await crm.caller.read(well)

    assert await waiting(crm) == {}
    assert await crm.pool.fetchval("SELECT tries FROM readings") == 2
    assert await crm.pool.fetchval("SELECT tries FROM deliveries") == 2
    assert await crm.read() == 1


@pytest.mark.parametrize("trips", [0, LONG_OUTAGE - 1])
async def test_a_failure_without_an_outage_waits_its_time(crm: CrmWorld, trips: int) -> None:
    """A contact that fails by itself is not tried each time that another one is read."""
    well = crm.create()
    await all_wait(crm)
    await opened(crm, trips)
    await crm.pool.execute("UPDATE providers SET failures = 10")

    await crm.caller.read(well)

    assert await waiting(crm) == {"readings": 3, "deliveries": 3}
    assert await crm.pool.fetchval("SELECT failures FROM providers WHERE name = 'hubspot'") == 0


async def test_only_what_failed_is_hastened_and_only_of_this_crm(crm: CrmWorld) -> None:
    """What waits without a failure, waits for another CRM or has ended is left as it is."""
    await all_wait(crm)
    await crm.pool.execute("UPDATE readings SET error = NULL")
    await crm.pool.execute("UPDATE deliveries SET channel = 'webhook'")

    assert await hasten(crm.pool, "hubspot") == 0

    assert await waiting(crm) == {"readings": 3, "deliveries": 3}


async def test_many_are_hastened_in_chunks(crm: CrmWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each statement takes so many at most; a backfill's are hastened too."""
    monkeypatch.setattr(recovery, "AT_ONCE", 2)
    await crm.name(*(crm.create() for _ in range(5)))
    await failed(crm)
    await crm.pool.execute(
        "UPDATE readings SET named_by = 'backfill' WHERE record_id IN (SELECT min(record_id) FROM readings)"
    )

    assert await hasten(crm.pool, "hubspot") == 5

    assert await waiting(crm) == {}


async def test_what_is_named_meanwhile_is_not_waited_for(crm: CrmWorld, order: Order) -> None:
    """A row that another transaction holds is passed: that one makes it due, or ends it."""
    await crm.name(crm.create(), crm.create())
    await failed(crm)

    async with order.first() as first:
        await first.execute("SELECT FROM readings ORDER BY id LIMIT 1 FOR UPDATE")
        assert await hasten(crm.pool, "hubspot") == 1
