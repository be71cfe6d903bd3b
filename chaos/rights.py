"""A person who suppresses people through our API, and whose CRM then sends their events again."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from chaos.contacts import Contact, Contacts
from chaos.crm import Crm
from chaos.crowd import Event, Wish

PATIENCE = aiohttp.ClientTimeout(total=5, connect=3)
PAUSE = 0.5  # seconds between two tries
KINDS = {"profile_url": "profile", "work_email": "email"}


class Rights:
    """A client of /v1/suppressions."""

    def __init__(self, url: str, token: str, crm: Crm) -> None:
        """Ask at *url*; *crm* sends the events."""
        self._url = f"{url}/v1/suppressions"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._crm = crm

    async def suppress(self, contacts: Contacts, one: Contact) -> None:
        """Suppress all identifiers of a contact's person until that is confirmed; then have an event of theirs sent."""
        known = {key: value for key, value in one.identifiers.items() if key in KINDS}
        body = [{KINDS[key]: value, "note": "chaos"} for key, value in known.items()]
        async with aiohttp.ClientSession(timeout=PATIENCE, headers=self._headers) as session:
            while not await self._is_confirmed(session, body):
                await asyncio.sleep(PAUSE)
        one.suppressed_at = time.time()
        await asyncio.sleep(contacts.pause())
        id = f"suppressed-{one.id}"
        self._crm.send(Event(id, 0, (Wish(one.person, f"{id}:0", known),)))

    async def _is_confirmed(self, session: aiohttp.ClientSession, body: list[dict[str, str]]) -> bool:
        try:
            async with session.post(self._url, json=body) as response:
                await response.read()
                return response.status == 201
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
