"""Row 5: the part of a rate limit that four submitters use together, and the 429s that a vendor would have sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench import seed
from bench.measure import Bench, Row
from bench.row_lookups import submitter_settings
from bench.server import connected, database
from bench.vendor import arrivals, vendor
from rig.processes import running

PROCESSES = 4
REACH = 0.98
START = 3.0  # seconds until all four are asking
STARTS_WITHIN = 40.0  # seconds
LASTS = 75.0  # seconds: a whole minute, and a part of the next
LASTS_ALONE = 30.0  # seconds
OFFSETS = 60  # phases of a fixed window that are looked at
WORKING = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'ringback submitter listener'
"""
FINISHED = "SELECT EXISTS (SELECT FROM finished_jobs)"
# There is no setting per second, because neither vendor counts by the second: the row is written by hand.
BY_HAND = """
INSERT INTO limits (provider, purpose, "window", allowance)
SELECT 'leadmagic', purpose, $1, $2 FROM unnest(ARRAY['any', 'poll']) AS purposes (purpose)
"""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A limit of requests in a number of seconds."""

    requests: int
    window: int
    name: str

    @property
    def settings(self) -> dict[str, str]:
        """Return the setting for it, where there is one."""
        setting = {60: "LEADMAGIC_PER_MINUTE", 3600: "LEADMAGIC_PER_HOUR"}.get(self.window)
        return {setting: str(self.requests)} if setting else {}

    def questions(self, seconds: float) -> int:
        """Return more questions than can be asked in *seconds*."""
        return int(self.requests * max(1.0, 2 * seconds / self.window)) + 100


LIMITS = (
    Allowed(50, 1, "50 a second"),
    Allowed(3_000, 60, "3,000 a minute"),
    Allowed(600, 60, "600 a minute"),
    Allowed(1_000, 3600, "1,000 an hour"),
)


async def _through(bench: Bench, allowed: Allowed, lasts: float) -> list[float]:
    """Return when the requests of four submitters arrived."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(bench.server))
        connection = await stack.enter_async_context(connected(url))
        port = await stack.enter_async_context(vendor("--keep", "--delay", "0.05"))
        for _ in range(PROCESSES):
            await stack.enter_async_context(
                running("submitter", settings=submitter_settings(url, port) | allowed.settings)
            )
        async with asyncio.timeout(STARTS_WITHIN):
            while await connection.fetchval(WORKING) < PROCESSES:
                await asyncio.sleep(0.1)
            if not allowed.settings:
                await connection.execute(BY_HAND, allowed.window, allowed.requests)
            await seed.queued(connection, allowed.questions(lasts + START))
            while not await connection.fetchval(FINISHED):
                await asyncio.sleep(0.1)
        await asyncio.sleep(START + lasts)
        return sorted(at for at, _ in await arrivals(port))


def refused_sliding(arrivals: Sequence[float], allowance: int, window: float) -> int:
    """Count the refusals of a vendor that counts the requests of the last *window* seconds."""
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


def refused_fixed(arrivals: Sequence[float], allowance: int, window: float) -> int:
    """Count the refusals of a vendor that counts by the clock: the worst of many phases of its windows."""
    worst = 0
    for phase in range(OFFSETS):
        counts: dict[int, int] = {}
        for at in arrivals:
            slot = int((at + phase * window / OFFSETS) // window)
            counts[slot] = counts.get(slot, 0) + 1
        worst = max(worst, sum(max(0, count - allowance) for count in counts.values()))
    return worst


def used(arrivals: Sequence[float], allowed: Allowed) -> float:
    """Return the part of the allowance that was used: of the windows that have passed, or of the one that has begun."""
    steady = [at for at in arrivals if at >= arrivals[0] + START]
    if arrivals[-1] - arrivals[0] < allowed.window:
        return len(arrivals) / allowed.requests
    return (len(steady) - 1) / (steady[-1] - steady[0]) / (allowed.requests / allowed.window)


async def measure(bench: Bench) -> list[Row]:
    """Measure each limit with its own database, vendor and submitters; the shortest alone, as it is most sensitive."""
    lasts = 6.0 if bench.quick else LASTS
    shortest, *others = LIMITS
    everything = [(shortest, await _through(bench, shortest, min(lasts, LASTS_ALONE)))]
    everything += zip(others, await asyncio.gather(*(_through(bench, one, lasts) for one in others)), strict=True)
    rows = []
    for allowed, arrived in everything:
        part = used(arrived, allowed)
        sliding = refused_sliding(arrived, allowed.requests, allowed.window)
        fixed = refused_fixed(arrived, allowed.requests, allowed.window)
        bench.say(f"  {allowed.name:16} {part:.2%} used; refused: {sliding} sliding, {fixed} fixed")
        rows.append(
            Row(
                name=f"limit of {allowed.name} used by {PROCESSES} submitters",
                unit="%",
                ours=100 * part,
                limit=100.0,
                ratio=part,
                reach=f"≥ {REACH:.0%}, no 429",
                # A quick run is shorter than a minute: it could not be refused anything.
                reached=None if bench.quick else part >= REACH and sliding + fixed == 0,
                note=f"{len(arrived)} requests; 429s by sliding windows: {sliding}, by fixed ones: {fixed}",
            )
        )
    return rows
