"""A pretend HubSpot on a socket, and the sweep and walk of a reconciler that do one thing at a time on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enrichment.settings import Settings
from sandbox.hubspot.account import HubSpot, HubSpotSettings
from sandbox.hubspot.records import HUMAN, Contact
from sandbox.server import running
from store.connections import Connections, connect
from submitter.crm_callers import CrmCallers
from submitter.sweeps import CrmWork, Sweep
from submitter.walks import Walk

if TYPE_CHECKING:
    from tests.order import Pool

TOKEN = "hs_sandbox"
QUICK: dict[str, Any] = {"index_lag": (0, 0), "per_ten_seconds": 0, "searches_per_second": 0, "batch_seconds": 0}


@dataclass
class Sweeping:
    """One reconciler's sweep and walk."""

    hubspot: HubSpot
    url: str
    pool: Pool
    callers: CrmCallers
    wakes: list[None] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Build them."""
        work = CrmWork("hubspot", 60, self.pool, self.callers, self.stop, lambda: self.wakes.append(None))
        self.sweeper, self.walker = Sweep(work), Walk(work)

    def create(self, *, hours_ago: float = 0, **values: str) -> str:
        """Let a person create a contact, so many hours ago; return its id."""
        contact = self.hubspot.portal.create({"firstname": "Jane", **values}, HUMAN)
        self.age(contact, hours=hours_ago)
        return str(contact.id)

    def age(self, contact: Contact, *, hours: float = 0) -> None:
        """Let the contact's last change be a little older: a window ends before the millisecond that it begins in."""
        past = round(hours * 3_600_000) + 5
        contact.created_at -= past
        contact.modified_at -= past
        self.hubspot.portal.index(contact)

    def find(self, record_id: str) -> Contact:
        """Return the contact as HubSpot has it."""
        return self.hubspot.portal.contacts[int(record_id)]

    async def sweep(self) -> int:
        """Sweep now, due or not."""
        await self.pool.execute("UPDATE connections SET sweep_due_at = now() - interval '1 ms'")
        return await self.sweeper.sweep()

    async def walk(self) -> None:
        """Walk from the beginning to the end, and end."""
        await self.begin_walk()
        while await self.pool.fetchval("SELECT walk_began IS NOT NULL FROM connections"):
            await self.walk_a_page()

    async def begin_walk(self) -> None:
        """Walk the first page now, due or not."""
        await self.walk_a_page()

    async def walk_a_page(self) -> None:
        """Walk one page now, due or not."""
        await self.pool.execute("UPDATE connections SET walk_due_at = now() - interval '1 ms'")
        await self.walker.walk()

    async def named(self) -> dict[str, str]:
        """Return what named each queued contact."""
        rows = await self.pool.fetch("SELECT record_id, named_by FROM readings WHERE state = 'queued'")
        return {row["record_id"]: row["named_by"] for row in rows}

    async def end_readings(self, reason: str = "older than the connection") -> None:
        """Let every contact that is named have been read, and skipped."""
        await self.pool.execute(
            """
            UPDATE readings SET state = 'skipped', ended_at = now(), reason = $1, lease_expires_at = NULL
             WHERE state IN ('queued', 'reading')
            """,
            reason,
        )

    def asked(self, path: str) -> list[Any]:
        """Return the requests to HubSpot that went to this path."""
        return [one for one in self.hubspot.journal.received if path in one.target]


@asynccontextmanager
async def sweeping(pool: Pool, settings: Settings, hubspot: HubSpot, url: str) -> AsyncIterator[Sweeping]:
    """Hold a reconciler's sweep and walk open inside the block; it was connected an hour ago."""
    await connect(pool, "hubspot", account="62515", learned={})
    await pool.execute(
        "UPDATE connections SET connected_at = now() - interval '1 h', swept_to = now() - interval '1 h'"
    )
    callers = CrmCallers(pool, settings, Connections(pool, settings))
    try:
        yield Sweeping(hubspot, url, pool, callers)
    finally:
        await callers.close()


@asynccontextmanager
async def playing(**overrides: Any) -> AsyncIterator[tuple[HubSpot, str]]:
    """Play HubSpot inside the block: without limits or lag, unless *overrides* say so. Yield it and its address."""
    hubspot = HubSpot(HubSpotSettings(access_token=TOKEN, **QUICK | overrides))
    async with running(hubspot) as url:
        yield hubspot, url
