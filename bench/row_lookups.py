"""Row 3: lookups through a LeadMagic that answers at once, from the claim to the finished lookup, per second."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from importlib import import_module
from typing import Any

import asyncpg

from bench import pgbench, seed
from bench.measure import Bench, Meter, Row, alternate, of_limit, reached
from bench.server import connected, database
from bench.vendor import vendor
from rig.ports import HOST
from rig.processes import output_of, running

PATH = "/v1/people/mobile-finder"
CALLERS = 100  # the default of PROVIDER_CONCURRENCY
FASTEST = 9_000  # seeded for each second
LIFTED = "1000000000"
STARTS_WITHIN = 20.0  # seconds, for the first job to be done
OF_LIMIT = 0.60
PEERS = {"awa": ("awa", 3.0), "PgQueuer": ("pgqueuer", 8.0), "Procrastinate": ("procrastinate", None)}


def submitter_settings(url: str, port: int, **more: str) -> dict[str, str]:
    """Return the settings of the submitter: no limit but its own speed; all others have their defaults."""
    return {
        "DATABASE_URL": url, "PROVIDERS": "leadmagic", "LEADMAGIC_API_KEY": "key",
        "LEADMAGIC_BASE_URL": f"http://{HOST}:{port}", "LEADMAGIC_PER_MINUTE": LIFTED, "LEADMAGIC_PER_HOUR": LIFTED,
        "LEADMAGIC_PER_DAY": LIFTED,
    } | more  # fmt: skip


async def until_begun(connection: asyncpg.Connection[Any], table: str) -> int:
    """Wait until *table* has rows, so that no start-up counts; return how many."""
    async with asyncio.timeout(STARTS_WITHIN):
        while not (count := await connection.fetchval(f"SELECT count(*) FROM {table}")):  # noqa: S608  ours
            await asyncio.sleep(0.05)
    done: int = count
    return done


async def until_done(connection: asyncpg.Connection[Any], table: str, count: int, seconds: float) -> int:
    """Wait until all *count* are in *table*, or the time is up; return how many are."""
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        # Counting all of them would take a core from the contestant, so look only whether the last is there.
        if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table} OFFSET {count - 1})"):  # noqa: S608  ours
            break
        await asyncio.sleep(0.25)
    done: int = await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608  ours
    return done


async def _ours(bench: Bench) -> float:
    async with database(bench.server) as url, connected(url) as connection, vendor() as port:
        count = int(FASTEST * bench.seconds)
        await seed.queued(connection, count)
        async with running("submitter", settings=submitter_settings(url, port)) as started:
            before = await until_begun(connection, "finished_jobs")
            meter = Meter(started.pid, connection.get_server_pid())
            done = await until_done(connection, "finished_jobs", count, bench.seconds)
            bench.noted("ours", meter.each(done - before))
        # From the first claim to the last commit that was made.
        rate: float = await connection.fetchval(
            """
            SELECT count(*) / EXTRACT(epoch FROM max(finished_at) - min(submitted_at))::float8
              FROM finished_jobs WHERE state = 'answered' AND answered_by = 'inline'
            """
        )
        return rate


async def _bare(bench: Bench) -> float:
    async with vendor() as port:
        command = [sys.executable, "-m", "bench.bare", f"http://{HOST}:{port}{PATH}", str(CALLERS), str(bench.seconds)]
        rate, work = map(float, (await output_of(command, within=bench.seconds + STARTS_WITHIN)).split())
        bench.noted("limit", (work, 0.0))
        return rate


async def _peer(bench: Bench, name: str) -> float:
    """Run a worker of this engine: a job per lookup, the same question, the answer stored as a row, the job done."""
    peer = import_module(f"bench.peers.{name}")
    async with database(bench.server, ours=False) as url, connected(url) as connection, vendor() as port:
        count = int(peer.FASTEST * bench.seconds)
        await connection.execute(RESULTS)
        await peer.seed(url, count)
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
        async with running(f"bench.peers.{name}", url, f"http://{HOST}:{port}{PATH}", str(CALLERS)) as started:
            before = await until_begun(connection, "results")
            meter = Meter(started.pid, connection.get_server_pid())
            done = await until_done(connection, "results", count, bench.seconds)
            bench.noted(name, meter.each(done - before))
        # The first rows mark the start: a peer's own start-up is not counted against it.
        rate: float | None = await connection.fetchval(
            "SELECT count(*) / NULLIF(EXTRACT(epoch FROM max(finished_at) - min(finished_at)), 0)::float8 FROM results"
        )
        return rate or 0.0


RESULTS = """
CREATE TABLE results (lookup_id bigint PRIMARY KEY, mobile text, credits numeric NOT NULL,
                      finished_at timestamptz NOT NULL DEFAULT clock_timestamp())
"""


async def measure(bench: Bench) -> list[Row]:
    """Measure the submitter, the bare loop and the engines, alternating."""
    contestants = {"ours": partial(_ours, bench), "limit": partial(_bare, bench)}
    contestants |= {name: partial(_peer, bench, module) for name, (module, _) in PEERS.items()}
    rounds = await alternate(bench, contestants | pgbench.contestants(bench, "lookups"))
    part = of_limit(rounds)
    peers = {name: value for name in PEERS if (value := rounds.middle(name)) is not None}
    times = {name: rounds.ratio("ours", name) for name in peers}
    marks = [(times.get(name), mark) for name, (_, mark) in PEERS.items() if mark is not None and name in times]
    said = ", ".join(f"{ratio:.1f} x {name}" for name, ratio in times.items() if ratio is not None)
    return [
        Row(
            name="lookups through LeadMagic",
            unit="per second",
            ours=rounds.middle("ours"),
            limit=rounds.middle("limit"),
            peers=peers | pgbench.among(rounds),
            ratio=part,
            reach=f"≥ {OF_LIMIT:.0%} of a bare aiohttp loop; ≥ 3 x awa; ≥ 8 x PgQueuer",
            reached=reached((part, OF_LIMIT), *marks),
            spread=rounds.spread,
            note="; ".join(filter(None, (said, _costs(bench), rounds.note))),
        )
    ]


def _costs(bench: Bench) -> str:
    who = {"each": "ours", "bare": "limit"} | {name: module for name, (module, _) in PEERS.items()}
    said = [f"{name} {cost}" for name, key in who.items() if (cost := bench.cost(key))]
    return ", ".join([*said, *pgbench.costs(bench, "lookups")])
