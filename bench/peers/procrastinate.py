"""Procrastinate, its psycopg connector, as many tasks at once. python -m bench.peers.procrastinate URL ADDRESS N"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from bench.peers.asking import Asker, open_asker

FASTEST = 1_500  # jobs seeded for each second
TASK = "ask"
_asker: Asker


async def ask(lookup_id: int) -> None:
    """Ask about the lookup by the process's asker."""
    await _asker.ask(lookup_id)


def _app(url: str, pool: int) -> Any:
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=url, min_size=4, max_size=pool))
    app.task(name=TASK)(ask)
    return app


async def seed(url: str, count: int) -> None:
    """Create the engine's tables, and *count* jobs in them."""
    app = _app(url, 4)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for first in range(0, count, 1_000):
            numbers = range(first, min(first + 1_000, count))
            await app.tasks[TASK].batch_defer_async(*({"lookup_id": number} for number in numbers))


async def _work(url: str, address: str, callers: int) -> None:
    global _asker  # noqa: PLW0603  a task is a function, and has no place of its own
    _asker = await open_asker(url, address, callers)
    app = _app(url, 16)
    async with app.open_async():
        await app.run_worker_async(concurrency=callers, delete_jobs="always", install_signal_handlers=False)


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
