"""The receiver under attack: one process on a throw-away PostgreSQL, without a proxy in front."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import asyncpg

from rig.machine import resident
from rig.ports import HOST, free_port
from rig.postgres import Postgres, execute, url_of
from rig.processes import READY_WITHIN, Process, environment, python, start, until_listening
from rig.ready import until_answers

TOKEN = "token-of-the-attacked"
CALLBACK_KEY = "key-of-the-attacked-long-enough"
SIGNING_SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSBhdHRhY2tlZCByZWNlaXZlcg=="
LEAVES_WITHIN = 40.0  # seconds for the receiver to stop


@dataclass(frozen=True, slots=True)
class Ground:
    """The receiver, and where to reach it and what it wrote."""

    port: int
    process: Process
    database: str
    log: Path

    @property
    def memory(self) -> float:
        """Return the MB of memory that the receiver holds."""
        return resident(self.process.pid)

    @property
    def sockets(self) -> int:
        """Return how many sockets the receiver holds open."""
        found = 0
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                found += str(entry.readlink()).startswith("socket:")
            except OSError:
                continue  # closed meanwhile
        return found

    async def value(self, statement: str) -> Any:
        """Return the one value of *statement*."""
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()


@contextmanager
def database_server() -> Iterator[str]:
    """Run an empty PostgreSQL inside the block; yield its URL."""
    postgres = Postgres({"fsync": "on", "max_connections": "60"})
    try:
        yield postgres.create()
    finally:
        postgres.remove()


@asynccontextmanager
async def attacked(
    server: str,
    name: str,
    checkout: Path | None,
    *,
    pipe: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Ground]:
    """Run the receiver of *checkout* (None: this one) inside the block, on a database of its own.

    Its log goes to the named *pipe*, if there is one.
    """
    database = f"attack_{name.replace('-', '_')}"
    await execute(server, f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", f"CREATE DATABASE {database}")
    url, port = url_of(server, database), free_port()
    known = environment(
        DATABASE_URL=url, HOST=HOST, PORT=str(port), PUBLIC_URL=f"http://{HOST}:{port}", CALLBACK_KEYS=CALLBACK_KEY,
        API_TOKENS=f"tests:events+read+operate+admin:{TOKEN}", EVENTS_SIGNING_SECRET=SIGNING_SECRET, **(settings or {}),
    )  # fmt: skip
    if checkout is not None:
        known["PYTHONPATH"] = str(checkout)
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        migration = await start(python("console", "migrate"), output=log, env=known)
        assert await migration.wait() == 0, log.read_text(encoding="utf-8")
        process = await start(python("receiver"), output=pipe or log, env=known)
        try:
            await until_listening(port, process)
            async with aiohttp.ClientSession() as session, asyncio.timeout(READY_WITHIN):
                await until_answers(session, [f"http://{HOST}:{port}/readyz"])
            yield Ground(port, process, url, log)
        finally:
            await process.stop(LEAVES_WITHIN)


async def settled_memory(ground: Ground, below: float, within: float) -> float:
    """Return the receiver's MB once they are *below* that, or after *within* seconds."""
    for _ in range(int(within / 0.5)):
        if ground.memory <= below:
            break
        await asyncio.sleep(0.5)
    return ground.memory
