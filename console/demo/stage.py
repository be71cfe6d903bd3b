"""The processes of the demo, all temporary: PostgreSQL, the pretend vendors, a CRM, and our three."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import aiohttp

from rig.ports import HOST, free_port
from rig.postgres import Postgres
from rig.processes import MODULES, NotRunning, Process, environment, python, start
from rig.ready import until_answers
from rig.settings import sandboxed
from store.database import connect
from store.migrations import migrate

READY_WITHIN = 20.0  # seconds
PATIENCE = 5.0  # seconds for a process to stop
CALLING_OUT = {"submitter", "reconciler"}
LINES_KEPT = 200  # of each process, for when something goes wrong

GRACE = 3.0  # seconds; a callback of the real Nyne gets a minute
WORK = 1.2  # seconds, on average, that the pretend Nyne works on a question; the real one takes longer
# A real account has 100 a minute; at that rate the demo would take many minutes.
NYNE_PER_MINUTE, NYNE_PER_HOUR = 6_000, 60_000
SWEEP = 2.0  # seconds between two sweeps for contacts whose webhook was missed; by default a minute
CONNECTED = '"crm_work_started"'  # a line of the submitter's log: contacts created from now on are news
LOOK_EVERY = 0.05  # seconds
VENDORS = ("leadmagic", "nyne", "hubspot")

T = TypeVar("T")


@dataclass(slots=True)
class Stage:
    """The processes that run, and their addresses."""

    url: str
    token: str  # for events and API
    key: str  # of the callback URLs
    vendors: dict[str, str]  # addresses, by name
    children: dict[str, Process] = field(default_factory=dict)
    lines: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=LINES_KEPT)))

    async def start(self, name: str, module: str, *arguments: str, env: Mapping[str, str]) -> None:
        """Start one more process."""
        self.children[name] = await start(python(module, *arguments), output=self.lines[name].append, env=env)

    async def unless_one_ends(self, doing: Coroutine[Any, Any, T]) -> T:
        """Run *doing* and return its result. Raises NotRunning if any process ends meanwhile."""
        task = asyncio.create_task(doing)
        watch = asyncio.create_task(self.until_one_ends())
        try:
            await asyncio.wait([task, watch], return_when=asyncio.FIRST_COMPLETED)
            return await (watch if watch.done() else task)
        finally:
            task.cancel()
            watch.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def until_one_ends(self) -> NoReturn:
        """Raise NotRunning as soon as any process has ended."""
        waiting = {asyncio.create_task(child.wait()): name for name, child in self.children.items()}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        ended = done.pop()
        name = waiting[ended]
        raise NotRunning(f"The {name} ended with {ended.result()}. Its last lines:\n{self.last(name)}")

    def last(self, name: str, most: int = 12) -> str:
        """Return the last lines that one process wrote."""
        return "\n".join(f"  {line}" for line in list(self.lines[name])[-most:]) or "  (it wrote nothing)"


@asynccontextmanager
async def staged(session: aiohttp.ClientSession, seed: int) -> AsyncIterator[Stage]:
    """Run everything inside the block; after it, however it is left, nothing runs and no file remains."""
    stage = Stage(
        url=f"http://{HOST}:{free_port()}",
        token=secrets.token_urlsafe(32),
        key=secrets.token_urlsafe(32),
        vendors={name: f"http://{HOST}:{free_port()}" for name in VENDORS},
    )
    postgres = Postgres()
    try:
        creating = asyncio.create_task(asyncio.to_thread(postgres.create))
        keys = {name: secrets.token_urlsafe(24) for name in (*VENDORS, "nyne secret", "hubspot secret")}
        await _start_vendors(stage, keys, seed)
        env = _environment(stage, keys, await creating)
        await _create_schema(env["DATABASE_URL"])
        for name, module in MODULES.items():
            await stage.start(name, module, env=env)
        await _until_ready(stage, session)
        yield stage
    finally:
        # What calls out stops first.
        await asyncio.gather(*(stage.children[name].stop(PATIENCE) for name in CALLING_OUT & stage.children.keys()))
        await asyncio.gather(*(child.stop(PATIENCE) for child in stage.children.values()))
        await asyncio.to_thread(postgres.remove)


async def _start_vendors(stage: Stage, keys: Mapping[str, str], seed: int) -> None:
    own = {
        "leadmagic": ("--api-key", keys["leadmagic"], "--latency", "page"),
        "nyne": (
            *("--api-key", keys["nyne"], "--api-secret", keys["nyne secret"], "--work-seconds", str(WORK)),
            *("--per-minute", str(NYNE_PER_MINUTE), "--per-hour", str(NYNE_PER_HOUR)),
        ),
        "hubspot": (
            *("--access-token", keys["hubspot"], "--client-secret", keys["hubspot secret"]),
            *("--webhook-url", f"{stage.url}/events/hubspot", "--index-lag", "0", "1"),
        ),
    }
    for name, more in own.items():
        port = stage.vendors[name].rpartition(":")[2]
        arguments = ("--port", port, "--seed", str(seed), *more)
        await stage.start(name, "sandbox", name, *arguments, env=environment())


def _environment(stage: Stage, keys: Mapping[str, str], database: str) -> dict[str, str]:
    """Return the environment of our processes."""
    settings = sandboxed(
        database=database,
        public_url=stage.url,
        HOST=HOST,
        PORT=stage.url.rpartition(":")[2],
        API_TOKENS=stage.token,
        CALLBACK_KEYS=stage.key,
        **stage.vendors,
        LEADMAGIC_API_KEY=keys["leadmagic"],
        NYNE_API_KEY=keys["nyne"],
        NYNE_API_SECRET=keys["nyne secret"],
        NYNE_PER_MINUTE=str(NYNE_PER_MINUTE),
        NYNE_PER_HOUR=str(NYNE_PER_HOUR),
        CALLBACK_GRACE_SECONDS=str(GRACE),
        HUBSPOT_ACCESS_TOKEN=keys["hubspot"],
        HUBSPOT_CLIENT_SECRET=keys["hubspot secret"],
        HUBSPOT_SWEEP_SECONDS=str(SWEEP),
    )
    return environment(**settings)


async def _create_schema(url: str) -> None:
    connection = await connect(url, name="demo")
    try:
        await migrate(connection)
    finally:
        await connection.close(timeout=PATIENCE)


async def _until_ready(stage: Stage, session: aiohttp.ClientSession) -> None:
    """Wait until everything that listens answers, and HubSpot is connected. Raises NotRunning."""
    addresses = [f"{stage.url}/readyz", *(f"{url}/sandbox/stats" for url in stage.vendors.values())]
    try:
        async with asyncio.timeout(READY_WITHIN):
            await stage.unless_one_ends(until_answers(session, addresses))
            await stage.unless_one_ends(_until_connected(stage))
    except TimeoutError:
        raise NotRunning(f"Not ready within {READY_WITHIN:.0f} s:\n{stage.last('receiver')}") from None


async def _until_connected(stage: Stage) -> None:
    while True:
        if any(CONNECTED in line for line in stage.lines["submitter"]):
            return
        await asyncio.sleep(LOOK_EVERY)
