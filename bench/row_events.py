"""Row 2: CRM events of new persons, stored with their lookup and its first job, per second."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import pgbench
from bench.load import load
from bench.measure import Bench, Invalid, Meter, Row, alternate, of_limit, reached
from bench.row_callbacks import WARM_UP, receiver_settings
from bench.server import connected, database
from rig.ports import free_port
from rig.processes import running

FASTEST = 12_000  # prepared for each second, so that no contestant runs out
OF_LIMIT = 0.60
_numbers = itertools.count(1)


def requests(count: int) -> list[tuple[str, str]]:
    """Return *count* events, each of a person that no event has named yet."""
    return [("/events/generic", json.dumps(_event(next(_numbers)))) for _ in range(count)]


def _event(number: int) -> dict[str, object]:
    return {
        "event_id": f"evt-{number}", "record_id": f"crm-{number}", "region": "US",
        "profile_url": f"https://www.linkedin.com/in/jane-doe-{number}", "work_email": f"jane.{number}@acme.co",
        "name": "Jane Doe", "company": "Acme", "providers": ["leadmagic", "nyne"],
    }  # fmt: skip


async def _through(bench: Bench, module: str) -> float:
    async with database(bench.server) as url, connected(url) as connection:
        port = free_port()
        with TemporaryDirectory() as folder:
            async with running(module, port=port, settings=receiver_settings(url, port)) as started:
                await load(port, requests(int(FASTEST * WARM_UP)), Path(folder), seconds=WARM_UP)
                meter = Meter(started.pid, connection.get_server_pid() if module == "receiver" else None)
                done = await load(port, requests(int(FASTEST * bench.seconds)), Path(folder), seconds=bench.seconds)
                bench.noted(f"events {module}", meter.each(done.requests))
        if done.wrong:
            raise Invalid(f"{done.wrong} of {done.requests} events were not taken")
        if module == "receiver":
            stored = await connection.fetchval("SELECT count(*) FROM jobs JOIN lookups ON lookups.id = lookup_id")
            if stored < done.requests:
                raise Invalid(f"{done.requests} answered, {stored} stored")
    return done.rate


async def measure(bench: Bench) -> list[Row]:
    """Measure the receiver and its limit, alternating."""
    rounds = await alternate(
        bench,
        {
            "ours": partial(_through, bench, "receiver"),
            "limit": partial(_through, bench, "bench.unwritten"),
            **pgbench.contestants(bench, "events"),
        },
    )
    ratio = of_limit(rounds)
    return [
        Row(
            name="CRM events stored",
            unit="per second",
            ours=rounds.middle("ours"),
            limit=rounds.middle("limit"),
            peers=pgbench.among(rounds),
            ratio=ratio,
            reach=f"≥ {OF_LIMIT:.0%} of the app without the write",
            reached=reached((ratio, OF_LIMIT)),
            spread=rounds.spread,
            note="; ".join(filter(None, [*_costs(bench), *pgbench.costs(bench, "events"), rounds.note])),
        )
    ]


def _costs(bench: Bench) -> list[str]:
    costs = {"each": "receiver", "the limit": "bench.unwritten"}
    return [f"{who} {cost}" for who, key in costs.items() if (cost := bench.cost(f"events {key}"))]
