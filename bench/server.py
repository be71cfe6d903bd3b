"""PostgreSQL for the benchmark: the embedded one, in a folder on disk; each commit waits for that disk."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg

from rig.postgres import Postgres, execute, url_of
from store.migrations import migrate

TEMPLATE = "ringback_bench"
# The same for us, the limits and the peers: this size of server, and every commit on disk before it is reported.
CONFIGURATION = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "maintenance_work_mem": "512MB",
    "max_connections": "200",
}
_numbers = itertools.count(1)


@contextmanager
def server() -> Iterator[str]:
    """Run an empty server inside the block; yield its URL."""
    postgres = Postgres(CONFIGURATION)
    try:
        url = postgres.create()
        asyncio.run(_build_template(url))
        yield url
    finally:
        postgres.remove()


@asynccontextmanager
async def database(server_url: str, *, ours: bool = True) -> AsyncIterator[str]:
    """Hold a database inside the block, with our schema, or empty for a peer; yield its URL."""
    name = f"bench_{next(_numbers)}"
    await execute(server_url, f"CREATE DATABASE {name}" + (f" TEMPLATE {TEMPLATE}" if ours else ""), "CHECKPOINT")
    try:
        yield url_of(server_url, name)
    finally:
        await execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Hold one connection without any deadline inside the block; seeding takes its time."""
    connection = await asyncpg.connect(url, server_settings={"application_name": "bench", "jit": "off"})
    try:
        yield connection
    finally:
        await connection.close()


async def _build_template(url: str) -> None:
    await execute(url, f"CREATE DATABASE {TEMPLATE}")
    async with connected(url_of(url, TEMPLATE)) as connection:
        await migrate(connection)
