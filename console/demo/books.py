"""The demo's HTTP requests: to our API, and to the admin of the pretend vendors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import aiohttp

from console.demo.stage import Stage

# Events a second, a little fewer than LeadMagic lets us ask: so no times in a queue are part of the times shown.
PER_SECOND = 40
AT_ONCE = 12  # requests in flight
PAGE = 200  # rows; the most that a page has
Json = dict[str, Any]


class Books:
    """A client of our API and of the vendors' admin; it uses only HTTP."""

    def __init__(self, session: aiohttp.ClientSession, stage: Stage) -> None:
        self._session = session
        self._stage = stage
        self._headers = {"Authorization": f"Bearer {stage.token}"}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def send(self, events: Iterable[Json]) -> list[Json]:
        """Send every event; return the receiver's answer to each, with its `event_id`."""
        return await asyncio.gather(*(self._send(event, n / PER_SECOND) for n, event in enumerate(events)))

    async def _send(self, event: Json, after: float) -> Json:
        await asyncio.sleep(after)
        async with (
            self._slots,
            self._session.post(f"{self._stage.url}/events/generic", json=event, headers=self._headers) as response,
        ):
            if response.status != 202:
                raise AssertionError(f"an event was answered with {response.status}: {await response.text()}")
            answer = await response.json()
        taken: Json = answer["lookups"][0]
        return taken | {"event_id": event["event_id"]}

    async def listed(self, what: str) -> list[Json]:
        """Return every row of one of our API's lists, newest first."""
        found: list[Json] = []
        query = {"limit": str(PAGE)}
        while True:
            page = await self.get(f"{self._stage.url}/v1/{what}", **query)
            found += page[what]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    async def usage(self, provider: str) -> Json:
        """Return what our API says that *provider* charged, all days added up."""
        report = await self.get(f"{self._stage.url}/v1/usage")
        days = [day for day in report["days"] if day["provider"] == provider]
        return {name: sum(day[name] for day in days) for name in ("reserved", "charged", "possibly_charged")}

    async def truth(self, vendor: str, person: Json) -> Json:
        """Return what *vendor* knows about *person*, and what it charges for the number."""
        known = {name: value for name, value in person.items() if value is not None}
        return await self.get(f"{self._stage.vendors[vendor]}/sandbox/truth", **known)

    async def stats(self, vendor: str) -> Json:
        """Return the vendor's counts."""
        return await self.get(f"{self._stage.vendors[vendor]}/sandbox/stats")

    async def charges(self, vendor: str) -> Json:
        """Return the vendor's whole ledger: `totals`, and `entries` with one charge each."""
        return await self.get(f"{self._stage.vendors[vendor]}/sandbox/ledger", limit="100000")

    async def forge(self, job_id: str) -> int:
        """Send a callback with a false number and a wrong token; return the status it gets."""
        url = f"{self._stage.url}/callbacks/nyne/{job_id}/{'0' * 64}"
        forged = {"status": "completed", "result": {"mobile": "+14155550100"}}
        async with self._session.post(url, json=forged) as response:
            return response.status

    async def post(self, url: str, document: Json) -> Json:
        """POST a document to a vendor's admin; return its answer."""
        async with self._session.post(url, json=document) as response:
            response.raise_for_status()
            answer: Json = await response.json()
            return answer

    async def get(self, url: str, **query: str) -> Json:
        """GET a page of our API, or of a vendor's admin."""
        headers = self._headers if url.startswith(self._stage.url) else {}
        async with self._session.get(url, params=query, headers=headers) as response:
            response.raise_for_status()
            answer: Json = await response.json()
            return answer
