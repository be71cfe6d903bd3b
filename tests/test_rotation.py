"""Secrets are replaced while events and callbacks arrive, by a rolling restart of two receivers: nothing is lost.

One rotation serves all tests here: first the new secrets are accepted beside the old ones, then the senders change,
then the old ones are removed. The senders do as CRMs do: they send again after a 5xx or a broken connection, never
after a 4xx.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from enrichment.tokens import callback_url
from store.database import close_pool, open_pool
from tests.called_back import found
from tests.crm_posts import PATH as HUBSPOT
from tests.crm_posts import PUBLIC_URL, signed
from tests.crm_posts import event as hubspot_event
from tests.databases import Databases
from tests.factories import job
from tests.test_auth import signature_headers
from tests.test_health import PATIENCE, Receiver, ended, receiving

OLD, NEW = 0, 1
TOKENS = ("token-of-last-year", "token-of-this-year")
WEBHOOK = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
CLIENT = ("client-secret-of-last-year", "client-secret-of-this-year")
KEYS = ("callback-key-of-last-year", "callback-key-of-this-year")
BETWEEN = 0.01  # seconds between two events of a sender
JOBS = 12  # questions that were asked under the old key, and are answered during and after the rotation

Request = tuple[str, bytes, dict[str, str]]


def settings_of(*ages: int) -> dict[str, str]:
    """The settings in which the secrets of these ages are valid, the first ones first."""
    lists = {
        "API_TOKENS": [f"crm:events:{TOKENS[age]}" for age in ages],
        "EVENTS_SIGNING_SECRET": [WEBHOOK[age] for age in ages],
        "HUBSPOT_CLIENT_SECRET": [CLIENT[age] for age in ages],
    }
    return {name: ", ".join(values) for name, values in lists.items()} | {"PUBLIC_URL": PUBLIC_URL}


def keys_of(*ages: int) -> dict[str, str]:
    """CALLBACK_KEYS of these ages; the first signs."""
    return {"CALLBACK_KEYS": ", ".join(KEYS[age] for age in ages)}


@dataclass
class Rotation:
    """What was sent, and what became of it."""

    receivers: list[str] = field(default_factory=list)  # addresses; a load balancer knows who is there
    age: int = OLD
    is_over: bool = False
    sent: dict[str, set[str]] = field(default_factory=dict)  # ids acknowledged, by sender
    statuses: dict[str, Counter[tuple[int, int]]] = field(default_factory=dict)  # (age of the secret, status) by sender
    stored: dict[str, set[str]] = field(default_factory=dict)
    verdicts: list[str] = field(default_factory=list)
    afterwards: dict[str, list[int]] = field(default_factory=dict)  # statuses of old and new secrets at the end

    async def deliver(self, session: aiohttp.ClientSession, request: Request) -> int:
        """Send a request to one receiver after the other, until one answers with less than a 500."""
        path, body, headers = request
        async with asyncio.timeout(PATIENCE):
            for number in itertools.count():
                url = self.receivers[number % len(self.receivers)] if self.receivers else ""
                try:
                    async with session.post(
                        f"{url}{path}", data=body, headers={"content-type": "application/json"} | headers
                    ) as answer:
                        if answer.status < 500:
                            return answer.status
                except aiohttp.ClientError:
                    await asyncio.sleep(BETWEEN)
        raise AssertionError

    async def send(self, session: aiohttp.ClientSession, name: str, make: Callable[[str, int], Request]) -> None:
        """Send numbered events until it is over, each until it is acknowledged or refused."""
        sent, statuses = self.sent.setdefault(name, set()), self.statuses.setdefault(name, Counter())
        for number in itertools.takewhile(lambda _: not self.is_over, itertools.count(1)):
            id, age = f"{name}-{number}", self.age
            status = await self.deliver(session, make(id, age))
            statuses[age, status] += 1
            if status == 202:
                sent.add(id)
            await asyncio.sleep(BETWEEN)

    def passed(self, name: str) -> None:
        """Check that each event of a sender was acknowledged, under the old secret and the new one, and is stored."""
        assert set(self.statuses[name]) == {(OLD, 202), (NEW, 202)}
        assert min(self.statuses[name].values()) > 10
        assert self.sent[name] == self.stored[name]


def by_token(id: str, age: int) -> Request:
    """An event with a token."""
    return "/events/generic", _body(id), {"authorization": f"Bearer {TOKENS[age]}"}


def by_webhook(id: str, age: int) -> Request:
    """An event signed as Standard Webhooks, by the reference implementation."""

    body, at = _body(id), datetime.now(UTC)
    signature = Webhook(WEBHOOK[age]).sign(id, at, body.decode())
    return "/events/generic", body, signature_headers(id=id, timestamp=str(int(at.timestamp())), signature=signature)


def by_hubspot(id: str, age: int) -> Request:
    """HubSpot's event, signed with its app's secret."""
    body = json.dumps([hubspot_event(int(id.rpartition("-")[2]))]).encode()
    return HUBSPOT, body, signed(body, secret=CLIENT[age])


def _body(id: str) -> bytes:
    return json.dumps({"event_id": id, "record_id": id, "name": "Jane Doe", "work_email": f"{id}@acme.co"}).encode()


SENDERS = {"token": by_token, "webhook": by_webhook, "hubspot": by_hubspot}


class Pair:
    """Two receivers on one database."""

    def __init__(self, rotation: Rotation, url: str, stack: AsyncExitStack) -> None:
        self._rotation = rotation
        self._url = url
        self._stack = stack
        self._running: list[Receiver] = []

    async def start(self, settings: Mapping[str, str]) -> None:
        """Start two, and tell the load balancer."""
        contexts = [receiving(self._url, **settings) for _ in range(2)]
        for receiver in await asyncio.gather(*map(self._stack.enter_async_context, contexts)):
            self._running.append(receiver)
            self._rotation.receivers.append(receiver.url)

    async def roll(self, settings: Mapping[str, str]) -> None:
        """Replace both, one after the other. The load balancer learns of each end only when requests fail."""
        leaving = list(self._running)
        await self.start(settings)
        for receiver in leaving:
            os.kill(receiver.process.pid, signal.SIGINT)
            assert await ended(receiver.process) == 0
            self._rotation.receivers.remove(receiver.url)
            self._running.remove(receiver)


async def rotate(url: str) -> Rotation:
    """Rotate all secrets while three senders go on and questions asked under the old key are answered."""
    rotation = Rotation()
    async with _pool(url) as pool, AsyncExitStack() as stack:
        asked = [await job(pool, "awaiting") for _ in range(JOBS)]
        session = await stack.enter_async_context(aiohttp.ClientSession())
        pair = Pair(rotation, url, stack)
        await pair.start(settings_of(OLD) | keys_of(OLD))
        senders = [asyncio.create_task(rotation.send(session, name, make)) for name, make in SENDERS.items()]
        await _more(rotation, 20)
        answered = [await _call_back(rotation, session, row, OLD) for row in asked[:4]]
        await pair.roll(settings_of(OLD, NEW) | keys_of(NEW, OLD))
        rotation.age = NEW
        answered += [await _call_back(rotation, session, row, OLD) for row in asked[4:8]]
        await _more(rotation, 20)
        await pair.roll(settings_of(NEW) | keys_of(NEW, OLD))
        answered += [await _call_back(rotation, session, row, OLD) for row in asked[8:10]]
        answered += [await _call_back(rotation, session, row, NEW) for row in asked[10:]]
        await _more(rotation, 20)
        rotation.is_over = True
        await asyncio.gather(*senders)
        assert set(answered) == {200}
        for name, make in SENDERS.items():
            rotation.afterwards[name] = [await rotation.deliver(session, make("last-1", age)) for age in (OLD, NEW)]
        await _look(rotation, pool)
    return rotation


async def _more(rotation: Rotation, count: int) -> None:
    """Wait until each sender has sent so many more."""
    goal = {name: sum(rotation.statuses.get(name, Counter()).values()) + count for name in SENDERS}
    async with asyncio.timeout(PATIENCE):
        while any(sum(rotation.statuses.get(name, Counter()).values()) < goal[name] for name in SENDERS):
            await asyncio.sleep(BETWEEN)


async def _call_back(rotation: Rotation, session: aiohttp.ClientSession, row: asyncpg.Record, age: int) -> int:
    """Answer a question at the address that was made with the key of this age."""
    id: UUID = row["id"]
    path = callback_url("", [SecretStr(KEYS[age])], "nyne", id)
    return await rotation.deliver(session, (path, json.dumps(found(row["request_id"])).encode(), {}))


async def _look(rotation: Rotation, pool: asyncpg.Pool[Any]) -> None:
    ids = {row["record_id"] for row in await pool.fetch("SELECT record_id FROM lookups WHERE record_id IS NOT NULL")}
    for name in ("token", "webhook"):
        rotation.stored[name] = {id for id in ids if id.startswith(f"{name}-")}
    named = {f"hubspot-{row['record_id']}" for row in await pool.fetch("SELECT record_id FROM readings")}
    rotation.stored["hubspot"] = named
    rotation.verdicts = [row["verdict"] for row in await pool.fetch("SELECT verdict::text FROM callbacks")]


@asynccontextmanager
async def _pool(url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    pool = await open_pool(url, name="tests", size=2)
    try:
        yield pool
    finally:
        await close_pool(pool)


@pytest.fixture(scope="module")
def rotation(databases: Databases) -> Iterator[Rotation]:
    """One rotation of everything."""
    with databases.for_a_module() as url:
        yield asyncio.run(rotate(url))


def test_api_tokens_are_rotated_without_a_lost_event(rotation: Rotation) -> None:
    """Both are valid, then the old one is not."""
    rotation.passed("token")
    assert rotation.afterwards["token"] == [401, 202]


def test_signing_secrets_are_rotated_without_a_lost_event(rotation: Rotation) -> None:
    """The same for EVENTS_SIGNING_SECRET."""
    rotation.passed("webhook")
    assert rotation.afterwards["webhook"] == [401, 202]


def test_client_secrets_are_rotated_without_a_lost_event(rotation: Rotation) -> None:
    """The same for HUBSPOT_CLIENT_SECRET."""
    rotation.passed("hubspot")
    assert rotation.afterwards["hubspot"] == [401, 202]


def test_callback_keys_are_rotated_without_a_lost_answer(rotation: Rotation) -> None:
    """What was asked under the old key is answered during and after the rotation, and applied."""
    assert rotation.verdicts == ["applied"] * JOBS
