"""Row 8: the time until others have settled the jobs of a submitter that was killed while it asked."""

from __future__ import annotations

import asyncio
import signal
import time

from bench import seed
from bench.measure import Bench, Invalid, Row
from bench.row_lookups import submitter_settings
from bench.server import connected, database
from bench.vendor import vendor
from rig.processes import running

MOST = 30.0  # seconds
IN_FLIGHT = 50
NEVER = "600"  # seconds until the vendor would answer
GIVE_UP = 90.0  # seconds
SUBMITTING = "SELECT count(*) FROM jobs WHERE state = 'submitting'"


async def _once(bench: Bench) -> tuple[float, float]:
    """Return the seconds until the first, and until the last job was taken over; all settings have their defaults."""
    async with database(bench.server) as url, connected(url) as connection, vendor("--delay", NEVER) as port:
        await seed.queued(connection, IN_FLIGHT)
        settings = submitter_settings(url, port)
        async with (
            running("submitter.reconciler", settings=settings),
            running("submitter", settings=settings) as submitter,
        ):
            async with asyncio.timeout(GIVE_UP):
                while await connection.fetchval(SUBMITTING) < IN_FLIGHT:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(4.0)  # their leases have been renewed once
            submitter.send(signal.SIGKILL)
            killed, first = time.monotonic(), 0.0
            while (left := await connection.fetchval(SUBMITTING)) > 0:
                first = first or (time.monotonic() - killed if left < IN_FLIGHT else 0.0)
                if time.monotonic() - killed > GIVE_UP:
                    raise Invalid(f"{left} jobs were never taken over")
                await asyncio.sleep(0.05)
            last = time.monotonic() - killed
            return first or last, last


async def measure(bench: Bench) -> list[Row]:
    """Measure once in each round."""
    rounds = [await _once(bench) for _ in range(bench.rounds)]
    lasts = [last for _, last in rounds]
    return [
        Row(
            name="jobs taken over after SIGKILL",
            unit="s",
            ours=max(lasts),
            reach=f"≤ {MOST:.0f} s with the settings as they come",
            reached=max(lasts) <= MOST,
            spread={"ours": (min(first for first, _ in rounds), max(lasts))},
            note=f"{IN_FLIGHT} questions on the wire; the worst of {len(rounds)}, the least is the first job's",
        )
    ]
