"""Row 1: callbacks, stored and applied, per second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from pydantic import SecretStr

from bench import pgbench, seed
from bench.load import TOKEN, load
from bench.measure import Bench, Invalid, Meter, Rounds, Row, alternate, of_limit, reached
from bench.peers import fastapi_sqlalchemy
from bench.server import connected, database
from enrichment.tokens import callback_url
from rig.ports import HOST, free_port
from rig.processes import running

KEY = "key-of-the-benchmark"
FASTEST = 16_000  # seeded for each second, so that no contestant runs out
PEER, BARE = "FastAPI + SQLAlchemy", "bare Starlette route"
OF_LIMIT, OF_PEER, OF_BARE = 0.85, 8.0, 0.55
WARM_UP = 1.0  # seconds


def receiver_settings(url: str, port: int) -> dict[str, str]:
    """Return the settings of the receiver; the rest have their defaults."""
    return {
        "DATABASE_URL": url, "HOST": HOST, "PORT": str(port), "API_TOKENS": TOKEN, "CALLBACK_KEYS": KEY,
        "PUBLIC_URL": f"http://{HOST}:{port}", "TOKEN_REQUESTS_PER_MINUTE": "0",
    }  # fmt: skip


def requests(jobs: Sequence[UUID], first: int) -> list[tuple[str, str]]:
    """Return the callbacks that end these jobs, as Nyne sends them, to the URL that it was given."""
    keys = [SecretStr(KEY)]
    return [
        (callback_url("", keys, "nyne", job), json.dumps(_body(seed.REQUEST.format(first + place))))
        for place, job in enumerate(jobs)
    ]


def _body(request_id: str) -> dict[str, object]:
    job = {
        "request_id": request_id, "status": "completed", "completed": True,
        "result": {"mobile": "+14155552671"}, "created_on": "2026-01-15T10:30:00Z",
        "completed_on": "2026-01-15T10:31:00Z",
    }  # fmt: skip
    return {"success": True, "data": job, "timestamp": "2026-01-15T10:31:00Z"}


async def _through(bench: Bench, module: str, seconds: float) -> float:
    """Measure callbacks per second through the receiver, or through the one that does not write."""
    async with database(bench.server) as url, connected(url) as connection:
        count = int(FASTEST * (seconds + WARM_UP))
        jobs = await seed.awaiting(connection, count)
        port = free_port()
        async with running(module, port=port, settings=receiver_settings(url, port)) as started:
            meter = Meter(started.pid, connection.get_server_pid() if module == "receiver" else None)
            rate, done = await _play(port, jobs, seconds)
            bench.noted(f"callbacks {module}", meter.each(done + WARM_UP * rate))
        if module == "receiver":
            applied = await connection.fetchval("SELECT count(*) FROM callbacks WHERE verdict = 'applied'")
            found = await connection.fetchval("SELECT count(*) FROM lookups WHERE final_status = 'found'")
            if not applied == found >= done:
                raise Invalid(f"{done} answered, {applied} stored, {found} applied")
    return rate


async def _play(port: int, jobs: Sequence[UUID], seconds: float) -> tuple[float, int]:
    warm = int(len(jobs) * WARM_UP / (seconds + WARM_UP))
    with TemporaryDirectory() as folder:
        await load(port, requests(jobs[:warm], 0), Path(folder), seconds=WARM_UP)
        done = await load(port, requests(jobs[warm:], warm), Path(folder), seconds=seconds)
    if done.wrong:
        raise Invalid(f"{done.wrong} of {done.requests} callbacks were not taken")
    return done.rate, done.requests


async def _through_peer(bench: Bench, seconds: float) -> float:
    count = int(FASTEST / 4 * (seconds + WARM_UP))
    async with fastapi_sqlalchemy.receiving(bench.server, count) as (port, jobs, pid, backend):
        meter = Meter(pid, backend)
        rate, done = await _play(port, jobs, seconds)
        bench.noted("callbacks peer", meter.each(done + WARM_UP * rate))
        return rate


async def measure(bench: Bench) -> list[Row]:
    """Measure the receiver, its limit and the peer, alternating."""
    rounds = await alternate(
        bench,
        {
            "ours": partial(_through, bench, "receiver", bench.seconds),
            "limit": partial(_through, bench, "bench.unwritten", bench.seconds),
            BARE: partial(_through, bench, "bench.bare_callbacks", bench.seconds),
            PEER: partial(_through_peer, bench, bench.seconds),
            **pgbench.contestants(bench, "callbacks"),
        },
    )
    peer = rounds.middle(PEER)
    part, of_peer = of_limit(rounds), rounds.ratio("ours", PEER)
    return [
        Row(
            name="callbacks stored and applied",
            unit="per second",
            ours=rounds.middle("ours"),
            limit=rounds.middle("limit"),
            peers=({} if peer is None else {PEER: peer}) | pgbench.among(rounds),
            ratio=part,
            reach=f"≥ {OF_LIMIT:.0%} of the app without the write; ≥ {OF_PEER:.0f} x the peer",
            reached=reached((part, OF_LIMIT), (of_peer, OF_PEER)),
            spread=rounds.spread,
            note="; ".join(filter(None, (_said(bench, of_peer), rounds.note))),
        ),
        _without_write(bench, rounds),
    ]


def _without_write(bench: Bench, rounds: Rounds) -> Row:
    """Return the row for the receiver's work on a callback besides the write."""
    part = rounds.ratio("limit", BARE)
    return Row(
        name="callbacks without the write",
        unit="per second",
        ours=rounds.middle("limit"),
        limit=rounds.middle(BARE),
        ratio=part,
        reach=f"≥ {OF_BARE:.0%} of a bare Starlette route",
        reached=reached((part, OF_BARE)),
        spread={who: rounds.spread[name] for who, name in (("ours", "limit"), ("limit", BARE)) if rounds.values[name]},
        note=f"the bare route {bench.cost('callbacks bench.bare_callbacks')}",
    )


def _said(bench: Bench, of_peer: float | None) -> str:
    costs = {"each": "receiver", "the limit": "bench.unwritten", "the peer": "peer"}
    said = [f"{who} {cost}" for who, key in costs.items() if (cost := bench.cost(f"callbacks {key}"))]
    times = [] if of_peer is None else [f"{of_peer:.1f} x the peer"]
    return ", ".join([*times, *said, *pgbench.costs(bench, "callbacks")])
