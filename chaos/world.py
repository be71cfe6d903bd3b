"""Everything that runs during the chaos: PostgreSQL, two pretend vendors, our six processes, and what joins them."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from chaos.overheard import Overheard
from chaos.postgres import DATABASE, USER, Postgres
from chaos.processes import Kept
from chaos.proxy import HOST, Proxy, free_port
from chaos.vendors import Vendor
from enrichment.settings import without_settings

TOKEN = "token-of-the-chaos"
READY_WITHIN = 40.0  # seconds
LINKS = ("database", "leadmagic", "nyne", "callbacks", "crm")


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings under which our processes run: the usual ones made shorter, so that more happens in less time."""

    lease: float = 5.0
    timeout: float = 3.0
    grace: float = 2.0
    deadline: float = 180.0  # seconds; a question without an answer is lost after that
    late: tuple[float, float] = (20.0, 150.0)  # seconds by which callbacks are late
    leadmagic_per_minute: int = 12_000
    nyne_per_minute: int = 6_000
    latency: int = 150  # milliseconds; so that some questions are out whenever a submitter is killed
    work: float = 0.6  # seconds that Nyne works on a question, on average
    hurried: bool = False  # there is no time for the 30 s that LeadMagic's page asks for after a 500


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
    """What runs, and the handles on it."""

    terms: Terms
    folder: Path
    postgres: Postgres
    links: dict[str, Proxy]
    vendors: dict[str, Vendor]
    processes: list[Kept] = field(default_factory=list)  # ours
    props: list[Kept] = field(default_factory=list)  # the vendors: nobody kills them
    overheard: dict[str, Overheard] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the CRM and the API's users go: one address in front of both receivers."""
        return f"http://{HOST}:{self.links['crm'].port}"

    def of(self, kind: str) -> list[Kept]:
        """Our processes of this kind."""
        return [process for process in self.processes if process.kind == kind]

    async def calm(self) -> None:
        """Nothing is wrong any more, whatever was."""
        for link in self.links.values():
            await link.clear_up()
        for vendor in self.vendors.values():
            await vendor.heal()
        for process in self.processes:
            process.thaw()

    async def until_ready(self, within: float = READY_WITHIN) -> None:
        """Both receivers say that they are ready.  Raises TimeoutError."""
        timeout = aiohttp.ClientTimeout(total=2)
        async with asyncio.timeout(within), aiohttp.ClientSession(timeout=timeout) as session:
            addresses = [f"http://{HOST}:{process.env['PORT']}/readyz" for process in self.of("receiver")]
            addresses += [f"{vendor.url}/sandbox/stats" for vendor in self.vendors.values()]
            await asyncio.gather(*(_until_answers(session, address) for address in addresses))


@asynccontextmanager
async def running(terms: Terms, folder: Path, seed: int) -> AsyncIterator[World]:
    """Inside the block all of it runs; after it, however it is left, nothing does."""
    folder.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.log"):  # of a run with the same seed
        log.unlink()
    database, vendors = free_port(), {name: Vendor(name, free_port()) for name in ("leadmagic", "nyne")}
    receivers = [free_port(), free_port()]
    overheard = {name: Overheard() for name in ("leadmagic", "nyne", "callbacks")}
    targets = {"database": [database], **{name: [vendor.port] for name, vendor in vendors.items()}}
    links = {
        name: Proxy(
            name,
            targets.get(name, receivers),
            random.Random(f"{name} {seed}"),
            overheard[name].listen if name in overheard else None,
        )
        for name in LINKS
    }
    world = World(terms, folder, Postgres(database, folder / "postgres.log"), links, vendors, overheard=overheard)
    try:
        _play_vendors(world, seed)
        _play_our_part(world, receivers)
        await asyncio.gather(world.postgres.create(), *(prop.start() for prop in world.props))
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
    await world.postgres.remove()


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
        arguments = ("sandbox", name, *common, *own[name])
        world.props.append(Kept(name, arguments, _bare(), world.folder / f"{name}.log"))


def _play_our_part(world: World, receivers: list[int]) -> None:
    port = {name: link.port for name, link in world.links.items()}
    terms = world.terms
    common = _bare() | {
        "DATABASE_URL": f"postgresql://{USER}@{HOST}:{port['database']}/{DATABASE}?sslmode=disable",
        "DATABASE_POOL": "6",
        "HOST": HOST,
        "PUBLIC_URL": f"http://{HOST}:{port['callbacks']}",
        "API_TOKENS": TOKEN,
        "CALLBACK_KEYS": "key-of-the-chaos",
        "LEADMAGIC_BASE_URL": f"http://{HOST}:{port['leadmagic']}",
        "LEADMAGIC_API_KEY": "lm_sandbox",
        "LEADMAGIC_PER_MINUTE": str(terms.leadmagic_per_minute),
        "NYNE_BASE_URL": f"http://{HOST}:{port['nyne']}",
        "NYNE_API_KEY": "nyne_sandbox",
        "NYNE_API_SECRET": "nyne_sandbox_secret",
        "NYNE_PER_MINUTE": str(terms.nyne_per_minute),
        "NYNE_PER_HOUR": str(terms.nyne_per_minute * 60),
        "LEASE_SECONDS": str(terms.lease),
        "PROVIDER_TIMEOUT_SECONDS": str(terms.timeout),
        "CALLBACK_GRACE_SECONDS": str(terms.grace),
        "JOB_DEADLINE_HOURS": str(terms.deadline / 3600),
    }
    modules = {"receiver": "receiver", "submitter": "submitter", "reconciler": "submitter.reconciler"}
    for kind, module in modules.items():
        for number in (0, 1):
            env = common | ({"PORT": str(receivers[number])} if kind == "receiver" else {})
            log = world.folder / f"{kind}-{number}.log"
            world.processes.append(Kept(f"{kind}-{number}", (module,), env, log))


def _bare() -> dict[str, str]:
    """Our environment without any setting of Ringback's that happens to be in it."""
    return without_settings(os.environ)


async def _until_answers(session: aiohttp.ClientSession, address: str) -> None:
    while True:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(address) as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.1)
