"""Row 4b: from the vendor's answer to the write of its number onto the contact, in milliseconds.

Events name contacts at a steady rate; the usual processes read them, ask about them and write back. Both ends are
observed from outside: the vendor notes when it was asked, and HubSpot when each PATCH came.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from typing import Any

import aiohttp

from bench.load import open_caller
from bench.measure import Bench, Invalid, Row
from bench.row_callbacks import receiver_settings
from bench.row_lookups import LIFTED, submitter_settings
from bench.row_wakeup import middle
from bench.server import connected, database
from bench.vendor import arrivals, vendor
from rig.ports import HOST, free_port
from rig.processes import running

P50, P99 = 20.0, 60.0  # milliseconds
RATE = 50  # contacts a second
WARM_UP = 40  # contacts before the measured ones
SETTLES_WITHIN = 10.0  # seconds for the last numbers to be written
TOKEN = "hs_sandbox"
# HubSpot's headers name them too, so the shared limits in PostgreSQL do not bind either.
LIMITS = ("--per-ten-seconds", "1000000", "--per-day", "0", "--searches-per-second", "0")


class Account:
    """The pretend HubSpot on its port."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://{HOST}:{port}/sandbox"

    async def create(self, count: int) -> dict[str, str]:
        """Create *count* contacts; return the e-mail address of each by its id."""
        document = {"n": count, "with_linkedin": 0, "with_email": 1}
        async with self._session.post(f"{self._url}/contacts", json=document) as answer:
            created = (await answer.json())["contacts"]
        return {one["id"]: one["properties"]["email"] for one in created}

    async def written(self) -> dict[str, float]:
        """Return when the first PATCH of each contact came."""
        came: dict[str, float] = {}
        after: int | None = 0
        while after is not None:
            page = await self._get("requests", after=str(after))
            for request in page["entries"]:
                if request["method"] == "PATCH":
                    at = datetime.fromisoformat(request["at"]).timestamp()
                    came.setdefault(request["target"].rpartition("/")[2].partition("?")[0], at)
            after = page["next"]
        return came

    async def refused(self) -> int:
        """Return how many requests exceeded a limit."""
        limited: int = (await self._get("stats"))["limited"]
        return limited

    async def _get(self, page: str, **query: str) -> Any:
        async with self._session.get(f"{self._url}/{page}", params=query) as answer:
            return await answer.json()


async def _name(port: int, record_ids: list[str], rate: float) -> None:
    """Send an event for each contact, evenly spaced."""
    caller = await open_caller(port)
    began = time.time() + 0.05
    for number, record_id in enumerate(record_ids):
        await asyncio.sleep(max(0.0, began + number / rate - time.time()))
        status = await caller.post("/events/hubspot", json.dumps({"record_id": record_id}).encode())
        assert status == 202


async def _through(bench: Bench) -> tuple[list[float], list[float]]:
    """Return the milliseconds from the answer, and from the commit that ended the lookup, to the PATCH."""
    async with database(bench.server) as url, vendor("--keep") as asked, aiohttp.ClientSession() as session:
        port, crm = free_port(), free_port()
        ours = {
            "HUBSPOT_BASE_URL": f"http://{HOST}:{crm}", "HUBSPOT_ACCESS_TOKEN": TOKEN, "HUBSPOT_SWEEP_SECONDS": "0",
            "HUBSPOT_FLOOD_LOOKUPS_PER_HOUR": LIFTED, "PROVIDERS": "leadmagic",
        }  # fmt: skip
        async with (
            running("sandbox", "hubspot", "--port", str(crm), *LIMITS, port=crm),
            running("receiver", port=port, settings=receiver_settings(url, port) | ours),
            running("submitter", settings=submitter_settings(url, asked, **ours)),
        ):
            await asyncio.sleep(2.0)  # connected: contacts created from now on are news
            account = Account(session, crm)
            await _name(port, list(await account.create(WARM_UP)), 20.0)
            await asyncio.sleep(1.0)
            await arrivals(asked)
            contacts = await account.create(max(10, int(RATE * bench.seconds)))
            await _name(port, list(contacts), RATE)
            written = await _all_written(account, contacts)
            answered = {email: at for at, email in await arrivals(asked)}
            if limited := await account.refused():
                raise Invalid(f"HubSpot refused {limited} requests by its limits")
        async with connected(url) as connection:
            rows = await connection.fetch("SELECT record_id, finished_at FROM lookups WHERE final_status = 'found'")
    ended = {row["record_id"]: row["finished_at"].timestamp() for row in rows}
    after_answer = [1e3 * (written[id] - answered[email]) for id, email in contacts.items()]
    after_commit = [1e3 * (written[id] - ended[id]) for id in contacts]
    return after_answer, after_commit


async def _all_written(account: Account, contacts: dict[str, str]) -> dict[str, float]:
    """Wait until every contact was written; return the time of each write."""
    until = time.time() + SETTLES_WITHIN
    while True:
        await asyncio.sleep(0.5)
        written = await account.written()
        if written.keys() >= contacts.keys():
            return written
        if time.time() > until:
            raise Invalid(f"{len(contacts.keys() - written.keys())} of {len(contacts)} numbers were not written")


async def measure(bench: Bench) -> list[Row]:
    """Measure in rounds; the row is over the contacts of all rounds."""
    rounds: list[tuple[float, float]] = []
    answers: list[float] = []
    commits: list[float] = []
    for number in range(bench.rounds):
        after_answer, after_commit = await _through(bench)
        answers += after_answer
        commits += after_commit
        rounds.append(middle(after_answer))
        bench.say(f"  round {number + 1}  {RATE}/s  p50 {rounds[-1][0]:8.2f}  p99 {rounds[-1][1]:8.2f} ms")
    p50, p99 = middle(answers)
    commit50, commit99 = middle(commits)
    return [
        Row(
            name=f"number known, write-back sent, {name} at {RATE}/s",
            unit="ms",
            ours=value,
            reach=f"≤ {mark:.0f} ms",
            reached=value <= mark,
            spread={"ours": (min(r[place] for r in rounds), max(r[place] for r in rounds))},
            note=f"{len(answers)} contacts; from the start of the commit that ended the lookup: {commit:.2f} ms",
        )
        for place, (name, value, mark, commit) in enumerate([("p50", p50, P50, commit50), ("p99", p99, P99, commit99)])
    ]
