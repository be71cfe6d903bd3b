"""Row 7: the memory of each process with a million lookups queued."""

from __future__ import annotations

import asyncio

from bench import seed
from bench.load import open_caller
from bench.measure import Bench, Row
from bench.row_callbacks import receiver_settings
from bench.row_events import requests
from bench.row_lookups import submitter_settings
from bench.server import connected, database
from bench.vendor import vendor
from rig.machine import resident
from rig.ports import free_port
from rig.processes import running

QUEUED, QUEUED_QUICKLY = 1_000_000, 20_000
BATCH = 100_000
MOST = 100.0  # MB
LASTS = 20.0  # seconds; the submitter is at work, the receiver takes events
EVERY = 0.25  # seconds


async def measure(bench: Bench) -> list[Row]:
    """Measure the most that each of the three processes held while it worked."""
    lasts = bench.seconds if bench.quick else LASTS
    held = {"submitter": 0.0, "receiver": 0.0, "reconciler": 0.0}
    async with database(bench.server) as url, connected(url) as connection, vendor() as asked:
        queued = QUEUED_QUICKLY if bench.quick else QUEUED
        for _ in range(max(1, queued // BATCH)):
            await seed.queued(connection, min(BATCH, queued))
        port = free_port()
        settings = submitter_settings(url, asked)
        async with (
            running("receiver", port=port, settings=receiver_settings(url, port)) as receiver,
            running("submitter", settings=settings) as submitter,
            running("submitter.reconciler", settings=settings) as reconciler,
        ):
            pids = {"submitter": submitter.pid, "receiver": receiver.pid, "reconciler": reconciler.pid}
            sending = asyncio.create_task(_send(port))
            until = asyncio.get_running_loop().time() + lasts
            while asyncio.get_running_loop().time() < until:
                await asyncio.sleep(EVERY)
                held = {name: max(held[name], resident(pid)) for name, pid in pids.items()}
            sending.cancel()
            done = await connection.fetchval("SELECT count(*) FROM finished_jobs")
    return [
        Row(
            name=f"memory of the {name}",
            unit="MB",
            ours=most,
            reach=f"≤ {MOST:.0f} MB with {QUEUED:,} queued",
            reached=most <= MOST if queued == QUEUED else None,
            note=f"the most within {lasts:.0f} s, {queued:,} queued, {done:,} done meanwhile",
        )
        for name, most in held.items()
    ]


async def _send(port: int) -> None:
    caller = await open_caller(port)
    for path, body in requests(100_000):
        await caller.post(path, body.encode())
