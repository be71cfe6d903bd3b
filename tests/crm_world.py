"""A submitter's work for HubSpot, on request, against a pretend HubSpot on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.crms.base import CrmContact
from sandbox.hubspot.account import HubSpot, HubSpotSettings
from sandbox.hubspot.behaviours import row
from sandbox.hubspot.records import HUMAN
from sandbox.server import running
from store.connections import Connections
from store.sweeps import name
from submitter.crm_callers import CrmCallers
from submitter.crm_calls import CrmCaller
from submitter.crm_duties import CrmDuties
from submitter.readings import Reader
from submitter.reconciler import BATCH, QUEUED_AT_MOST
from submitter.write_back import WriteBack
from tests.at_work import AtWork
from tests.conftest import Start

TOKEN = "hs_sandbox"
MOBILE = "+15551234567"  # as the fake provider gives it
THEIRS = "+15557654321"  # a number that a person writes


class CrmWorld:
    """HubSpot's account, and the parts of a submitter and of a reconciler that work for it."""

    def __init__(self, account: HubSpot, at_work: AtWork, callers: CrmCallers, caller: CrmCaller) -> None:
        self.account = account
        self.at_work = at_work
        self.pool = at_work.pool
        self.wakes = 0
        self.caller = caller
        self.callers = callers
        connections = Connections(self.pool, at_work.process.settings)
        self.reader = Reader(caller, at_work.process, connections, self.wake)
        self.write_back = WriteBack(caller, at_work.process)
        self.duties = CrmDuties(
            self.pool, callers, at_work.process.installation, self.wake, batch=BATCH, at_most=QUEUED_AT_MOST
        )

    def wake(self) -> None:
        """Count the hints."""
        self.wakes += 1

    # The account's people.

    def create(self, *words: str, **properties: str) -> str:
        """Create a contact as a person; *words* say what HubSpot does with it. Return its id."""
        given = {"email": f"jane{len(self.account.portal.contacts)}@acme.co", "firstname": "Jane", "lastname": "Doe"}
        contact = self.account.portal.create(given | properties, HUMAN)
        self.account.conduct.words[contact.id] = tuple(map(row, words))
        return str(contact.id)

    def edit(self, record_id: str, **properties: str) -> None:
        """Edit a contact as a person; an empty text clears."""
        contact = self.account.portal.find(int(record_id))
        assert contact is not None
        self.account.portal.edit(contact, properties, HUMAN)

    def age(self, record_id: str, *, seconds: float) -> None:
        """Let everything about the contact have happened so long ago."""
        contact = self.account.portal.find(int(record_id))
        assert contact is not None
        passed = int(seconds * 1000)
        contact.created_at -= passed
        for field, edits in contact.edits.items():
            contact.edits[field] = [edit._replace(at=edit.at - passed) for edit in edits]

    def delete(self, record_id: str) -> None:
        """Delete a contact as a person."""
        contact = self.account.portal.find(int(record_id))
        assert contact is not None
        self.account.portal.archive(contact, HUMAN)

    def merge(self, primary: str, other: str) -> str:
        """Merge two contacts as a person; return the new one's id."""
        one, two = (self.account.portal.find(int(id)) for id in (primary, other))
        assert one is not None
        assert two is not None
        return str(self.account.portal.merge(one, two, HUMAN).id)

    def value(self, record_id: str, name: str = "mobilephone") -> str | None:
        """Return what stands in a field of the contact."""
        contact = self.account.portal.find(int(record_id))
        assert contact is not None
        return contact.value(name)

    def written_by_us(self, name: str = "mobilephone") -> list[str]:
        """Return the values that the API wrote into this field, in order."""
        return [
            one.new
            for one in self.account.portal.writes
            if one.name == name and one.author.source_type == "INTEGRATION"
        ]

    def requests(self, method: str, part: str) -> int:
        """Count the requests with this method whose address has this part."""
        return sum(one.method == method and part in one.target for one in self.account.journal.received)

    # Our side.

    async def name(self, *record_ids: str) -> None:
        """Name these contacts, as an event or a sweep does."""
        await name(self.pool, "hubspot", "sweep", dict.fromkeys(record_ids))

    async def read(self) -> int:
        """Claim readings once, and wait until their ends are written; return how many were claimed."""
        batch = await self.reader.loop.claim_once()
        await self.reader.loop.settled()
        return len(batch.items)

    async def deliver(self) -> int:
        """Claim deliveries once, and wait until their ends are written; return how many were claimed."""
        batch = await self.write_back.loop.claim_once()
        await self.write_back.loop.settled()
        return len(batch.items)

    async def find_number(self, record_id: str) -> UUID:
        """Read the contact, and let LeadMagic find its number; return the lookup."""
        await self.name(record_id)
        await self.read()
        await self.at_work.ask("leadmagic")
        lookup_id = (await self.reading(record_id))["lookup_id"]
        assert isinstance(lookup_id, UUID)
        return lookup_id

    async def shown(self, record_id: str) -> CrmContact:
        """Return the contact as our side reads it."""
        read = await self.caller.read(record_id)
        assert isinstance(read, CrmContact)
        return read

    async def reading(self, record_id: str) -> asyncpg.Record:
        """Return the reading of this contact."""
        found: asyncpg.Record | None = await self.pool.fetchrow(
            "SELECT *, state::text AS status FROM readings WHERE record_id = $1", record_id
        )
        assert found is not None
        return found

    async def deliveries(self) -> list[asyncpg.Record]:
        """Return all deliveries, in order."""
        rows: list[asyncpg.Record] = await self.pool.fetch(
            "SELECT *, state::text AS status FROM deliveries ORDER BY id"
        )
        return rows

    async def delivery(self) -> tuple[str, str | None]:
        """Return state and reason of the only delivery."""
        (one,) = await self.deliveries()
        return one["status"], one["reason"]

    async def due_now(self) -> None:
        """Make everything queued due, and end HubSpot's rest."""
        await self.pool.execute("UPDATE readings SET due_at = now() WHERE state = 'queued'")
        await self.pool.execute("UPDATE deliveries SET due_at = now() WHERE state = 'queued'")
        await self.pool.execute("UPDATE providers SET rest_until = NULL, open_until = NULL")

    async def lookups(self) -> int:
        """Count the lookups."""
        count: int = await self.pool.fetchval("SELECT count(*) FROM lookups")
        return count


@asynccontextmanager
async def crm_world(start: Start, account: HubSpot | None = None, **settings: Any) -> AsyncIterator[CrmWorld]:
    """Hold a process at work for HubSpot inside the block."""
    account = account or HubSpot(HubSpotSettings(per_ten_seconds=0, searches_per_second=0, index_lag=(0, 0)))
    given = {"hubspot_access_token": TOKEN, **settings}
    async with running(account) as url, start(hubspot_base_url=url, **given) as at_work:
        connections = Connections(at_work.pool, at_work.process.settings)
        callers = CrmCallers(at_work.pool, at_work.process.settings, connections)
        caller = await callers.of("hubspot")
        assert caller is not None
        try:
            yield CrmWorld(account, at_work, callers, caller)
        finally:
            await callers.close()
