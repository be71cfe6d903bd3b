"""Row 4: from the commit of an event to the call of the provider, in milliseconds."""

from __future__ import annotations

import asyncio
import json
import time
from statistics import quantiles

from bench.load import open_caller
from bench.measure import Bench, Row
from bench.row_callbacks import receiver_settings
from bench.row_lookups import submitter_settings
from bench.server import database
from bench.vendor import arrivals, vendor
from rig.ports import free_port
from rig.processes import running

P50, P99 = 10.0, 30.0  # milliseconds
WARM_UP = 20  # events before the measured ones
RATES = {50: 1.0, 1: 4.0}  # events per second, and for how many times the seconds of a row


async def _send(port: int, rate: float, count: int, kept: dict[str, tuple[float, float]]) -> None:
    """Send *count* events, evenly; keep the times of each request and of its 202."""
    caller = await open_caller(port)
    began = time.time() + 0.05
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.time()))
        email = f"jane.{rate}.{number}.{len(kept)}@acme.co"
        body = {"event_id": email, "work_email": email, "providers": ["leadmagic"]}
        sent = time.time()
        status = await caller.post("/events/generic", json.dumps(body).encode())
        assert status == 202
        kept[email] = (sent, time.time())


async def _through(bench: Bench, rate: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the milliseconds from the 202, and from the request before it, to the arrival at the vendor."""
    async with database(bench.server) as url, vendor("--keep") as asked:
        port = free_port()
        async with (
            running("receiver", port=port, settings=receiver_settings(url, port) | {"PROVIDERS": "leadmagic"}),
            running("submitter", settings=submitter_settings(url, asked)),
        ):
            await asyncio.sleep(2.0)
            await _send(port, 20.0, WARM_UP, {})
            await asyncio.sleep(1.0)
            await arrivals(asked)
            kept: dict[str, tuple[float, float]] = {}
            await _send(port, float(rate), max(5, int(rate * seconds)), kept)
            await asyncio.sleep(1.5)
            arrived = {email: at for at, email in await arrivals(asked)}
    assert arrived.keys() >= kept.keys(), f"{len(kept.keys() - arrived.keys())} never reached the vendor"
    after_answer = [1e3 * (arrived[email] - answered) for email, (_, answered) in kept.items()]
    after_request = [1e3 * (arrived[email] - sent) for email, (sent, _) in kept.items()]
    return after_answer, after_request


async def measure(bench: Bench) -> list[Row]:
    """Measure both rates; a round is as long as any other row's."""
    rows = []
    for rate, longer in RATES.items():
        rounds: list[tuple[float, float]] = []
        answers: list[float] = []
        requests: list[float] = []
        for number in range(bench.rounds):
            after_answer, after_request = await _through(bench, rate, bench.seconds * longer)
            answers += after_answer
            requests += after_request
            rounds.append(middle(after_answer))
            bench.say(f"  round {number + 1}  {rate:3}/s  p50 {rounds[-1][0]:8.2f}  p99 {rounds[-1][1]:8.2f} ms")
        p50, p99 = middle(answers)
        whole50, whole99 = middle(requests)
        rows += [
            Row(
                name=f"event committed, provider called, {name} at {rate}/s",
                unit="ms",
                ours=value,
                reach=f"≤ {mark:.0f} ms",
                reached=value <= mark,
                spread={"ours": (min(r[place] for r in rounds), max(r[place] for r in rounds))},
                note=f"{len(answers)} events; from the event's request on: {whole:.2f} ms",
            )
            for place, (name, value, mark, whole) in enumerate([("p50", p50, P50, whole50), ("p99", p99, P99, whole99)])
        ]
    return rows


def middle(values: list[float]) -> tuple[float, float]:
    """Return p50 and p99."""
    hundredths = quantiles(values, n=100, method="inclusive")
    return hundredths[49], hundredths[98]
