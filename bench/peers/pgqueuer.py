"""PgQueuer, its asyncpg driver, its defaults but for a larger batch. python -m bench.peers.pgqueuer URL ADDRESS N"""

from __future__ import annotations

import sys
from datetime import timedelta

import asyncpg
import uvloop

from bench.peers.asking import open_asker

FASTEST = 2_500  # jobs seeded for each second
BATCH = 50


async def seed(url: str, count: int) -> None:
    """Create the engine's tables, and *count* jobs in them."""
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    connection = await asyncpg.connect(url)
    try:
        queries = Queries(AsyncpgDriver(connection))
        await queries.install()
        for first in range(0, count, 5_000):
            numbers = range(first, min(first + 5_000, count))
            await queries.enqueue(["ask"] * len(numbers), [str(n).encode() for n in numbers], [0] * len(numbers))
    finally:
        await connection.close()


async def _work(url: str, address: str, callers: int) -> None:
    from pgqueuer import PgQueuer
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.models import Job

    asker = await open_asker(url, address, callers)
    queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(url)))

    async def ask(job: Job) -> None:
        assert job.payload is not None
        await asker.ask(int(job.payload))

    queue.entrypoint("ask")(ask)
    await queue.run(dequeue_timeout=timedelta(seconds=1), batch_size=min(BATCH, callers // 2))


if __name__ == "__main__":
    uvloop.run(_work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
