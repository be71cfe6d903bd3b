"""Everything that runs: two PostgreSQL servers, both vendors, and two of each of our processes.

The first of each finds the primary among several hosts, the second one through PgBouncer.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp

from chaos.crm import Crm
from chaos.database import DATABASE, USER, breakable_pair, create_in, url
from chaos.overheard import Overheard
from chaos.pair import Pair
from chaos.vendors import Vendor
from rig.firewall import dropped
from rig.kept import Kept
from rig.pgbouncer import PROGRAM, PgBouncer
from rig.ports import HOST, free_port
from rig.postgres import execute
from rig.processes import MODULES, READY_WITHIN, environment, python
from rig.proxy import Proxy
from rig.ready import until_answers
from rig.settings import TOKEN, sandboxed
from rig.weather import Weather
from store.database import SERVER_SETTINGS

DEADLINE = 40.0  # seconds; a question without an answer is lost after that
LEASE, TIMEOUT = 10, 3  # seconds
VENDORS = {
    "leadmagic": ("--latency", "150", "--per-minute", "12000"),
    "nyne": ("--work-seconds", "0.4", "--per-minute", "12000", "--per-hour", "720000"),
}
HEARD = (*VENDORS, "callbacks")
# What PgBouncer ignores at the start of a session, the role has.
OF_THE_ROLE = {name: value for name, value in SERVER_SETTINGS.items() if not name.startswith("tcp_")}
ACCEPTED = '"event": "accepted"'  # a submitter's word for: committed that a vendor has taken a question


@dataclass(slots=True)
class World:
    """The processes that run, and the handles on them."""

    folder: Path
    pair: Pair
    network: tuple[Proxy, Proxy]  # in front of each server
    bouncer: PgBouncer | None
    vendors: dict[str, Vendor]
    links: dict[str, Proxy]
    overheard: dict[str, Overheard]
    receivers: tuple[int, int]  # their ports
    crm: Crm
    drops: bool  # packets can be dropped
    processes: list[Kept] = field(default_factory=list)
    props: list[Kept] = field(default_factory=list)
    submitted: dict[str, list[float]] = field(default_factory=dict)  # by submitter: when it stored that

    @property
    def ways(self) -> tuple[str, str]:
        """Return how the first and the second of each process find the primary."""
        return "by hosts", "by PgBouncer" if self.bouncer else "by hosts too"

    def address(self, number: int) -> str:
        """Return where one of the receivers answers."""
        return f"http://{HOST}:{self.receivers[number]}"

    def point(self) -> None:
        """Lead PgBouncer to the present primary, as a failover manager does."""
        if self.bouncer:
            self.bouncer.point(self.network[self.pair.at].port)

    def cut_off(self, number: int) -> AbstractAsyncContextManager[None]:
        """Let no byte reach or leave this server inside the block, and close no connection."""
        link = self.network[number]
        return dropped(link.port) if self.drops else link.under(Weather(black_hole=True))

    def acknowledged(self, number: int, since: float) -> float | None:
        """Return when this receiver first answered 2xx to what was sent after *since*; None if it has not yet."""
        address = self.address(number)
        return min((end for at, begun, end in self.crm.acknowledged if at == address and begun > since), default=None)

    def stored(self, number: int, since: float) -> float | None:
        """Return when this submitter first stored after *since* that a vendor has taken a question."""
        return next((at for at in self.submitted.get(f"submitter-{number}", []) if at > since), None)

    async def readiness(self, number: int) -> int:
        """Return the status of this receiver's /readyz; 0 when it does not answer in time."""
        patience = aiohttp.ClientTimeout(total=2)
        try:
            async with (
                aiohttp.ClientSession(timeout=patience) as client,
                client.get(f"{self.address(number)}/readyz") as answer,
            ):
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


@asynccontextmanager
async def running(folder: Path, seed: int, *, drops: bool) -> AsyncIterator[World]:
    """Run everything inside the block; after it, however it is left, nothing runs."""
    folder.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.log"):  # of a run with the same seed
        log.unlink()
    world = _lay_out(folder, seed, drops=drops)
    try:
        _play(world, seed)
        await asyncio.gather(_begin_database(world), *(prop.start() for prop in world.props))
        for link in (*world.network, *world.links.values()):
            await link.open()
        if world.bouncer:
            await world.bouncer.start(world.network[world.pair.at].port)
        for process in world.processes:
            await process.start()
        addresses = [f"{world.address(number)}/readyz" for number in (0, 1)]
        addresses += [f"{vendor.url}/sandbox/stats" for vendor in world.vendors.values()]
        async with asyncio.timeout(READY_WITHIN), aiohttp.ClientSession() as client:
            await until_answers(client, addresses)
        yield world
    finally:
        await _end(world)


def _lay_out(folder: Path, seed: int, *, drops: bool) -> World:
    ports, receivers = (free_port(), free_port()), (free_port(), free_port())
    vendors = {name: Vendor(name, free_port()) for name in VENDORS}
    overheard = {name: Overheard() for name in HEARD}
    targets = {name: [vendor.port] for name, vendor in vendors.items()} | {"callbacks": list(receivers)}
    return World(
        folder,
        breakable_pair(ports, folder),
        (Proxy([ports[0]]), Proxy([ports[1]])),
        PgBouncer(folder / "pgbouncer.log", user=USER, ignored=SERVER_SETTINGS) if PROGRAM else None,
        vendors,
        {name: Proxy(targets[name], hear=overheard[name].listen) for name in HEARD},
        overheard,
        receivers,
        Crm([f"http://{HOST}:{port}" for port in receivers], TOKEN, seed),
        drops,
    )


async def _begin_database(world: World) -> None:
    await create_in(world.pair)
    settings = (f"ALTER ROLE {USER} SET {name} = '{value}'" for name, value in OF_THE_ROLE.items())
    await execute(world.pair.url, *settings)
    await world.pair.replicate()


def _play(world: World, seed: int) -> None:
    for name, vendor in world.vendors.items():
        common = ("--port", str(vendor.port), "--seed", str(seed), "--window", "sliding", "--balance", "1000000000")
        command = python("sandbox", name, *common, *VENDORS[name])
        world.props.append(Kept(name, command, world.folder / f"{name}.log", environment(), orphaned=signal.SIGKILL))
    by_hosts = url(*(proxy.port for proxy in world.network))
    urls = [by_hosts, world.bouncer.url(DATABASE) if world.bouncer else by_hosts]
    for kind, module in MODULES.items():
        for number, port in enumerate(world.receivers):
            name = f"{kind}-{number}"
            settings = _settings(world, urls[number]) | {"DATABASE_DIRECT_URL": by_hosts, "PORT": str(port)}
            world.processes.append(
                Kept(
                    name, python(module), partial(_listen, world, name), environment(**settings),
                    orphaned=signal.SIGKILL,
                )
            )  # fmt: skip


def _settings(world: World, database: str) -> dict[str, str]:
    address = {name: f"http://{HOST}:{link.port}" for name, link in world.links.items()}
    return sandboxed(
        database=database,
        public_url=address["callbacks"],
        leadmagic=address["leadmagic"],
        nyne=address["nyne"],
        DATABASE_POOL="6",
        HOST=HOST,
        LEADMAGIC_PER_MINUTE="12000",
        NYNE_PER_MINUTE="12000",
        NYNE_PER_HOUR="720000",
        LEASE_SECONDS=str(LEASE),
        PROVIDER_TIMEOUT_SECONDS=str(TIMEOUT),
        CALLBACK_GRACE_SECONDS="2",
        JOB_DEADLINE_HOURS=str(DEADLINE / 3600),
    )


def _listen(world: World, name: str, line: str) -> None:
    if ACCEPTED in line:
        world.submitted.setdefault(name, []).append(time.time())
    with (world.folder / f"{name}.log").open("a") as log:
        log.write(f"{line}\n")


async def _end(world: World) -> None:
    await asyncio.gather(*(process.stop() for process in (*world.processes, *world.props)), return_exceptions=True)
    if world.bouncer:
        await world.bouncer.stop()
    for link in (*world.network, *world.links.values()):
        await link.close()
    for vendor in world.vendors.values():
        await vendor.close()
    await asyncio.to_thread(world.pair.remove)
