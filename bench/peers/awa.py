"""awa, its Python worker with as many handlers at once. python -m bench.peers.awa URL ADDRESS N"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from bench.peers.asking import open_asker

FASTEST = 5_000  # jobs seeded for each second


@dataclass
class Ask:
    """The job."""

    lookup_id: int


async def seed(url: str, count: int) -> None:
    """Create the engine's tables, and *count* jobs in them."""
    from awa import AsyncClient

    async with AsyncClient(_with_host(url)) as client:
        await client.migrate()
        await client.install_queue_storage()
        for first in range(0, count, 5_000):
            jobs = [Ask(number) for number in range(first, min(first + 5_000, count))]
            await client.enqueue_many_copy(jobs, queue="ask")


def _with_host(url: str) -> str:
    """Add a host that awa's driver demands, though the socket's folder is enough."""
    return url.replace("@/", "@localhost/")


async def _work(url: str, address: str, callers: int) -> None:
    from awa import AsyncClient

    asker = await open_asker(url, address, callers)
    async with AsyncClient(_with_host(url), max_connections=20) as client:

        async def ask(job):  # type: ignore[no-untyped-def]  # awa reads its type off the decorator
            await asker.ask(job.args.lookup_id)

        client.task(Ask, queue="ask")(ask)
        await client.start([("ask", callers)])
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
