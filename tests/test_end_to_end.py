"""The Procfile's own commands on real ports, a real database, and both vendors: from an event to a number."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.commands import empty_database, ringback
from tests.deployed import deployed


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """A database without a table."""
    async with empty_database(server_url) as url:
        yield url


async def test_from_the_event_to_the_number(empty_database_url: str, tmp_path: Path) -> None:
    """LeadMagic answers inline, Nyne calls back, a callback that never comes is polled; the books agree; all drain."""
    async with deployed(empty_database_url) as service:
        ids = await asyncio.gather(
            service.event(event_id="1", profile_url="linkedin.com/in/lm-found--ada"),
            service.event(event_id="2", profile_url="linkedin.com/in/lm-none--ny-found--bob"),
            service.event(event_id="3", work_email="lm-none--ny-silent--eve@acme.test"),
            service.event(event_id="4", profile_url="linkedin.com/in/lm-none--ny-none--moe"),
        )
        hit, called_back, polled, miss = await asyncio.gather(*(service.ended(id) for id in ids))
        checked = await ringback("doctor", cwd=tmp_path, **service.settings)
        usage = await service.get(f"{service.url}/v1/usage")
        ledgers = [await service.charged(vendor) for vendor in ("leadmagic", "nyne")]
        codes = [await process.ends(signal.SIGTERM) for process in service.processes.values()]

    assert [lookup["status"] for lookup in (hit, called_back, polled, miss)] == ["found", "found", "found", "not_found"]
    assert [lookup["provider"] for lookup in (hit, called_back, polled, miss)] == ["leadmagic", "nyne", "nyne", None]
    answers = [[job["answered_by"] for job in lookup["jobs"]] for lookup in (hit, called_back, polled, miss)]
    assert answers == [["inline"], ["inline", "callback"], ["inline", "poll"], ["inline", "callback"]]
    assert all(lookup["mobile"].startswith("+1") for lookup in (hit, called_back, polled))
    assert {day["provider"]: day["charged"] for day in usage["days"]} == {"leadmagic": 5, "nyne": 6}
    assert [ledger["totals"]["credits"] for ledger in ledgers] == [5, 6]
    assert checked.code == 0, checked.out
    assert codes == [0, 0, 0]


async def test_a_question_that_is_on_its_way_is_answered_before_the_submitter_leaves(empty_database_url: str) -> None:
    """SIGTERM drains: the answer was paid for, so it is waited for, and stored."""
    async with deployed(empty_database_url) as service:
        lookup_id = await service.event(profile_url="linkedin.com/in/lm-slow--kim")
        submitter = service.processes["submitter"]

        async def asked() -> bool | None:
            stats = await service.get(f"{service.vendors['leadmagic']}/sandbox/stats")
            return stats["charges"] == 1 or None

        await submitter.until(asked)
        code = await submitter.ends(signal.SIGTERM)
        lookup = await service.get(f"{service.url}/v1/lookups/{lookup_id}")

    assert code == 0
    assert (lookup["status"], lookup["credits"]) == ("found", 5)
