"""The CRM: it sends every event until a 2xx confirms it, and logs every answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import aiohttp

from chaos.crowd import Event

PATIENCE = aiohttp.ClientTimeout(total=5, connect=3)  # seconds for one try; HubSpot waits as long
AT_ONCE = 400  # requests in flight
# Seconds between two tries: twice as long each time, with half of it left to chance. A CRM takes longer.
FIRST_PAUSE, LONGEST_PAUSE = 0.4, 5.0


@dataclass(slots=True)
class Sent:
    """One event and every answer to it."""

    event: Event
    answers: list[tuple[str, ...]] = field(default_factory=list)  # the lookups named in each 2xx
    taken_at: float | None = None  # the first 2xx
    tries: int = 0


class Crm:
    """A sender of events to *urls* in turn: each event at its time, however long the others take."""

    def __init__(self, urls: Sequence[str], token: str, seed: int) -> None:
        """Start without any event."""
        self.log: dict[str, Sent] = {}
        self.answers: Counter[str] = Counter()  # by status, or by the error if there was none
        self.strange: list[str] = []  # answers that a CRM cannot act on
        self.acknowledged: list[tuple[str, float, float]] = []  # every 2xx: (url, asked at, answered at)
        self._turns = itertools.cycle(urls)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._dice = random.Random(f"crm {seed}")
        self._lines = asyncio.Semaphore(AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()
        self._taken = 0

    @property
    def taken(self) -> int:
        """Count the lookups that were promised."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Count the events that are being sent."""
        return len(self._under_way)

    async def run(self, events: Iterable[Event], *, seconds: float, lookups: int | None) -> None:
        """Send events for *seconds*, or until *lookups* were asked for."""
        begun = time.monotonic()
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(timeout=PATIENCE, connector=connector)
        asked = 0
        for event in events:
            if event.at >= seconds or (lookups is not None and asked >= lookups):
                break
            if event.id not in self.log:
                asked += len(event.wishes)
            await asyncio.sleep(max(0.0, begun + event.at - time.monotonic()))
            self.send(event)

    def send(self, event: Event) -> None:
        """Begin to send an event."""
        sent = self.log.setdefault(event.id, Sent(event))
        task = asyncio.create_task(self._deliver(sent))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def finish(self, patience: float) -> None:
        """Wait until every event was taken, at most *patience* seconds."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=patience)

    async def close(self) -> None:
        """Cancel what is being sent, and close the session."""
        for task in self._under_way:
            task.cancel()
        await self._session.close()

    async def _deliver(self, sent: Sent) -> None:
        body = json.dumps(sent.event.body()).encode()
        pause = FIRST_PAUSE
        while True:
            async with self._lines:
                if await self._try(sent, body):
                    return
            await asyncio.sleep(pause * self._dice.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _try(self, sent: Sent, body: bytes) -> bool:
        """Send the event once; return whether it was taken."""
        sent.tries += 1
        url, begun = next(self._turns), time.time()
        try:
            async with self._session.post(f"{url}/events/generic", data=body, headers=self._headers) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
            return False
        self.answers[str(response.status)] += 1
        if not 200 <= response.status < 300:
            if response.status != 503:
                self.strange.append(f"{response.status} for {sent.event.id}: {answer[:200]!r}")
            return False
        self._note(sent, answer)
        self.acknowledged.append((url, begun, time.time()))
        return True

    def _note(self, sent: Sent, answer: bytes) -> None:
        sent.answers.append(tuple(lookup["id"] for lookup in json.loads(answer)["lookups"]))
        if sent.taken_at is None:
            sent.taken_at = time.time()
            self._taken += len(sent.event.wishes)
