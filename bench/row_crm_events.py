"""Row 2b: HubSpot's events of new contacts, signed, verified and stored with their readings, per second."""

from __future__ import annotations

import itertools
import json
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load import BETWEEN, load
from bench.measure import Bench, Invalid, Meter, Row, alternate, of_limit, reached
from bench.row_callbacks import WARM_UP, receiver_settings
from bench.server import connected, database
from rig.ports import HOST, free_port
from rig.processes import running
from sandbox.hubspot import signing

SECRET = "secret-of-the-benchmark"
PATH = "/events/hubspot"
FASTEST = 12_000  # prepared for each second, so that no contestant runs out
OF_LIMIT = 0.60
_numbers = itertools.count(1)


def requests(port: int, count: int) -> list[tuple[str, str, str]]:
    """Return webhooks signed as by HubSpot, each with one event, of a contact that no event has named yet."""
    return [_signed(f"http://{HOST}:{port}{PATH}", json.dumps([_event(next(_numbers))])) for _ in range(count)]


def _signed(url: str, body: str) -> tuple[str, str, str]:
    headers = signing.headers("v3", SECRET, url, body.encode(), int(time.time() * 1000))
    return PATH, body, BETWEEN.join(f"{name}: {value}" for name, value in headers.items())


def _event(number: int) -> dict[str, object]:
    return {
        "eventId": number, "subscriptionId": 543210, "portalId": 62515, "appId": 54321,
        "occurredAt": int(time.time() * 1000), "subscriptionType": "contact.creation", "attemptNumber": 0,
        "objectId": 101_000_000_000 + number, "changeFlag": "CREATED", "changeSource": "CRM_UI",
        "sourceId": "userId:12345",
    }  # fmt: skip


async def _through(bench: Bench, module: str) -> float:
    async with database(bench.server) as url, connected(url) as connection:
        port = free_port()
        settings = receiver_settings(url, port) | {"HUBSPOT_CLIENT_SECRET": SECRET}
        with TemporaryDirectory() as folder:
            async with running(module, port=port, settings=settings) as started:
                await load(port, requests(port, int(FASTEST * WARM_UP)), Path(folder), seconds=WARM_UP)
                prepared = requests(port, int(FASTEST * bench.seconds))
                meter = Meter(started.pid, connection.get_server_pid() if module == "receiver" else None)
                done = await load(port, prepared, Path(folder), seconds=bench.seconds)
                bench.noted(f"crm events {module}", meter.each(done.requests))
        if done.wrong:
            raise Invalid(f"{done.wrong} of {done.requests} events were not taken")
        if module == "receiver":
            stored = await connection.fetchval("SELECT count(*) FROM readings JOIN events ON events.id = event_id")
            if stored < done.requests:
                raise Invalid(f"{done.requests} answered, {stored} stored")
    return done.rate


async def measure(bench: Bench) -> list[Row]:
    """Measure the receiver and its limit, alternating."""
    contestants = {"ours": partial(_through, bench, "receiver"), "limit": partial(_through, bench, "bench.unwritten")}
    rounds = await alternate(bench, contestants)
    ratio = of_limit(rounds)
    return [
        Row(
            name="HubSpot events stored",
            unit="per second",
            ours=rounds.middle("ours"),
            limit=rounds.middle("limit"),
            ratio=ratio,
            reach=f"≥ {OF_LIMIT:.0%} of the app without the write",
            reached=reached((ratio, OF_LIMIT)),
            spread=rounds.spread,
            note="; ".join(filter(None, [*_costs(bench), rounds.note])),
        )
    ]


def _costs(bench: Bench) -> list[str]:
    costs = {"each": "receiver", "the limit": "bench.unwritten"}
    return [f"{who} {cost}" for who, key in costs.items() if (cost := bench.cost(f"crm events {key}"))]
