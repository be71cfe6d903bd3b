"""Past one machine: every process in a network of its own, which leads to PostgreSQL and the vendors, and nowhere else.

The hosts are network namespaces, joined by a bridge that is in one as well. Nothing leads out of them.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rig.processes import environment
from rig.proxy import Proxy, database_target, through
from rig.settings import TOKEN, sandboxed
from tests.commands import ROOT, Running, running, until
from tests.deployed import PROCFILE

OURS = {"web": "receiver", "submitter": "submitter", "reconciler": "reconciler"}  # in the Procfile, and as a host
HOSTS = ("database", "receiver", "submitter", "reconciler", "vendors", "crm")
SWITCH = "switch"
PREFIX = "ringback-"
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The kernel lets us make no namespace; the message is its own."""


@dataclass(frozen=True)
class Hosts:
    """The names of the namespaces, and the addresses in them (of a block that documentation may use)."""

    pid: int

    def __getitem__(self, host: str) -> str:
        return f"{PREFIX}{self.pid}-{host}"

    def address(self, host: str) -> str:
        """Of one host."""
        return f"192.0.2.{HOSTS.index(host) + 1}"

    def on(self, host: str, *program: str) -> tuple[str, ...]:
        """The command that runs *program* on that host."""
        return ("ip", "netns", "exec", self[host], *program)


def ip(*arguments: str) -> str:
    """What `ip` says.  Raises Refused."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, timeout=10)
    if done.returncode:
        raise Refused(done.stderr.strip() or f"ip {shlex.join(arguments)} failed")
    return done.stdout


def remove(*pids: int) -> None:
    """The namespaces that these processes made are gone, and with them what joined them."""
    for line in ip("netns", "list").splitlines():
        name = line.split()[0]
        if name.startswith(tuple(f"{PREFIX}{pid}-" for pid in pids)):
            with suppress(Refused):
                ip("netns", "delete", name)


def left_behind() -> list[int]:
    """Leave namespaces behind, as a killed test run does."""
    names = [line.split()[0] for line in ip("netns", "list").splitlines()]
    made = {name.removeprefix(PREFIX).partition("-")[0] for name in names if name.startswith(PREFIX)}
    return [int(pid) for pid in made if pid.isdecimal() and not Path(f"/proc/{pid}").exists()]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Hosts that reach one another through a switch; but not ours: none of our processes reaches another one."""
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip`; apt-get install iproute2")
    made = Hosts(os.getpid())
    try:
        remove(*left_behind(), made.pid)
        ip("netns", "add", made[SWITCH])
        ip("-n", made[SWITCH], "link", "add", "bridge", "type", "bridge")
        ip("-n", made[SWITCH], "link", "set", "bridge", "up")
        for host in HOSTS:
            plug_in(made, host)
    except Refused as refusal:
        with suppress(Refused):
            remove(made.pid)
        pytest.skip(f"no network namespace can be made here: {refusal}")
    try:
        yield made
    finally:
        remove(made.pid)


def plug_in(hosts: Hosts, host: str) -> None:
    """The host exists, and a cable leads from it to the switch."""
    ip("netns", "add", hosts[host])
    ip("-n", hosts[SWITCH], "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", hosts[host])
    ip("-n", hosts[SWITCH], "link", "set", host, "master", "bridge", "up")
    if host in OURS.values():
        ip("-n", hosts[SWITCH], "link", "set", host, "type", "bridge_slave", "isolated", "on")
    ip("-n", hosts[host], "address", "add", f"{hosts.address(host)}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        ip("-n", hosts[host], "link", "set", device, "up")


@contextmanager
def on_host(namespace: str) -> Iterator[None]:
    """Sockets that are made inside the block belong to that host, for good. (It must not wait for anything.)"""
    with open("/proc/thread-self/ns/net") as here, open(f"/run/netns/{namespace}") as there:  # noqa: PTH123
        assert _libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert _libc.setns(here.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


@asynccontextmanager
async def reachable(database_url: str, hosts: Hosts) -> AsyncIterator[str]:
    """Inside the block the database can be reached by TCP at the yielded URL, from every host and nowhere else."""
    with on_host(hosts["database"]):
        listener = socket.create_server((hosts.address("database"), 5432))
    proxy = Proxy([database_target(database_url)])
    await proxy.open(listener)
    try:
        yield through(database_url, hosts.address("database"), 5432)
    finally:
        await proxy.close()


@asynccontextmanager
async def vendors(hosts: Hosts) -> AsyncIterator[dict[str, str]]:
    """Inside the block both vendors answer on their host, at the yielded addresses."""
    address = hosts.address("vendors")
    async with AsyncExitStack() as stack:
        for name, port, *how in (("leadmagic", "8101"), ("nyne", "8102", "--work-seconds", "0.2")):
            program = (sys.executable, "-m", "sandbox", name, "--host", address, "--port", port, *how)
            vendor = await stack.enter_async_context(running(hosts.on("vendors", *program), environment()))
            await vendor.says("listening")
        yield {"leadmagic": f"http://{address}:8101", "nyne": f"http://{address}:8102"}


@asynccontextmanager
async def deployed(database_url: str, hosts: Hosts) -> AsyncIterator[dict[str, Running]]:
    """Inside the block each of our processes runs on a host of its own."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(reachable(database_url, hosts))
        addresses = await stack.enter_async_context(vendors(hosts))
        receiver = hosts.address("receiver")
        settings = sandboxed(
            database=database,
            public_url=f"http://{receiver}:8000",
            **addresses,
            HOST=receiver,
            PORT="8000",
            CALLBACK_GRACE_SECONDS="1",
        )
        processes = {}
        for name, host in OURS.items():
            program = (sys.executable, *shlex.split(PROCFILE[name])[1:])
            processes[name] = await stack.enter_async_context(
                running(hosts.on(host, *program), environment(**settings), cwd=ROOT)
            )
        await processes["web"].says('"event": "listening"')
        yield processes


async def ask(crm: aiohttp.ClientSession, event_id: str, person: str) -> dict[str, Any]:
    """The lookup of that person, once it has ended; the event came in at the receiver's address."""
    event = {"event_id": event_id, "profile_url": f"linkedin.com/in/{person}"}
    async with crm.post("/events/generic", json=event) as answer:
        assert answer.status == 202, await answer.text()
        id = (await answer.json())["lookups"][0]["id"]

    async def look() -> dict[str, Any] | None:
        async with crm.get(f"/v1/lookups/{id}") as answer:
            lookup: dict[str, Any] = await answer.json()
            return lookup if lookup["finished_at"] else None

    return await until(look)


def can_reach(hosts: Hosts, host: str, other: str, port: int) -> bool:
    """Whether a connection comes about from one host to another."""
    with on_host(hosts[host]):
        knocking = socket.socket()
    with knocking:
        knocking.settimeout(0.5)
        return knocking.connect_ex((hosts.address(other), port)) == 0


async def test_each_process_on_a_host_of_its_own_finds_numbers(database_url: str, hosts: Hosts) -> None:
    """Inline, by callback and by poll; receiver, submitter and reconciler share nothing but PostgreSQL."""

    def from_the_crm(_: Any) -> socket.socket:
        with on_host(hosts["crm"]):
            made = socket.socket()
        made.setblocking(False)
        return made

    async with deployed(database_url, hosts) as processes:
        crm = aiohttp.ClientSession(
            f"http://{hosts.address('receiver')}:8000",
            connector=aiohttp.TCPConnector(socket_factory=from_the_crm),
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=aiohttp.ClientTimeout(total=10),
        )
        async with crm:
            lookups = await asyncio.gather(
                ask(crm, "1", "lm-found--ada"),
                ask(crm, "2", "lm-none--ny-found--bob"),
                ask(crm, "3", "lm-none--ny-silent--eve"),
            )
        reached = {
            other: await asyncio.to_thread(can_reach, hosts, "submitter", other, port)
            for other, port in (("database", 5432), ("vendors", 8101), ("receiver", 8000))
        }
        still_running = [process.process.returncode for process in processes.values()]

    assert [lookup["status"] for lookup in lookups] == ["found", "found", "found"]
    assert [lookup["jobs"][-1]["answered_by"] for lookup in lookups] == ["inline", "callback", "poll"]
    assert reached == {"database": True, "vendors": True, "receiver": False}
    assert still_running == [None, None, None]


def test_no_host_is_left_behind(hosts: Hosts) -> None:
    """The namespaces of a run go with it, or with the next run."""
    remove(hosts.pid)

    assert f"{PREFIX}{hosts.pid}-" not in ip("netns", "list")
