"""A pretend HubSpot on a socket of its own, a client of it and of its admin, and an inbox for its webhooks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from sandbox.hubspot.account import OBJECTS, HubSpot, HubSpotSettings
from sandbox.server import running
from tests.sandbox_server import DEADLINE, Admin, visiting

BEARER = {"Authorization": "Bearer hs_sandbox"}
UNLIMITED = HubSpotSettings(
    per_ten_seconds=0, searches_per_second=0, index_lag=(0, 0), batch_seconds=0, retry_seconds=0
)


class Client(Admin):
    """What our side asks of HubSpot, and what the account's people do."""

    async def ask(self, method: str, path: str, document: Any = None, **more: Any) -> tuple[int, Any]:
        """Return the status and the JSON of an answer; None where there is no body."""
        status, body, _ = await self.send(method, path, document, **more)
        return status, json.loads(body) if body else None

    async def create(self, **properties: str) -> str:
        """Create a contact as a person; return its id."""
        answer = await self.post("contacts", {"properties": properties})
        id: str = answer["contacts"][0]["id"]
        return id

    async def patch(self, id: str, **properties: str) -> tuple[int, Any]:
        """Write onto a contact as our side does."""
        return await self.ask("PATCH", f"{OBJECTS}/{id}", {"properties": properties})

    async def read(self, id: str, query: str = "properties=mobilephone") -> tuple[int, Any]:
        """Read one contact as our side does."""
        return await self.ask("GET", f"{OBJECTS}/{id}?{query}")

    async def search(self, *filters: dict[str, Any], **more: Any) -> tuple[int, Any]:
        """Search with one group of filters."""
        groups = [{"filters": list(filters)}] if filters else []
        return await self.ask("POST", f"{OBJECTS}/search", {"filterGroups": groups} | more)

    async def edit(self, id: str, **properties: str) -> None:
        """Edit a contact as a person."""
        status, _ = await self.ask("PATCH", f"/sandbox/contacts/{id}", {"properties": properties})
        assert status == 200

    async def told(self) -> Any:
        """Wait until no webhook waits or is under way; return the counts."""
        async with asyncio.timeout(DEADLINE):
            while (stats := await self.get("stats"))["webhooks_pending"]:
                pass
        return stats


@contextlib.asynccontextmanager
async def account(settings: HubSpotSettings = UNLIMITED) -> AsyncIterator[Client]:
    """Serve an account inside the block; yield a client of it."""
    async with running(HubSpot(settings)) as url, visiting(url, BEARER) as admin:
        yield Client(admin.session, admin.url, admin.headers)


class Delivery(NamedTuple):
    """One POST of webhooks."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the body."""
        events: list[dict[str, Any]] = json.loads(self.body)
        return events


class Inbox:
    """A receiver of webhooks; it answers with the given statuses, then with 200; the first *held* ones never."""

    def __init__(self) -> None:
        """Start empty."""
        self.url = ""
        self.statuses: list[int] = []
        self.held = 0
        self.deliveries: list[Delivery] = []

    async def receive(self, request: web.Request) -> web.Response:
        """Keep one POST."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.deliveries.append(Delivery(request.raw_path, headers, await request.read()))
        if len(self.deliveries) <= self.held:
            await asyncio.Event().wait()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200, text="noted")

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events of these types, in the order in which they came."""
        events = (event for delivery in self.deliveries for event in delivery.events)
        return [event for event in events if not kinds or event["subscriptionType"] in kinds]


@contextlib.asynccontextmanager
async def inbox(client: Client, **subscription: Any) -> AsyncIterator[Inbox]:
    """Serve an inbox inside the block, and subscribe it."""
    box = Inbox()
    app = web.Application()
    app.router.add_post("/{tail:.*}", box.receive)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    box.url = f"http://{host}:{port}/events/hubspot"
    await client.post("subscription", {"url": box.url} | subscription)
    try:
        yield box
    finally:
        await runner.cleanup()


def kinds(events: Iterable[dict[str, Any]]) -> list[str]:
    """Return the types of events."""
    return [event["subscriptionType"] for event in events]


async def breaks_off(client: Client, method: str, path: str, document: Any = None) -> bool:
    """Tell whether the connection ends without a whole answer; not for a GET, which aiohttp asks again by itself."""
    try:
        await client.send(method, path, document)
    except aiohttp.ClientError:
        return True
    return False


async def the_next_millisecond() -> None:
    """Wait until HubSpot's clock, which has no finer ones, shows another."""
    shown = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == shown:
        await asyncio.sleep(0)
