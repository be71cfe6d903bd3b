"""Row 5: how much of a rate limit four submitters use together, and whether any vendor would have said 429."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench import seed
from bench.measure import Bench, Row
from bench.processes import HOST, process
from bench.row_lookups import submitter_settings, vendor
from bench.server import connected, database

PROCESSES = 4
WINDOW = 60.0  # seconds
PER_MINUTE = (3_000, 600)
REACH = 0.98
START = 3.0  # seconds until all four are at it
STARTS_WITHIN = 40.0  # seconds
LASTS = 75.0  # seconds: a whole window, and a part of the next
OFFSETS = 60  # phases of a fixed window that are looked at
WORKING = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'ringback submitter listener'
"""
FINISHED = "SELECT EXISTS (SELECT FROM finished_jobs)"


async def _arrivals(port: int) -> list[float]:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"GET /arrivals HTTP/1.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    told = json.loads(await reader.readexactly(length))
    writer.close()
    return sorted(at for at, _ in told)


async def _through(bench: Bench, per_minute: int, lasts: float) -> list[float]:
    """When the requests of four submitters arrived."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(bench.server))
        connection = await stack.enter_async_context(connected(url))
        port = await stack.enter_async_context(vendor("--keep", "--delay", "0.05"))
        await seed.queued(connection, int(per_minute * (lasts + START + STARTS_WITHIN) / WINDOW))
        settings = submitter_settings(url, port, LEADMAGIC_PER_MINUTE=str(per_minute))
        for _ in range(PROCESSES):
            await stack.enter_async_context(process("submitter", **settings))
        async with asyncio.timeout(STARTS_WITHIN):
            while await connection.fetchval(WORKING) < PROCESSES or not await connection.fetchval(FINISHED):
                await asyncio.sleep(0.1)
        await asyncio.sleep(START + lasts)
        return await _arrivals(port)


def refused_sliding(arrivals: Sequence[float], allowance: int, window: float = WINDOW) -> int:
    """How many a vendor would have refused that counts the requests of the last *window* seconds."""
    taken: list[float] = []
    refused = oldest = 0
    for at in arrivals:
        while oldest < len(taken) and taken[oldest] <= at - window:
            oldest += 1
        if len(taken) - oldest >= allowance:
            refused += 1
        else:
            taken.append(at)
    return refused


def refused_fixed(arrivals: Sequence[float], allowance: int, window: float = WINDOW) -> int:
    """The same of a vendor that counts by the clock, wherever its windows begin: the worst of many phases."""
    worst = 0
    for phase in range(OFFSETS):
        counts: dict[int, int] = {}
        for at in arrivals:
            slot = int((at + phase * window / OFFSETS) // window)
            counts[slot] = counts.get(slot, 0) + 1
        worst = max(worst, sum(max(0, count - allowance) for count in counts.values()))
    return worst


async def measure(bench: Bench) -> list[Row]:
    """All the limits at the same time, each with its own database, vendor and submitters."""
    lasts = 6.0 if bench.quick else LASTS
    everything = await asyncio.gather(*(_through(bench, per_minute, lasts) for per_minute in PER_MINUTE))
    rows = []
    for per_minute, arrivals in zip(PER_MINUTE, everything, strict=True):
        steady = [at for at in arrivals if at >= arrivals[-1] - lasts + START]
        used = (len(steady) - 1) / (steady[-1] - steady[0]) / (per_minute / WINDOW)
        sliding, fixed = refused_sliding(arrivals, per_minute), refused_fixed(arrivals, per_minute)
        bench.say(f"  {per_minute}/min  {used:.2%} used; refused: {sliding} sliding, {fixed} fixed")
        # A process that lasts less than a window could not be refused anything.
        whole = arrivals[-1] - arrivals[0] >= WINDOW
        rows.append(
            Row(
                name=f"limit of {per_minute}/min used by {PROCESSES} submitters",
                unit="%",
                ours=100 * used,
                limit=100.0,
                ratio=used,
                reach=f"≥ {REACH:.0%}, no 429",
                reached=used >= REACH and sliding + fixed == 0 if whole else None,
                note=f"{len(arrivals)} requests; 429s by sliding windows: {sliding}, by fixed ones: {fixed}",
            )
        )
    return rows
