"""Contacts that are read together: one that the CRM cannot show fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from enrichment.crms.base import CrmContact
from enrichment.outcome import Retry
from sandbox.hubspot.faults import Faults
from submitter.crm_calls import CrmCaller, Withheld
from tests.conftest import Start
from tests.crm_world import CrmWorld, crm_world

CALLS = 13  # the batch, and two for each of six halvings: more than a batch of 50 needs


@pytest.fixture
async def crm(start: Start) -> AsyncIterator[CrmWorld]:
    """Provide a process at work for HubSpot."""
    async with crm_world(start) as world:
        yield world


def calls(crm: CrmWorld) -> int:
    """Count the reads of contacts."""
    return crm.requests("POST", "/batch/read") + crm.requests("GET", "/contacts/")


@pytest.mark.parametrize("place", [0, 21, 49])
async def test_one_contact_that_cannot_be_shown_fails_alone(crm: CrmWorld, place: int) -> None:
    """With it every batch is a 500: it is found by halves, in a dozen calls, and the breaker stays closed."""
    records = [crm.create(*["500"] * (number == place)) for number in range(50)]

    shown = await crm.caller.read_many(records)

    assert [id for id, one in shown.items() if not isinstance(one, CrmContact)] == [records[place]]
    assert isinstance(shown[records[place]], Retry)
    assert calls(crm) <= CALLS
    assert await crm.pool.fetchval("SELECT trips FROM providers WHERE name = 'hubspot'") == 0


async def test_a_bad_contact_costs_its_neighbours_no_try(crm: CrmWorld) -> None:
    """Readings that are claimed together end, all but the one."""
    bad = crm.create("500")
    records = [crm.create() for _ in range(9)]
    await crm.name(bad, *records)

    await crm.read()

    states = {row["record_id"]: row["tries"] for row in await crm.pool.fetch("SELECT * FROM readings WHERE tries > 0")}
    assert states == {bad: 1}
    assert await crm.lookups() == 9


async def test_an_outage_is_not_halved_for_ever(crm: CrmWorld) -> None:
    """When nothing is answered, the breaker opens, and the rest is withheld without a call."""
    records = [crm.create() for _ in range(50)]
    crm.account.conduct.chaos.faults = Faults(error_rate=1)

    shown = await crm.caller.read_many(records)

    assert calls(crm) <= 11  # ten, and the one that probes
    assert sum(isinstance(one, Withheld) for one in shown.values()) > 40


async def test_an_answer_that_does_not_come_is_not_halved(crm: CrmWorld) -> None:
    """Without an answer, no contact can be at fault."""
    records = [crm.create("lostbefore") for _ in range(8)]
    crm.account.conduct.chaos.faults = Faults(disconnect_after_accept=1)

    shown = await crm.caller.read_many(records)

    assert all(isinstance(one, Retry) for one in shown.values())
    assert calls(crm) == 1


async def test_a_bad_contact_does_not_keep_the_breaker_open(crm: CrmWorld) -> None:
    """The probe of a process whose calls failed is one contact: one in ten is bad, and the others close the breaker."""
    bad = crm.create("500")
    records = [bad, *(crm.create() for _ in range(9))]
    caller: CrmCaller = crm.caller

    async def probe() -> int:
        await crm.pool.execute("UPDATE providers SET open_until = now() WHERE name = 'hubspot'")
        await asyncio.gather(*map(caller.read, records))
        trips: int = await crm.pool.fetchval("SELECT trips FROM providers WHERE name = 'hubspot'")
        return trips

    await crm.pool.execute("UPDATE providers SET failures = 10, trips = 1 WHERE name = 'hubspot'")
    for _ in range(10):  # the second closes it, but for one chance in ten each time
        if await probe() == 0:
            break
    else:
        raise AssertionError("the breaker stays open")
