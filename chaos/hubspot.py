"""The pretend HubSpot: a client that acts as the account's people, sets its faults and reads its books."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from chaos.vendors import Json, Vendor
from rig.settings import HUBSPOT_TOKEN

CONTACTS_OF_A_PAGE = 1000


@dataclass(frozen=True, slots=True)
class CrmBooks:
    """The account's own records; *webhooks* are its last 10,000 POSTs."""

    contacts: list[Json] = field(default_factory=list)  # the existing ones, with their histories
    archived: list[Json] = field(default_factory=list)
    writes: list[Json] = field(default_factory=list)  # every value that was written, in the order of time
    webhooks: list[Json] = field(default_factory=list)
    stats: Json = field(default_factory=dict)


class HubSpot(Vendor):
    """A client of the account's admin, past every proxy."""

    async def create(self, properties: Mapping[str, str]) -> str:
        """Create a contact as a person; return its id."""
        answer = await self._send("POST", "contacts", {"properties": dict(properties)})
        return str(answer["contacts"][0]["id"])

    async def edit(self, id: str, properties: Mapping[str, str]) -> None:
        """Set values as a person."""
        await self._send("PATCH", f"contacts/{id}", {"properties": dict(properties)})

    async def delete(self, id: str) -> None:
        """Delete a contact."""
        await self._send("DELETE", f"contacts/{id}")

    async def erase(self, id: str) -> None:
        """Erase a contact for good."""
        await self._send("POST", f"contacts/{id}/erase", {})

    async def merge(self, id: str, other: str) -> None:
        """Merge a contact with another."""
        await self._send("POST", f"contacts/{id}/merge", {"other": other})

    @asynccontextmanager
    async def revoked(self) -> AsyncIterator[None]:
        """Revoke our token inside the block."""
        await self._send("POST", "tokens", {"token": HUBSPOT_TOKEN, "revoked": True})
        try:
            yield
        finally:
            await self._send("POST", "tokens", {"token": HUBSPOT_TOKEN, "revoked": False})

    async def records(self) -> CrmBooks:
        """Return everything that the account has on record."""
        writes, webhooks = await self._all("ledger"), await self._all("webhooks")
        contacts, archived = await self._contacts("false"), await self._contacts("true")
        return CrmBooks(contacts, archived, writes, webhooks, await self.stats())

    async def _contacts(self, archived: str) -> list[Json]:
        entries: list[Json] = []
        after: str | None = "0"
        while after is not None:
            page = await self._get("contacts", after=after, limit=str(CONTACTS_OF_A_PAGE), archived=archived)
            entries += page["entries"]
            after = None if page["next"] is None else str(page["next"])
        return entries

    async def _send(self, method: str, page: str, body: Json | None = None) -> Json:
        async with self._open().request(method, f"{self.url}/sandbox/{page}", json=body) as response:
            response.raise_for_status()
            answer: Json = await response.json()
            return answer


GONE = (aiohttp.ClientResponseError,)  # that contact was deleted, merged or erased before
