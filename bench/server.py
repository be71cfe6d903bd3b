"""PostgreSQL for the benchmark: the embedded one, in a folder on disk, each commit waiting for that disk."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from store import embedded
from store.migrations import migrate

TEMPLATE = "ringback_bench"
# The same for us, the limits and the peers: a server of this size, and every commit on disk before it is reported.
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
    """Inside the block a server runs that was empty before; after it, nothing of it is left.  Yields its URL."""
    # Not in memory: /tmp is a disk here, or it would be named by TMPDIR. The name is short, for the socket's sake.
    home = Path(tempfile.mkdtemp(prefix="rb-bench-"))
    try:
        # In a process of its own: what has been stopped cannot be started again by the same one.
        subprocess.run([sys.executable, "-m", "bench.server", str(home)], check=True, timeout=60)
        url = embedded.start(home)
        asyncio.run(_build_template(url))
        yield url
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


@asynccontextmanager
async def database(server_url: str, *, ours: bool = True) -> AsyncIterator[str]:
    """Inside the block there is a database: with our schema, or empty for a peer.  Yields its URL."""
    name = f"bench_{next(_numbers)}"
    await _execute(server_url, f"CREATE DATABASE {name}" + (f" TEMPLATE {TEMPLATE}" if ours else ""), "CHECKPOINT")
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """One connection without any deadline: seeding takes its time."""
    connection = await asyncpg.connect(url, server_settings={"application_name": "bench", "jit": "off"})
    try:
        yield connection
    finally:
        await connection.close()


async def _configure(url: str) -> None:
    await _execute(url, *(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in CONFIGURATION.items()))


async def _build_template(url: str) -> None:
    await _execute(url, f"CREATE DATABASE {TEMPLATE}")
    async with connected(urlsplit(url)._replace(path=f"/{TEMPLATE}").geturl()) as connection:
        await migrate(connection)


async def _execute(url: str, *statements: str) -> None:
    async with connected(url) as connection:
        for statement in statements:
            await connection.execute(statement)


if __name__ == "__main__":
    asyncio.run(_configure(embedded.start(Path(sys.argv[1]))))
    embedded.stop(Path(sys.argv[1]))
