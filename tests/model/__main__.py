"""python -m tests.model: run after run, each with several operating system processes, until the minutes are over."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import asyncpg
import structlog
import typer

from rig.postgres import execute, url_of
from store import embedded
from store.migrations import migrate
from tests.model.journal import merged
from tests.model.run import Order, Report, act_alone, judge, prepare
from tests.wishes import IDENTITY_KEY

PROCESSES = 2
ACTORS = 3  # of each process


def main(
    *,
    minutes: Annotated[float, typer.Option(envvar="MINUTES", help="How long to go on.")] = 5.0,
    seed: Annotated[int | None, typer.Option(envvar="SEED", help="Of the first run; any.")] = None,
    events: Annotated[int, typer.Option(envvar="EVENTS", help="Of each run.")] = 1200,
    broken: Annotated[str | None, typer.Option(help="A deliberate break: see tests/model/breaks.py.")] = None,
) -> None:
    """Simulate searches and lookups against an oracle. Exits with 1 if a promise was broken."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    first = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    end = time.monotonic() + minutes * 60
    reports: list[Report] = []
    home = Path(tempfile.mkdtemp(prefix="ringback-model-"))
    server = os.environ.get("TEST_DATABASE_URL") or embedded.start(home)
    try:
        with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as processes:
            while not reports or time.monotonic() < end:
                order = Order(first + len(reports), events // 6, events, PROCESSES * ACTORS, broken=broken)
                if len(reports) % 3 == 2:  # few people in many events, and a bad network
                    order = replace(order, people=events // 40, timeouts=0.4, slow=0.03)
                reports.append(_run(order, server, processes))
                print(reports[-1], flush=True)
    finally:
        if "TEST_DATABASE_URL" not in os.environ:
            embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)
    _sum_up(reports)
    sys.exit(1 if any(report.violations for report in reports) else 0)


def _run(order: Order, server: str, processes: ProcessPoolExecutor) -> Report:
    """Make one run in a database of its own."""
    name = f"ringback_model_{os.getpid()}"
    asyncio.run(_create(server, name))
    url = url_of(server, name)
    asyncio.run(prepare(url))
    shares = [range(number * ACTORS, (number + 1) * ACTORS) for number in range(PROCESSES)]
    journals = list(processes.map(act_alone, [order] * PROCESSES, [url] * PROCESSES, shares))
    report = asyncio.run(judge(order, url, merged(journals)))
    asyncio.run(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))
    return report


async def _create(server: str, name: str) -> None:
    await execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(url_of(server, name))
    try:
        await migrate(connection, identity_key=IDENTITY_KEY)
    finally:
        await connection.close()


def _sum_up(reports: list[Report]) -> None:
    seen: Counter[str] = sum((report.seen for report in reports), Counter())
    for what, count in sorted(seen.items()):
        print(f"{count:8} {what}")
    lookups = sum(report.lookups for report in reports)
    broken = sum(1 for report in reports if report.violations)
    print(f"{len(reports)} runs from seed {reports[0].seed}, {lookups} lookups, {broken} runs with violations")


if __name__ == "__main__":
    typer.run(main)
