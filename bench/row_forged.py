"""Row 1b: genuine callbacks while strangers post forged ones: the p99 of their answers, with and without the flood."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from statistics import median
from uuid import UUID

from bench import seed
from bench.load import Caller, open_caller
from bench.measure import Bench, Invalid, Row
from bench.row_callbacks import receiver_settings, requests
from bench.row_wakeup import middle
from bench.server import connected, database
from rig.ports import free_port
from rig.processes import output_of, running

FORGED, GENUINE = 5_000, 200  # per second
MOST = 3.0  # times the quiet p99
QUIET = 50.0  # ms: a machine whose quiet p99 is longer has other load, in which a flood does not show
WARM_UP = 100  # callbacks
CALLERS = 8
SLACK = 20.0  # seconds for the flood's process to start and stop
ENOUGH = 0.98  # of the forged ones must have been sent, and answered


async def _play(port: int, jobs: Sequence[UUID], first: int) -> list[float]:
    """Send the callbacks of *jobs* evenly, whatever the answers take; return the milliseconds of each answer."""
    idle: asyncio.Queue[Caller] = asyncio.Queue()
    for _ in range(CALLERS):
        idle.put_nowait(await open_caller(port))
    taken: list[float] = []

    async def one(path: str, body: str, due: float) -> None:
        await asyncio.sleep(due - time.perf_counter())
        caller = await idle.get()
        status = await caller.post(path, body.encode())
        taken.append(1e3 * (time.perf_counter() - due))  # a late start is the receiver's, too: all callers waited
        idle.put_nowait(caller)
        if status != 200:
            raise Invalid(f"a genuine callback was answered with {status}")

    began = time.perf_counter() + 0.05
    async with asyncio.TaskGroup() as calls:
        for number, (path, body) in enumerate(requests(jobs, first)):
            calls.create_task(one(path, body, began + number / GENUINE))
    return taken


async def _flooded(port: int, jobs: Sequence[UUID], first: int, seconds: float) -> list[float]:
    """Do the same under the flood, which begins a second before and ends after it."""
    command = [sys.executable, "-m", "bench.flood", str(port), str(FORGED), str(seconds + 2.0)]
    flood = asyncio.create_task(output_of(command, within=seconds + SLACK))
    await asyncio.sleep(1.0)
    taken = await _play(port, jobs, first)
    counted = json.loads((await flood).splitlines()[-1])
    wanted = FORGED * counted["seconds"] * ENOUGH
    if counted["sent"] < wanted or counted["refused"] < counted["sent"] * ENOUGH:
        raise Invalid(f"no flood of {FORGED} a second: {counted}")
    return taken


async def _round(bench: Bench) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return p50 and p99 without, and under the flood."""
    count = int(GENUINE * bench.seconds)
    async with database(bench.server) as url, connected(url) as connection:
        jobs = await seed.awaiting(connection, WARM_UP + 2 * count)
        port = free_port()
        async with running("receiver", port=port, settings=receiver_settings(url, port)):
            await _play(port, jobs[:WARM_UP], 0)
            quiet = await _play(port, jobs[WARM_UP : WARM_UP + count], WARM_UP)
            flooded = await _flooded(port, jobs[WARM_UP + count :], WARM_UP + count, bench.seconds)
        applied = await connection.fetchval("SELECT count(*) FROM callbacks WHERE verdict = 'applied'")
        if applied != len(jobs):
            raise Invalid(f"{len(jobs)} genuine callbacks, {applied} applied")
    return middle(quiet), middle(flooded)


async def measure(bench: Bench) -> list[Row]:
    """Measure the same receiver quiet and flooded, round by round."""
    rounds = []
    for number in range(1, bench.rounds + 1):
        (quiet50, quiet99), (flooded50, flooded99) = await _round(bench)
        rounds.append((quiet99, flooded99, flooded50))
        bench.say(
            f"  round {number}  quiet p50 {quiet50:7.2f}  p99 {quiet99:7.2f}   flooded p50 {flooded50:7.2f}"
            f"  p99 {flooded99:7.2f} ms   {flooded99 / quiet99:5.2f} x"
        )
    ratio = median(flooded / quiet for quiet, flooded, _ in rounds)
    quiet, flooded, _ = zip(*rounds, strict=True)
    return [
        Row(
            name=f"genuine callbacks, p99 among {FORGED:,} forged ones a second",
            unit="ms",
            ours=median(flooded),
            limit=median(quiet),
            ratio=ratio,
            reach=f"≤ {MOST:.0f} x the p99 without them",
            reached=ratio <= MOST if median(quiet) <= QUIET else None,
            spread={"ours": (min(flooded), max(flooded)), "limit": (min(quiet), max(quiet))},
            note=f"{GENUINE} genuine ones a second, none lost; p50 {median(p50 for *_, p50 in rounds):.1f} ms",
        )
    ]
