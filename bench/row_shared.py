"""Row 10: many lookups wait for one answer; the cost of each must not depend on their number."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from statistics import median

import aiohttp

from bench.load import TOKEN
from bench.measure import Bench, Invalid, Row
from bench.row_callbacks import receiver_settings
from bench.row_lookups import submitter_settings
from bench.server import database
from bench.vendor import arrivals, vendor
from rig.ports import HOST, free_port
from rig.processes import running

FEW, MANY = 5_000, 10_000  # fewer end within the noise of what one alone takes
FEW_QUICKLY, MANY_QUICKLY = 500, 1_000
BATCH = 100  # contacts of one event
REACH = 1.2
GIVE_UP = 300.0  # seconds
OPEN = ("queued", "running", "held")
_numbers = itertools.count(1)


async def measure(bench: Bench) -> list[Row]:
    """Measure few, then many, in each round."""
    few, many = (FEW_QUICKLY, MANY_QUICKLY) if bench.quick else (FEW, MANY)
    few_rounds, many_rounds = [], []
    for number in range(1, bench.rounds + 1):
        alone = await _through(bench, 1)
        few_rounds.append(1e6 * (await _through(bench, few) - alone) / few)
        many_rounds.append(1e6 * (await _through(bench, many) - alone) / many)
        bench.say(f"  round {number}  {few:,}: {few_rounds[-1]:.1f} µs each  {many:,}: {many_rounds[-1]:.1f} µs each")
    ratio = _ratio(many_rounds, few_rounds)
    return [
        Row(
            name=f"{many:,} lookups of one search",
            unit="µs each",
            ours=median(many_rounds),
            limit=median(few_rounds),
            ratio=ratio,
            reach=f"≤ {REACH:g} x what each of {few:,} takes",
            reached=None if bench.quick or ratio is None else ratio <= REACH,
            spread={"ours": (min(many_rounds), max(many_rounds)), "limit": (min(few_rounds), max(few_rounds))},
            note="from the question's arrival at the vendor until none is open, less what one alone takes",
        )
    ]


def _ratio(many: Sequence[float], few: Sequence[float]) -> float | None:
    """Return the median of the rounds; None when few took no longer than one alone, so that nothing was measured."""
    if min(few) <= 0:
        return None
    return median(one / two for one, two in zip(many, few, strict=True))


async def _through(bench: Bench, count: int) -> float:
    """Return the seconds from the question to the end of the last of *count* lookups of one contact."""
    async with database(bench.server) as url, vendor("--keep") as asked:
        port = free_port()
        settings = receiver_settings(url, port) | {"PROVIDERS": "leadmagic"}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            running("receiver", port=port, settings=settings),
            aiohttp.ClientSession(f"http://{HOST}:{port}", headers=headers) as session,
        ):
            await _send(session, count)
            async with running("submitter", settings=submitter_settings(url, asked)):
                ended = await _until_all_ended(session)
                questions = await arrivals(asked)
    if len(questions) != 1:
        raise Invalid(f"{count} lookups of one contact asked {len(questions)} questions")
    return ended - questions[0][0]


async def _send(session: aiohttp.ClientSession, count: int) -> None:
    """Send *count* events of one contact, each under a record id of its own."""
    email = f"jane.{next(_numbers)}@acme.co"
    for first in range(0, count, BATCH):
        contacts = [
            {"record_id": f"crm-{place}", "work_email": email, "name": "Jane Doe", "company": "Acme"}
            for place in range(first, min(first + BATCH, count))
        ]
        body = {"event_id": f"{email}-{first}", "contacts": contacts}
        async with session.post("/events/generic", json=body) as answer:
            if answer.status != 202:
                raise Invalid(f"an event was answered with {answer.status}: {await answer.text()}")


async def _until_all_ended(session: aiohttp.ClientSession) -> float:
    """Wait until no lookup is open; return when that was."""
    async with asyncio.timeout(GIVE_UP):
        for status in OPEN:
            while await _some_are(session, status):
                await asyncio.sleep(0.002)
    return time.time()


async def _some_are(session: aiohttp.ClientSession, status: str) -> bool:
    async with session.get("/v1/lookups", params={"status": status, "limit": "1"}) as answer:
        return bool((await answer.json())["lookups"])
