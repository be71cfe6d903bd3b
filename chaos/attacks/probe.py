"""Genuine clients: steady events or callbacks, each timed, beside a look at the receiver's memory."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from pydantic import SecretStr

from chaos.attacks.ground import CALLBACK_KEY, TOKEN, Ground
from enrichment.tokens import callback_url
from rig.ports import HOST

PATIENCE = 30.0  # seconds for one answer
Request = Callable[[int], bytes]


@dataclass(slots=True)
class Felt:
    """What genuine clients felt: milliseconds of each answer, and those that were not 2xx."""

    taken: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    most_memory: float = 0.0

    def at(self, part: float) -> float:
        """Return the milliseconds within which *part* of the answers came."""
        return sorted(self.taken)[min(len(self.taken) - 1, int(len(self.taken) * part))] if self.taken else float("nan")

    def __str__(self) -> str:
        wrong = f", {len(self.wrong)} wrong ({self.wrong[0]})" if self.wrong else ""
        return f"p50 {self.at(0.5):.1f}, p99 {self.at(0.99):.1f} ms{wrong}"


def post(path: str, body: object, *headers: str) -> bytes:
    """Return the bytes of a POST."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


def event(number: int) -> bytes:
    """Return a genuine event about a new person."""
    contact = {"event_id": f"probe-{number}-{uuid4()}", "work_email": f"jane.{number}@acme.co", "providers": ["nyne"]}
    return post("/events/generic", contact, f"Authorization: Bearer {TOKEN}")


def callback(jobs: Sequence[UUID]) -> Request:
    """Return a function of the callbacks that end these jobs, one after the other."""

    def written(number: int) -> bytes:
        job = jobs[number % len(jobs)]
        body = {"status": "completed", "result": {"mobile": "+14155552671"}}
        return post(callback_url("", [SecretStr(CALLBACK_KEY)], "nyne", job), body)

    return written


async def call(port: int, request: bytes, *, within: float = PATIENCE) -> int:
    """Send *request* on a new connection; return the status of the answer, 0 if there is none."""
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(request)
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return 0
    return int(line.split(b" ")[1]) if line.startswith(b"HTTP/1.1 ") else 0


async def probing(ground: Ground, request: Request, rate: float, until: asyncio.Event, first: int = 0) -> Felt:
    """Send *rate* requests a second until the event is set, each at its time, however long the others take."""
    felt, calls = Felt(), set[asyncio.Task[None]]()
    began = time.monotonic()

    async def one(number: int) -> None:
        sent = time.perf_counter()
        status = await call(ground.port, request(number))
        felt.taken.append((time.perf_counter() - sent) * 1000)
        if not 200 <= status < 300:
            felt.wrong.append(str(status))

    for number in _ticks(first):
        felt.most_memory = max(felt.most_memory, ground.memory)
        calls.add(asyncio.create_task(one(number)))
        if await _passed(until, began + (number - first + 1) / rate - time.monotonic()):
            break
    await asyncio.gather(*calls)
    felt.most_memory = max(felt.most_memory, ground.memory)
    return felt


async def calm(ground: Ground, request: Request, rate: float, seconds: float, first: int = 0) -> Felt:
    """Send requests for some seconds, while nothing else happens."""
    until = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, until.set)
    return await probing(ground, request, rate, until, first)


async def during(
    ground: Ground, request: Request, rate: float, attack: Awaitable[str], first: int = 0
) -> tuple[Felt, str]:
    """Send requests while *attack* lasts; return what they felt, and what the attack said."""
    until = asyncio.Event()
    probe = asyncio.create_task(probing(ground, request, rate, until, first))
    try:
        said = await attack
    finally:
        until.set()
    return await probe, said


def _ticks(first: int) -> Iterator[int]:
    number = first
    while True:
        yield number
        number += 1


async def _passed(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    return event.is_set()
