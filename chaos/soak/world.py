"""Everything that runs: a PostgreSQL of its own, both pretend vendors, and our processes as the Procfile has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import resident
from bench.processes import HOST, READY_WITHIN, NotReady, free_port, process, until_listening
from chaos.postgres import DATABASE, USER, Postgres

TOKEN = "token-of-the-soak"
NO_LIMIT = "100000000"  # requests
BOTH = ("--balance", "1000000000", *(text for span in ("minute", "hour", "day") for text in (f"--per-{span}", "0")))
VENDORS = {
    "leadmagic": (*BOTH, "--latency", "150"),  # milliseconds
    "nyne": (*BOTH, "--work-seconds", "0.6"),
}
SESSIONS = ["ringback submitter listener", "ringback reconciler notifier"]
AT_WORK = "SELECT count(DISTINCT application_name) FROM pg_stat_activity WHERE application_name = ANY($1)"


class Ended(Exception):
    """A process of ours has ended by itself; the message names it."""


@dataclass(frozen=True, slots=True)
class World:
    """What runs, and how to look at it."""

    postgres: Postgres
    url: str  # of the database, as our processes use it
    receivers: tuple[int, ...]  # their ports
    processes: Mapping[str, asyncio.subprocess.Process]

    def memory(self) -> dict[str, float]:
        """MB that each of our processes holds.  Raises Ended."""
        for name, started in self.processes.items():
            if started.returncode is not None:
                raise Ended(f"{name} ended by itself, with {started.returncode}")
        return {name: resident(started.pid) for name, started in self.processes.items()}


@asynccontextmanager
async def running(folder: Path, seed: int, receivers: int) -> AsyncIterator[World]:
    """Inside the block all of it runs; after it, however it is left, nothing does.  Raises NotReady."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    postgres = Postgres(port, folder / "postgres.log")
    vendors = {name: free_port() for name in VENDORS}
    ports = tuple(free_port() for _ in range(receivers))
    url = f"postgresql://{USER}@{HOST}:{port}/{DATABASE}?sslmode=disable"
    settings = _settings(url, vendors, ports[0])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(postgres.remove)
        listeners = {
            at: await stack.enter_async_context(process("sandbox", name, "--port", str(at), "--seed", str(seed), *how))
            for (name, how), at in zip(VENDORS.items(), vendors.values(), strict=True)
        }
        await postgres.create()
        processes = {}
        for number, at in enumerate(ports, 1):
            name = "receiver" if receivers == 1 else f"receiver {number}"
            listeners[at] = await stack.enter_async_context(process("receiver", **settings, PORT=str(at)))
            processes[name] = listeners[at]
        for name, module in (("submitter", "submitter"), ("reconciler", "submitter.reconciler")):
            processes[name] = await stack.enter_async_context(process(module, **settings))
        stack.callback(_dismiss, processes.values())
        await asyncio.gather(_until_at_work(postgres), *(until_listening(at, one) for at, one in listeners.items()))
        yield World(postgres, url, ports, processes)


def _dismiss(processes: Iterable[asyncio.subprocess.Process]) -> None:
    """All of them leave at the same time, instead of one after the other."""
    for started in processes:
        if started.returncode is None:
            started.terminate()


async def _until_at_work(postgres: Postgres) -> None:
    """Submitter and reconciler have their sessions: they say so to nobody else.  Raises NotReady."""
    try:
        async with asyncio.timeout(READY_WITHIN):
            session = await postgres.connect()
            while await session.fetchval(AT_WORK, SESSIONS) < len(SESSIONS):
                await asyncio.sleep(0.05)
            await session.close()
    except TimeoutError:
        raise NotReady("submitter or reconciler did not connect to the database") from None


def _settings(url: str, vendors: Mapping[str, int], receiver: int) -> dict[str, str]:
    return {
        "DATABASE_URL": url,
        "HOST": HOST,
        "LOG_LEVEL": "warning",
        "PUBLIC_URL": f"http://{HOST}:{receiver}",
        "API_TOKENS": TOKEN,
        "CALLBACK_KEYS": "key-of-the-soak-long-enough-for-anybody",
        "LEADMAGIC_BASE_URL": f"http://{HOST}:{vendors['leadmagic']}",
        "LEADMAGIC_API_KEY": "lm_sandbox",
        "LEADMAGIC_PER_MINUTE": NO_LIMIT,
        "LEADMAGIC_PER_DAY": NO_LIMIT,
        "NYNE_BASE_URL": f"http://{HOST}:{vendors['nyne']}",
        "NYNE_API_KEY": "nyne_sandbox",
        "NYNE_API_SECRET": "nyne_sandbox_secret",
        "NYNE_PER_MINUTE": NO_LIMIT,
        "NYNE_PER_HOUR": NO_LIMIT,
        "CALLBACK_GRACE_SECONDS": "3",
    }
