"""The CRM: events at a steady rate, most about new people, some about known people, some sent twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp

PATIENCE = aiohttp.ClientTimeout(total=20)
AT_ONCE = 400  # requests in flight; a service that is slower than the rate is not flooded
REMEMBERED = 2000  # people and events that may come again
AGAIN, KNOWN, SILENT = 0.02, 0.08, 0.05  # shares: the same event; another one for a person; Nyne never calls back
Json = dict[str, Any]


def events(seed: int, rate: float) -> Iterator[tuple[float, Json]]:
    """Yield events for ever, each with its time in seconds from the beginning; *rate* a second, at random distances."""
    dice = random.Random(f"soak {seed}")
    sent: deque[Json] = deque(maxlen=REMEMBERED)
    at, number = 0.0, 0
    while True:
        at += dice.expovariate(rate)
        number += 1
        chance = dice.random()
        if sent and chance < AGAIN:
            yield at, dice.choice(sent)
            continue
        person = dice.choice(sent) if sent and chance < AGAIN + KNOWN else _somebody(seed, number, dice)
        event = person | {"event_id": f"soak-{seed}-{number}", "record_id": f"crm-{seed}-{number}"}
        sent.append(event)
        yield at, event


def _somebody(seed: int, number: int, dice: random.Random) -> Json:
    word = "lm-none--ny-silent--" if dice.random() < SILENT else ""
    name = f"{word}s{seed}-{number}"
    return {
        "profile_url": f"https://www.linkedin.com/in/{name}",
        "work_email": f"s{seed}-{number}@soak.test",
        "name": f"Person {number}",
        "company": "Soak",
    }


class Crm:
    """A sender of events: each at its time, to one receiver after the other."""

    def __init__(self, ports: Sequence[int], token: str) -> None:
        """Start without any event."""
        self.accepted = 0  # lookups
        self.duplicates = 0
        self.answers: Counter[str] = Counter()  # by status, or by the error in its place
        self._urls = [f"http://127.0.0.1:{port}/events/generic" for port in ports]
        self._headers = {"Authorization": f"Bearer {token}"}
        self._lines = asyncio.Semaphore(AT_ONCE)

    async def run(self, stream: Iterator[tuple[float, Json]], *, seconds: float) -> None:
        """Send events for *seconds*, and wait until all are answered."""
        clock = asyncio.get_running_loop()
        begun = clock.time()
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(timeout=PATIENCE, connector=connector, headers=self._headers) as session,
            asyncio.TaskGroup() as group,
        ):
            for number, (at, event) in enumerate(stream):
                if at >= seconds or clock.time() - begun >= seconds:
                    break
                await asyncio.sleep(begun + at - clock.time())
                await self._lines.acquire()
                group.create_task(self._send(session, self._urls[number % len(self._urls)], event))

    async def _send(self, session: aiohttp.ClientSession, url: str, event: Json) -> None:
        try:
            async with session.post(url, json=event) as response:
                answer = await response.json()
                self.answers[str(response.status)] += 1
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
            return
        finally:
            self._lines.release()
        for lookup in answer.get("lookups", ()):
            self.duplicates += lookup["duplicate"]
            self.accepted += not lookup["duplicate"]
