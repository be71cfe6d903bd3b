"""Everything that runs during the chaos: PostgreSQL, two vendors, a CRM, our six processes, and their proxies."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from chaos.contacts import SHARE, Contacts
from chaos.crm import Crm
from chaos.database import breakable, breakable_pair, create_in, session, url
from chaos.hubspot import HubSpot
from chaos.overheard import Overheard
from chaos.pair import Pair
from chaos.results import SECRET, Results
from chaos.rights import Rights
from chaos.variants import READY_WITHIN, Variant, create_properties
from chaos.vendors import Vendor
from rig.kept import Kept
from rig.ports import HOST, free_port
from rig.postgres import Postgres
from rig.processes import MODULES, environment, python
from rig.proxy import Proxy
from rig.ready import until_answers
from rig.settings import TOKEN, sandboxed

LINKS = ("database", "leadmagic", "nyne", "hubspot", "callbacks", "crm")
STANDBY = "standby"  # the link to the second server, where there is one
HEARD = ("leadmagic", "nyne", "hubspot", "callbacks")


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
    sweep: float = 5.0  # seconds between two sweeps of HubSpot
    index_lag: tuple[float, float] = (0.5, 4.0)  # seconds until HubSpot's search sees a change


SHORT_TERMS = Terms(
    deadline=35.0,
    grace=1.5,
    late=(3.0, 12.0),
    leadmagic_per_minute=12_000,
    nyne_per_minute=12_000,
    work=0.4,
    hurried=True,
    sweep=2.0,
    index_lag=(0.2, 1.5),
)


@dataclass(slots=True)
class World:
    """The processes that run, and the handles on them."""

    terms: Terms
    variant: Variant
    folder: Path
    postgres: Postgres | Pair
    links: dict[str, Proxy]
    vendors: dict[str, Vendor]
    hubspot: HubSpot
    crm: Crm  # the other CRM, which sends its contacts in full
    contacts: Contacts
    rights: Rights
    results: Results
    receivers: list[int]  # their ports, past the proxy
    processes: list[Kept] = field(default_factory=list)  # ours
    props: list[Kept] = field(default_factory=list)  # the vendors, which no fault kills
    overheard: dict[str, Overheard] = field(default_factory=dict)
    servers: asyncio.Lock = field(default_factory=asyncio.Lock)  # held by a fault that may exchange them

    @property
    def pair(self) -> Pair:
        """Return the primary and its standby, in a run that has them."""
        assert isinstance(self.postgres, Pair)
        return self.postgres

    def link(self, name: str) -> Proxy:
        """Return the network to one of our neighbours; to the database: to the present primary."""
        moved = name == "database" and isinstance(self.postgres, Pair) and self.postgres.at == 1
        return self.links[STANDBY if moved else name]

    @property
    def url(self) -> str:
        """Return the address for the CRM and the API's users, in front of both receivers."""
        return _address(self.links["crm"])

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
        for vendor in (*self.vendors.values(), self.hubspot):
            await vendor.heal()
        for process in self.processes:
            process.thaw()

    async def until_ready(self, within: float = READY_WITHIN) -> None:
        """Wait until both receivers say that they are ready. Raises TimeoutError."""
        timeout = aiohttp.ClientTimeout(total=2)
        async with asyncio.timeout(within), aiohttp.ClientSession(timeout=timeout) as session:
            addresses = [f"http://{HOST}:{port}/readyz" for port in self.receivers]
            addresses += [f"{vendor.url}/sandbox/stats" for vendor in (*self.vendors.values(), self.hubspot)]
            await until_answers(session, addresses)

    async def until_connected(self, within: float = READY_WITHIN) -> None:
        """Wait until we are connected to HubSpot: contacts from before are not news. Raises TimeoutError."""
        connection = await session(self.postgres)
        try:
            async with asyncio.timeout(within):
                while not await connection.fetchval("SELECT count(*) FROM connections"):
                    await asyncio.sleep(0.1)
        finally:
            await connection.close(timeout=5)


@asynccontextmanager
async def running(terms: Terms, folder: Path, seed: int, rate: float, *, standby: bool = False) -> AsyncIterator[World]:
    """Run everything inside the block; after it, however it is left, nothing runs."""
    folder.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.log"):  # of a run with the same seed
        log.unlink()
    world = _lay_out(terms, folder, seed, rate, standby=standby)
    try:
        _play_vendors(world, seed)
        _play_hubspot(world, seed)
        _play_our_part(world)
        await world.results.open()
        await asyncio.gather(create_in(world.postgres), *(prop.start() for prop in world.props))
        if standby:
            await world.pair.replicate()
        for link in world.links.values():
            await link.open()
        if world.variant.own:
            await create_properties(world.hubspot.url, world.postgres)
        for process in world.processes:
            await process.start()
        await world.until_ready()
        await world.until_connected()
        yield world
    finally:
        await _end(world)


def _lay_out(terms: Terms, folder: Path, seed: int, rate: float, *, standby: bool) -> World:
    database, other, vendors = (
        free_port(),
        free_port(),
        {name: Vendor(name, free_port()) for name in ("leadmagic", "nyne")},
    )
    hubspot, receivers = HubSpot("hubspot", free_port()), [free_port(), free_port()]
    overheard = {name: Overheard() for name in HEARD}
    targets = {one.name: [one.port] for one in (*vendors.values(), hubspot)} | {
        "database": [database],
        STANDBY: [other],
    }
    links = {
        name: Proxy(
            targets.get(name, receivers),
            dice=random.Random(f"{name} {seed}"),
            hear=overheard[name].listen if name in overheard else None,
        )
        for name in (*LINKS, *([STANDBY] if standby else []))
    }
    postgres = breakable_pair((database, other), folder) if standby else breakable(database, folder / "postgres.log")
    us = _address(links["crm"])
    crm = Crm([us], TOKEN, seed)
    return World(
        terms, Variant.of(seed), folder, postgres, links, vendors, hubspot, crm,
        Contacts(hubspot, seed, rate * SHARE), Rights(us, TOKEN, crm), Results(seed), receivers, overheard=overheard,
    )  # fmt: skip


async def _end(world: World) -> None:
    await asyncio.gather(*(process.stop() for process in (*world.processes, *world.props)), return_exceptions=True)
    for link in world.links.values():
        await link.close()
    for vendor in (*world.vendors.values(), world.hubspot):
        await vendor.close()
    await world.results.close()
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


def _play_hubspot(world: World, seed: int) -> None:
    shortest, longest = world.terms.index_lag
    # Its signature covers PUBLIC_URL, so its webhooks take the same way as callbacks.
    command = python(
        "sandbox", "hubspot", "--port", str(world.hubspot.port), "--seed", str(seed),
        "--per-ten-seconds", "190", "--index-lag", str(shortest), str(longest), "--latency", "30",
        "--slow-seconds", str(world.terms.timeout * 2), "--late-seconds", str(world.terms.late[0]),
        "--webhook-url", f"{_address(world.links['callbacks'])}/events/hubspot",
    )  # fmt: skip
    world.props.append(_kept(world, "hubspot", command))


def _play_our_part(world: World) -> None:
    address = {name: _address(link) for name, link in world.links.items()}
    terms = world.terms
    settings = sandboxed(
        database=url(*(link.port for name, link in world.links.items() if name in {"database", STANDBY})),
        public_url=address["callbacks"],
        leadmagic=address["leadmagic"],
        nyne=address["nyne"],
        hubspot=address["hubspot"],
        HUBSPOT_SWEEP_SECONDS=str(terms.sweep),
        WRITE_BACK=world.variant.write_back,
        HUBSPOT_FLOOD_LOOKUPS_PER_HOUR="1000000",
        TOKEN_REQUESTS_PER_MINUTE="0",
        RESULT_WEBHOOK_URL=world.results.url,
        RESULT_WEBHOOK_SECRET=SECRET,
        RESULT_WEBHOOK_ALLOW_PRIVATE="true",
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


def _address(link: Proxy) -> str:
    return f"http://{HOST}:{link.port}"


def _kept(world: World, name: str, command: list[str], **settings: str) -> Kept:
    # SIGKILL, because a frozen process does not get a SIGTERM when we are killed.
    return Kept(name, command, world.log(name), environment(**settings), orphaned=signal.SIGKILL)
