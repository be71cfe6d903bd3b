"""The sender of webhooks: arrays of events, signed afresh for each attempt, retried until a 2xx or ten retries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
from yarl import URL

from sandbox.hubspot import signing
from sandbox.hubspot.events import Subscription
from sandbox.hubspot.journal import Journal, Sent
from sandbox.hubspot.times import now
from sandbox.wire import encode

MOST_EVENTS = 100  # events of one POST
MOST_RETRIES = 10
MOST_IN_FLIGHT = 10
DEADLINE = aiohttp.ClientTimeout(total=5)
KEPT = 4096  # bytes of an answer

Event = dict[str, Any]


class Webhooks:
    """A sender of webhooks; *subscription* may change at any time and applies to everything sent from then on."""

    def __init__(
        self,
        journal: Journal,
        dice: random.Random,
        *,
        batch_seconds: float,
        retry_seconds: float,
        subscription: Callable[[], Subscription],
    ) -> None:
        """Gather events for *batch_seconds*; retry after random gaps, *retry_seconds* in the mean (HubSpot: 2.4 h)."""
        self.session: aiohttp.ClientSession | None = None
        self._journal = journal
        self._dice = dice
        self._batch_seconds = batch_seconds
        self._retry_seconds = retry_seconds
        self._subscription = subscription
        self._gathered: list[Event] = []
        self._slots = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open the session for sending."""
        self.session = aiohttp.ClientSession()

    async def close(self) -> None:
        """Give up every event that waits or is under way, and close the session."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.session is not None:
            await self.session.close()

    def cancel(self) -> None:
        """Give up every event that waits or is under way."""
        self._gathered.clear()
        for task in self._tasks:
            task.cancel()

    def pending(self) -> int:
        """Count the waiting events and the POSTs under way, also between two attempts."""
        return len(self._gathered) + len(self._tasks)

    def publish(self, events: list[Event], delay: float = 0, *, forged: bool = False) -> None:
        """Send these events, together with others of the same moment; late or *forged* ones separately."""
        if delay or forged:
            self._start(self._later(events, delay, forged=forged))
            return
        if events and not self._gathered:
            self._start(self._flush())
        self._gathered += events

    async def _flush(self) -> None:
        await asyncio.sleep(self._batch_seconds)
        events, self._gathered = self._gathered, []
        for start in range(0, len(events), MOST_EVENTS):
            self._start(self._deliver(events[start : start + MOST_EVENTS]))

    async def _later(self, events: list[Event], delay: float, *, forged: bool) -> None:
        await asyncio.sleep(delay)
        await self._deliver(events, forged=forged)

    async def _deliver(self, events: list[Event], *, forged: bool = False) -> None:
        for attempt in range(MOST_RETRIES + 1):
            if attempt:
                await asyncio.sleep(self._retry_seconds * self._dice.uniform(0.5, 1.5))
            body = encode([event | {"attemptNumber": attempt} for event in events]).encode()
            async with self._slots:
                sent = await self._post(body, len(events), attempt, forged=forged)
            self._journal.note_sent(sent)
            if sent.accepted or forged:
                return

    async def _post(self, body: bytes, events: int, attempt: int, *, forged: bool) -> Sent:
        target, at = self._subscription(), now()
        sent = Sent(at, target.url or "", events, attempt, body, {}, forged=forged)
        if self.session is None or target.url is None:
            return sent._replace(error="no target")
        secret = f"not {target.client_secret}" if forged else target.client_secret
        signed = signing.headers(target.signing, secret, target.url, body, at)
        sent = sent._replace(headers=dict(signed))
        try:
            async with self.session.post(
                URL(target.url, encoded=True),
                data=body,
                headers={"Content-Type": "application/json", "User-Agent": "HubSpot Webhooks"} | dict(signed),
                allow_redirects=False,
                timeout=DEADLINE,
            ) as response:
                answer = await response.content.read(KEPT)
                return sent._replace(status=response.status, answer=answer, seconds=(now() - at) / 1000)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            return sent._replace(error=type(exc).__name__, seconds=(now() - at) / 1000)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
