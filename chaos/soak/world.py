"""Everything that runs: a PostgreSQL of its own, both pretend vendors, and our processes as the Procfile has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.database import breakable, create_in, session, url
from rig.machine import resident
from rig.ports import HOST, free_port
from rig.postgres import Postgres
from rig.processes import MODULES, READY_WITHIN, NotRunning, Process, until_listening
from rig.processes import running as process
from rig.settings import sandboxed

NO_LIMIT = "100000000"  # requests
BOTH = ("--balance", "1000000000", *(text for span in ("minute", "hour", "day") for text in (f"--per-{span}", "0")))
VENDORS = {
    "leadmagic": (*BOTH, "--latency", "150"),  # milliseconds
    "nyne": (*BOTH, "--work-seconds", "0.6"),
}
SESSIONS = ["ringback submitter listener", "ringback reconciler notifier"]
AT_WORK = "SELECT count(DISTINCT application_name) FROM pg_stat_activity WHERE application_name = ANY($1)"


@dataclass(frozen=True, slots=True)
class World:
    """The processes that run, and the handles on them."""

    postgres: Postgres
    url: str  # of the database, as our processes use it
    receivers: tuple[int, ...]  # their ports
    processes: Mapping[str, Process]

    def memory(self) -> dict[str, float]:
        """Return the MB that each of our processes holds. Raises NotRunning."""
        for name, started in self.processes.items():
            if started.returncode is not None:
                raise NotRunning(f"{name} ended by itself, with {started.returncode}")
        return {name: resident(started.pid) for name, started in self.processes.items()}


@asynccontextmanager
async def running(folder: Path, seed: int, receivers: int) -> AsyncIterator[World]:
    """Run everything inside the block; after it, however it is left, nothing runs. Raises NotRunning."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    postgres = breakable(port, folder / "postgres.log")
    vendors = {name: free_port() for name in VENDORS}
    ports = tuple(free_port() for _ in range(receivers))
    settings = _settings(url(port), vendors, ports[0])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, postgres.remove)
        listeners = {
            at: await stack.enter_async_context(process("sandbox", name, "--port", str(at), "--seed", str(seed), *how))
            for (name, how), at in zip(VENDORS.items(), vendors.values(), strict=True)
        }
        await create_in(postgres)
        processes = {}
        for number, at in enumerate(ports, 1):
            name = "receiver" if receivers == 1 else f"receiver {number}"
            listeners[at] = await stack.enter_async_context(process("receiver", settings=settings | {"PORT": str(at)}))
            processes[name] = listeners[at]
        for name in ("submitter", "reconciler"):
            processes[name] = await stack.enter_async_context(process(MODULES[name], settings=settings))
        stack.push_async_callback(_stop, processes.values())
        await asyncio.gather(_until_at_work(postgres), *(until_listening(at, one) for at, one in listeners.items()))
        yield World(postgres, url(port), ports, processes)


async def _stop(processes: Iterable[Process]) -> None:
    """Stop all of them at the same time, instead of one after the other."""
    await asyncio.gather(*(started.stop() for started in processes))


async def _until_at_work(postgres: Postgres) -> None:
    """Wait until submitter and reconciler have their sessions, for they listen nowhere. Raises NotRunning."""
    looking = await session(postgres)
    try:
        async with asyncio.timeout(READY_WITHIN):
            while await looking.fetchval(AT_WORK, SESSIONS) < len(SESSIONS):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise NotRunning("submitter or reconciler did not connect to the database") from None
    finally:
        await looking.close()


def _settings(database: str, vendors: Mapping[str, int], receiver: int) -> dict[str, str]:
    return sandboxed(
        database=database,
        public_url=f"http://{HOST}:{receiver}",
        **{name: f"http://{HOST}:{port}" for name, port in vendors.items()},
        HOST=HOST,
        LOG_LEVEL="warning",
        TOKEN_REQUESTS_PER_MINUTE="0",
        LEADMAGIC_PER_MINUTE=NO_LIMIT,
        LEADMAGIC_PER_DAY=NO_LIMIT,
        NYNE_PER_MINUTE=NO_LIMIT,
        NYNE_PER_HOUR=NO_LIMIT,
        CALLBACK_GRACE_SECONDS="3",
    )
