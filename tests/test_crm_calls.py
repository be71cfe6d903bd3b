"""Calls to a CRM: within limits that all processes share, put together, and heeded by all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from enrichment.crms.base import CrmContact, CrmLimit, Gone
from enrichment.outcome import Retry
from enrichment.providers.base import Limit, LimitNews
from store import crm_permits
from store.crm_permits import Permit, Permits, Shut
from store.providers import correct_limits, pause, register_crm
from submitter.crm_calls import PROBE_FOR, CrmCaller, Withheld
from submitter.outcomes import CHECK_PAUSED_AFTER
from tests.conftest import Start
from tests.crm_world import CrmWorld, crm_world
from tests.factories import lookup

if TYPE_CHECKING:
    from enrichment.crms.base import Purpose
    from tests.wishes import Pool


@pytest.fixture
async def crm(start: Start) -> AsyncIterator[CrmWorld]:
    """Provide a process at work for HubSpot."""
    async with crm_world(start) as world:
        yield world


async def permits(pool: Pool, purpose: Purpose = "any", *, sweeps: bool = False) -> int:
    """Take permits until there are none, and return how many there were."""
    taken = 0
    while isinstance(one := await take(pool, purpose, sweeps=sweeps), list):
        taken += len(one)
    return taken


async def take(
    pool: Pool, purpose: Purpose = "any", *, wanted: int = 1, sweeps: bool = False, crm: str = "acme"
) -> list[Permit] | Shut:
    """Take permits once."""
    return await Permits(pool, crm, probe_for=PROBE_FOR).take(purpose, wanted, sweeps=sweeps)


async def deliveries_wait(pool: Pool) -> None:
    """Let a delivery to the CRM be due."""
    row = await lookup(pool, source="acme", record_id="1", final_status="found")
    await pool.execute("INSERT INTO deliveries (id, lookup_id, channel) VALUES (new_id(), $1, 'acme')", row["id"])


async def test_calls_keep_to_the_limit_of_all_processes(pool: Pool) -> None:
    """All processes together get the allowance of a ten-second window, and no more."""
    await register_crm(pool, "acme", [CrmLimit("any", Limit(7, 10))])

    assert await permits(pool) == 7
    shut = await take(pool)
    assert isinstance(shut, Shut)
    assert 9 < shut.wait < 11


async def test_permits_that_are_taken_together_keep_to_the_limit(pool: Pool) -> None:
    """As many as there are, in one transaction."""
    await register_crm(pool, "acme", [CrmLimit("any", Limit(7, 10))])

    taken = await take(pool, wanted=5), await take(pool, wanted=5)

    assert [len(one) for one in taken if isinstance(one, list)] == [5, 2]
    assert await permits(pool) == 0


async def test_a_search_spends_both_limits(pool: Pool) -> None:
    """Searches have a limit of their own, and count among all calls."""
    await register_crm(pool, "acme", [CrmLimit("any", Limit(7, 10)), CrmLimit("search", Limit(3, 86_400))])

    assert await permits(pool, "search") == 3
    assert await permits(pool) == 4


async def test_sweeps_take_half_while_deliveries_wait(pool: Pool) -> None:
    """The other half of the allowance is left to the deliveries."""
    await register_crm(pool, "acme", [CrmLimit("any", Limit(10, 10))])
    await deliveries_wait(pool)

    assert await permits(pool, sweeps=True) == 5
    assert await permits(pool) == 5


async def test_sweeps_take_all_while_nothing_waits(pool: Pool) -> None:
    """Without waiting deliveries, sweeps may take the whole allowance."""
    await register_crm(pool, "acme", [CrmLimit("any", Limit(10, 10))])

    assert await permits(pool, sweeps=True) == 10


async def test_headers_correct_all_but_the_search_limit(pool: Pool) -> None:
    """The allowance that headers name is that of all calls; sweeps have half of it, searches their own."""
    limits = [CrmLimit("any", Limit(100, 10)), CrmLimit("search", Limit(5, 10))]
    await register_crm(pool, "acme", limits)

    await correct_limits(pool, "acme", LimitNews(190, 10))

    rows = await pool.fetch("SELECT purpose, allowance FROM limits WHERE provider = 'acme'")
    assert dict(rows) == {"any": 190, "sweep": 95, "search": 5}
    await register_crm(pool, "acme", limits)  # another process starts: it knows no better
    assert await pool.fetchval("SELECT allowance FROM limits WHERE provider = 'acme' AND purpose = 'any'") == 190


async def test_a_limit_that_is_no_more_is_removed(pool: Pool) -> None:
    """A CRM's limits are those of the release that started last."""
    await register_crm(pool, "acme", [CrmLimit("any", Limit(100, 10)), CrmLimit("search", Limit(5, 1))])

    await register_crm(pool, "acme", [CrmLimit("any", Limit(100, 10))])

    rows = await pool.fetch("SELECT purpose FROM limits WHERE provider = 'acme' ORDER BY purpose")
    assert [row["purpose"] for row in rows] == ["any", "sweep"]


async def test_a_paused_crm_is_not_called(crm: CrmWorld) -> None:
    """A pause of any process holds the calls of all, and is not paused again by them."""
    await pause(crm.pool, "hubspot", "the token was refused", CHECK_PAUSED_AFTER)

    read = await crm.caller.read(crm.create())

    assert read == Withheld("it is paused")
    assert crm.requests("GET", "/contacts/") == 0


@pytest.mark.parametrize(("late", "taken"), [(crm_permits.LATE, 1), (-60.0, 3)])
async def test_a_permit_that_came_too_late_is_not_used(
    crm: CrmWorld, monkeypatch: pytest.MonkeyPatch, late: float, taken: int
) -> None:
    """The window in which it was counted may be over; the third is used, so that a slow database stops no call."""
    monkeypatch.setattr(crm_permits, "LATE", late)

    read = await crm.caller.read(crm.create())

    assert isinstance(read, CrmContact)
    assert crm.requests("GET", "/contacts/") == 1
    spent = "SELECT sum(one) FROM limits, unnest(spent) AS one WHERE provider = 'hubspot' AND purpose = 'any'"
    assert await crm.pool.fetchval(f'{spent} AND "window" = 10') == taken


async def test_reads_that_come_together_share_a_call(crm: CrmWorld) -> None:
    """While one read is under way, the others wait for the next, and each gets its own contact."""
    records = [crm.create() for _ in range(20)]

    read = await asyncio.gather(*map(crm.caller.read, [*records, records[0]]))

    assert [one.record_id for one in read if isinstance(one, CrmContact)] == [*records, records[0]]
    assert crm.requests("POST", "/batch/read") + crm.requests("GET", "/contacts/") <= 3


async def test_a_missing_contact_is_resolved_alone(crm: CrmWorld) -> None:
    """In a batch a deleted and a merged contact are both missing: a single read tells them apart."""
    kept, deleted, one, two = (crm.create() for _ in range(4))
    crm.delete(deleted)
    merged = crm.merge(one, two)

    read = await asyncio.gather(*map(crm.caller.read, [kept, kept, deleted, two]))

    assert isinstance(read[2], Gone)
    assert isinstance(read[3], CrmContact)
    assert read[3].record_id == merged


async def test_one_bad_id_does_not_spoil_a_batch(crm: CrmWorld) -> None:
    """A batch that is refused is read one by one, and only the bad one is refused."""
    records = [crm.create() for _ in range(3)]

    read = await asyncio.gather(*map(crm.caller.read, [records[0], records[1], "no-id", records[2]]))

    assert [isinstance(one, CrmContact) for one in read] == [True, True, False, True]


async def test_failures_in_a_row_open_the_breaker(crm: CrmWorld) -> None:
    """Ten failures stop the calls of all processes for a second; then one call probes, and closes it."""
    broken, well = crm.create("500"), crm.create()
    for _ in range(10):
        assert isinstance(await crm.caller.read(broken), Retry)

    shut = await take(crm.pool, crm="hubspot")
    await crm.pool.execute("UPDATE providers SET open_until = now() WHERE name = 'hubspot'")
    probe = await crm.caller.read(well)

    assert isinstance(shut, Shut)
    assert isinstance(probe, CrmContact)
    assert await crm.pool.fetchval("SELECT trips FROM providers WHERE name = 'hubspot'") == 0


async def test_a_probe_keeps_the_others_out(pool: Pool) -> None:
    """While the breaker is open, one call goes out, and the next waits for what comes of it."""
    await register_crm(pool, "acme", [CrmLimit("any", Limit(100, 10))])
    await pool.execute("UPDATE providers SET trips = 1, failures = 10, open_until = now() WHERE name = 'acme'")

    first = await take(pool, wanted=5)
    second = await take(pool)

    assert isinstance(first, list)
    assert [one.is_probe for one in first] == [True]
    assert isinstance(second, Shut)


async def test_a_success_of_another_process_is_noted_by_the_next(crm: CrmWorld) -> None:
    """Failures that another process noted end with our next success."""
    await crm.pool.execute("UPDATE providers SET failures = 5 WHERE name = 'hubspot'")

    await crm.caller.read(crm.create())

    assert await crm.pool.fetchval("SELECT failures FROM providers WHERE name = 'hubspot'") == 0


async def test_a_call_waits_only_so_long_for_a_permit(crm: CrmWorld) -> None:
    """When the limit gives no permit for longer than a call has patience, it is withheld and says until when."""
    await crm.pool.execute("UPDATE providers SET rest_until = now() + interval '1 h' WHERE name = 'hubspot'")

    read = await crm.caller.read(crm.create())

    assert isinstance(read, Withheld)
    assert 3500 < read.after <= 3600


async def test_the_free_call_tells_how_the_account_is(crm: CrmWorld) -> None:
    """The account call needs no permit; a refused token is not well."""
    caller: CrmCaller = crm.caller
    await pause(crm.pool, "hubspot", "the token was refused", CHECK_PAUSED_AFTER)

    assert (await caller.ask_health()).well
    del crm.account.tokens["hs_sandbox"]
    assert (await caller.ask_health()).well is False
