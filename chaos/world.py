"""Everything that runs during the chaos: PostgreSQL, two pretend vendors, our six processes, and their proxies."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from chaos.database import breakable, create_in, url
from chaos.overheard import Overheard
from chaos.vendors import Vendor
from rig.kept import Kept
from rig.ports import HOST, free_port
from rig.postgres import Postgres
from rig.processes import MODULES, environment, python
from rig.proxy import Proxy
from rig.ready import until_answers
from rig.settings import sandboxed

READY_WITHIN = 40.0  # seconds
LINKS = ("database", "leadmagic", "nyne", "callbacks", "crm")


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings of our processes: shorter times than usual, so that more happens in less time."""

    lease: float = 5.0
    timeout: float = 3.0
    grace: float = 2.0
    deadline: float = 180.0  # seconds; a question without an answer is lost after that
    late: tuple[float, float] = (20.0, 150.0)  # seconds by which callbacks are late
    leadmagic_per_minute: int = 12_000
    nyne_per_minute: int = 6_000
    latency: int = 150  # milliseconds; so that some questions are out whenever a submitter is killed
    work: float = 0.6  # seconds that Nyne works on a question, on average
    hurried: bool = False  # True: no time for the 30 s that LeadMagic's page asks for after a 500


SHORT_TERMS = Terms(
    deadline=35.0,
    grace=1.5,
    late=(3.0, 12.0),
    leadmagic_per_minute=12_000,
    nyne_per_minute=12_000,
    work=0.4,
    hurried=True,
)


@dataclass(slots=True)
class World:
    """The processes that run, and the handles on them."""

    terms: Terms
    folder: Path
    postgres: Postgres
    links: dict[str, Proxy]
    vendors: dict[str, Vendor]
    receivers: list[int]  # their ports, past the proxy
    processes: list[Kept] = field(default_factory=list)  # ours
    props: list[Kept] = field(default_factory=list)  # the vendors, which no fault kills
    overheard: dict[str, Overheard] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Return the address for the CRM and the API's users, in front of both receivers."""
        return f"http://{HOST}:{self.links['crm'].port}"

    def log(self, name: str) -> Path:
        """Return the file that the process writes to."""
        return self.folder / f"{name}.log"

    def of(self, kind: str) -> list[Kept]:
        """Return our processes of this kind."""
        return [process for process in self.processes if process.name.startswith(kind)]

    async def calm(self) -> None:
        """End every fault."""
        for link in self.links.values():
            await link.clear_up()
        for vendor in self.vendors.values():
            await vendor.heal()
        for process in self.processes:
            process.thaw()

    async def until_ready(self, within: float = READY_WITHIN) -> None:
        """Wait until both receivers say that they are ready. Raises TimeoutError."""
        timeout = aiohttp.ClientTimeout(total=2)
        async with asyncio.timeout(within), aiohttp.ClientSession(timeout=timeout) as session:
            addresses = [f"http://{HOST}:{port}/readyz" for port in self.receivers]
            addresses += [f"{vendor.url}/sandbox/stats" for vendor in self.vendors.values()]
            await until_answers(session, addresses)


@asynccontextmanager
async def running(terms: Terms, folder: Path, seed: int) -> AsyncIterator[World]:
    """Run everything inside the block; after it, however it is left, nothing runs."""
    folder.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.log"):  # of a run with the same seed
        log.unlink()
    database, vendors = free_port(), {name: Vendor(name, free_port()) for name in ("leadmagic", "nyne")}
    receivers = [free_port(), free_port()]
    overheard = {name: Overheard() for name in ("leadmagic", "nyne", "callbacks")}
    targets = {"database": [database], **{name: [vendor.port] for name, vendor in vendors.items()}}
    links = {
        name: Proxy(
            targets.get(name, receivers),
            dice=random.Random(f"{name} {seed}"),
            hear=overheard[name].listen if name in overheard else None,
        )
        for name in LINKS
    }
    postgres = breakable(database, folder / "postgres.log")
    world = World(terms, folder, postgres, links, vendors, receivers, overheard=overheard)
    try:
        _play_vendors(world, seed)
        _play_our_part(world)
        await asyncio.gather(create_in(postgres), *(prop.start() for prop in world.props))
        for link in links.values():
            await link.open()
        for process in world.processes:
            await process.start()
        await world.until_ready()
        yield world
    finally:
        await _end(world)


async def _end(world: World) -> None:
    await asyncio.gather(*(process.stop() for process in (*world.processes, *world.props)), return_exceptions=True)
    for link in world.links.values():
        await link.close()
    for vendor in world.vendors.values():
        await vendor.close()
    await asyncio.to_thread(world.postgres.remove)


def _play_vendors(world: World, seed: int) -> None:
    terms = world.terms
    own = {
        "leadmagic": ("--latency", str(terms.latency), "--per-minute", str(terms.leadmagic_per_minute)),
        "nyne": (
            *("--work-seconds", str(terms.work), "--per-minute", str(terms.nyne_per_minute)),
            *("--per-hour", str(terms.nyne_per_minute * 60), "--late-seconds", str(terms.grace * 3)),
        ),
    }
    for name, vendor in world.vendors.items():
        common = ("--port", str(vendor.port), "--seed", str(seed), "--window", "sliding", "--balance", "1000000000")
        world.props.append(_kept(world, name, python("sandbox", name, *common, *own[name])))


def _play_our_part(world: World) -> None:
    address = {name: f"http://{HOST}:{link.port}" for name, link in world.links.items()}
    terms = world.terms
    settings = sandboxed(
        database=url(world.links["database"].port),
        public_url=address["callbacks"],
        leadmagic=address["leadmagic"],
        nyne=address["nyne"],
        DATABASE_POOL="6",
        HOST=HOST,
        LEADMAGIC_PER_MINUTE=str(terms.leadmagic_per_minute),
        NYNE_PER_MINUTE=str(terms.nyne_per_minute),
        NYNE_PER_HOUR=str(terms.nyne_per_minute * 60),
        LEASE_SECONDS=str(terms.lease),
        PROVIDER_TIMEOUT_SECONDS=str(terms.timeout),
        CALLBACK_GRACE_SECONDS=str(terms.grace),
        JOB_DEADLINE_HOURS=str(terms.deadline / 3600),
    )
    for kind, module in MODULES.items():
        for number, port in enumerate(world.receivers):
            own = {"PORT": str(port)} if kind == "receiver" else {}
            world.processes.append(_kept(world, f"{kind}-{number}", python(module), **settings, **own))


def _kept(world: World, name: str, command: list[str], **settings: str) -> Kept:
    # SIGKILL, because a frozen process does not get a SIGTERM when we are killed.
    return Kept(name, command, world.log(name), environment(**settings), orphaned=signal.SIGKILL)
