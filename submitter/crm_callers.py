"""The callers of the CRMs that are connected, one for each in this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import aiohttp
import asyncpg

from enrichment.crms.base import Crm
from enrichment.settings import Settings
from store.connections import Connections
from store.providers import register_crm
from submitter.crm_calls import CrmCaller
from submitter.transport import open_session


class CrmCallers:
    """Builds a CRM's caller when it is first asked for, and keeps it up to date with what is learned of the CRM."""

    def __init__(self, pool: asyncpg.Pool[Any], settings: Settings, connections: Connections) -> None:
        self._pool = pool
        self._settings = settings
        self._connections = connections
        self._callers: dict[str, CrmCaller] = {}
        self._sessions: list[aiohttp.ClientSession] = []
        self._building: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, name: str) -> CrmCaller | None:
        """Return the CRM's caller; None if it is not connected, or there is no token."""
        crm = await self._connections.crm(name)
        if crm is None or not crm.can_call:
            return None
        async with self._building[name]:
            if name not in self._callers:
                self._callers[name] = await self._build(crm)
        self._callers[name].crm = crm
        return self._callers[name]

    async def _build(self, crm: Crm) -> CrmCaller:
        await register_crm(self._pool, crm.name, crm.limits)
        session = open_session(
            limit=self._settings.provider_concurrency, timeout=self._settings.provider_timeout_seconds
        )
        self._sessions.append(session)
        return CrmCaller(crm, self._pool, session)

    async def close(self) -> None:
        """Wait for the calls under way, and close their connections."""
        for caller in self._callers.values():
            await caller.close()
        for session in self._sessions:
            await session.close()
