"""Everything that the Procfile names as processes on real ports, the pretend vendors beside them, and a client."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from rig.ports import free_port
from rig.processes import environment
from rig.settings import TOKEN, sandboxed
from tests.commands import ROOT, Running, running
from tests.sandbox_server import playing

Json = dict[str, Any]

PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines())
SLOW = 1.5  # seconds that LeadMagic takes for a person who is `lm-slow`


@dataclass
class Service:
    """All processes, and how to talk to them."""

    session: aiohttp.ClientSession
    url: str
    vendors: dict[str, str]  # addresses by name
    settings: dict[str, str]
    stack: AsyncExitStack = field(repr=False)
    processes: dict[str, Running] = field(default_factory=dict)

    async def start(self, name: str) -> Running:
        """Start one line of the Procfile."""
        started = running(command(PROCFILE[name]), environment(**self.settings))
        self.processes[name] = await self.stack.enter_async_context(started)
        return self.processes[name]

    async def kill(self, *names: str) -> None:
        """Kill these processes at once, and start them again."""
        for name in names:
            self.processes[name].process.send(signal.SIGKILL)
        for name in names:
            await self.processes[name].ends()
            await self.start(name)

    async def event(self, **contact: str) -> str:
        """Send a CRM's event; return the id of its lookup."""
        async with self.session.post(f"{self.url}/events/generic", json=contact) as response:
            assert response.status == 202, await response.text()
            taken: str = (await response.json())["lookups"][0]["id"]
            return taken

    async def ended(self, lookup_id: str) -> Json:
        """Return the lookup, once it has ended."""

        async def look() -> Json | None:
            lookup = await self.get(f"{self.url}/v1/lookups/{lookup_id}")
            return lookup if lookup["finished_at"] else None

        return await self.processes["web"].until(look)

    async def get(self, url: str, **query: str) -> Json:
        """Return the JSON at *url*."""
        async with self.session.get(url, params=query) as response:
            assert response.status == 200, await response.text()
            answer: Json = await response.json()
            return answer

    async def charged(self, vendor: str) -> Json:
        """Return what *vendor* charged, by its own books."""
        return await self.get(f"{self.vendors[vendor]}/sandbox/ledger")


def command(line: str) -> list[str]:
    """Return a line of the Procfile as the platform would run it, with the programs of the environment we test in."""
    program, *arguments = shlex.split(line)
    return [str(Path(sys.executable).with_name(program)), *arguments]


@asynccontextmanager
async def deployed(database_url: str, *, hubspot: Sequence[str] | None = None, **more: str) -> AsyncIterator[Service]:
    """Run everything that the Procfile names inside the block, and the vendors.

    HubSpot plays only if its options are given as *hubspot*. *more* are settings that win.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    played = {
        "leadmagic": ("--latency", "20", "--slow-seconds", str(SLOW)),
        "nyne": ("--work-seconds", "0.2"),
    } | ({} if hubspot is None else {"hubspot": tuple(hubspot)})
    async with AsyncExitStack() as stack:
        stands = stack.enter_context(ExitStack())
        vendors = {name: stands.enter_context(playing(name, *options)) for name, options in played.items()}
        settings = sandboxed(
            database=database_url.replace("postgresql://", "postgres://"),  # as platforms write it
            public_url=url,
            **vendors,
            **{"PORT": str(port), "CALLBACK_GRACE_SECONDS": "1"} | more,
        )
        headers = {"Authorization": f"Bearer {TOKEN}"}
        timeout = aiohttp.ClientTimeout(total=10)
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers, timeout=timeout))
        service = Service(session, url, vendors, settings, stack)
        for name in PROCFILE:
            process = await service.start(name)
            if name == "release":
                assert await process.ends() == 0, process.lines
                del service.processes[name]
        await service.processes["web"].says('"event": "listening"')
        yield service
