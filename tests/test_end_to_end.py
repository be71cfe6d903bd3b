"""The Procfile's own commands on real ports, a real database, and both vendors: from an event to a number."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rig.ports import free_port
from rig.processes import environment
from rig.settings import TOKEN, sandboxed
from tests.commands import ROOT, Running, empty_database, ringback, running
from tests.sandbox_server import playing

Json = dict[str, Any]

PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines())
SLOW = 1.5  # seconds that LeadMagic takes for somebody who is `lm-slow`


@dataclass
class Service:
    """All processes, and how to talk to them."""

    session: aiohttp.ClientSession
    url: str
    leadmagic: str
    nyne: str
    settings: dict[str, str]
    processes: dict[str, Running]

    async def event(self, **contact: str) -> str:
        """A CRM's event was taken; the id of its lookup."""
        async with self.session.post(f"{self.url}/events/generic", json=contact) as response:
            assert response.status == 202, await response.text()
            taken: str = (await response.json())["lookups"][0]["id"]
            return taken

    async def ended(self, lookup_id: str) -> Json:
        """The lookup, once it has ended."""

        async def look() -> Json | None:
            lookup = await self.get(f"{self.url}/v1/lookups/{lookup_id}")
            return lookup if lookup["finished_at"] else None

        return await self.processes["web"].until(look)

    async def get(self, url: str) -> Json:
        """The JSON at *url*."""
        async with self.session.get(url) as response:
            assert response.status == 200, await response.text()
            answer: Json = await response.json()
            return answer


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """A database without a table."""
    async with empty_database(server_url) as url:
        yield url


def command(line: str) -> list[str]:
    """A line of the Procfile as the platform would run it: its programs are those of the environment we test in."""
    program, *arguments = shlex.split(line)
    return [str(Path(sys.executable).with_name(program)), *arguments]


@asynccontextmanager
async def deployed(database_url: str) -> AsyncIterator[Service]:
    """Inside the block everything that the Procfile names runs, and both vendors do."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        vendors = stack.enter_context(ExitStack())
        leadmagic = vendors.enter_context(playing("leadmagic", "--latency", "20", "--slow-seconds", str(SLOW)))
        nyne = vendors.enter_context(playing("nyne", "--work-seconds", "0.2"))
        settings = sandboxed(
            database=database_url.replace("postgresql://", "postgres://"),  # as platforms write it
            public_url=url,
            leadmagic=leadmagic,
            nyne=nyne,
            PORT=str(port),
            CALLBACK_GRACE_SECONDS="1",
        )
        processes: dict[str, Running] = {}
        for name, line in PROCFILE.items():
            process = await stack.enter_async_context(running(command(line), environment(**settings)))
            if name == "release":
                assert await process.ends() == 0, process.lines
            else:
                processes[name] = process
        headers = {"Authorization": f"Bearer {TOKEN}"}
        timeout = aiohttp.ClientTimeout(total=10)
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers, timeout=timeout))
        await processes["web"].says('"event": "listening"')
        yield Service(session, url, leadmagic, nyne, settings, processes)


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
        ledgers = [await service.get(f"{url}/sandbox/ledger") for url in (service.leadmagic, service.nyne)]
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
            stats = await service.get(f"{service.leadmagic}/sandbox/stats")
            return stats["charges"] == 1 or None

        await submitter.until(asked)
        code = await submitter.ends(signal.SIGTERM)
        lookup = await service.get(f"{service.url}/v1/lookups/{lookup_id}")

    assert code == 0
    assert (lookup["status"], lookup["credits"]) == ("found", 5)
