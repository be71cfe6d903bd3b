"""The callers of the CRMs that are connected, one for each in this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import aiohttp
import asyncpg
import structlog

from enrichment.crms.base import Account, Crm, Failure
from enrichment.outcome import Pause, Refused
from enrichment.settings import Settings
from store.connections import Connections, note_error
from store.providers import register_crm
from submitter.crm_calls import CrmCaller, Withheld
from submitter.transport import open_session

log = structlog.get_logger()


class CrmCallers:
    """Builds a CRM's caller when it is first asked for, and keeps it up to date with what is learned of the CRM."""

    def __init__(self, pool: asyncpg.Pool[Any], settings: Settings, connections: Connections) -> None:
        self._pool = pool
        self._settings = settings
        self._connections = connections
        self._callers: dict[str, CrmCaller] = {}
        self._accounts: dict[str, str | None] = {}  # whose the tokens are; None: the CRM does not say
        self._sessions: list[aiohttp.ClientSession] = []
        self._building: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, name: str) -> CrmCaller | None:
        """Return the CRM's caller; None if it is not connected, or there is no token of the connected account."""
        crm = await self._connections.crm(name)
        if crm is None or not crm.can_call:
            return None
        async with self._building[name]:
            if name not in self._callers:
                self._callers[name] = await self._build(crm)
            caller = self._callers[name]
            caller.crm = crm
            return caller if await self._is_of_account(caller) else None

    async def _is_of_account(self, caller: CrmCaller) -> bool:
        """Tell whether the token is one of the connected account: an id of one account is another contact's in another.

        It is asked once in the life of a process, which keeps its token. If the CRM does not say, it is believed.
        """
        wanted = await self._connections.account(caller.name)
        if wanted is None or self._accounts.get(caller.name, "") is None:
            return True
        if caller.name not in self._accounts:
            answer: Account | Failure | Withheld = await caller.call(caller.crm.account(), caller.crm.read_account)
            if isinstance(answer, Pause):
                await note_error(self._pool, caller.name, answer.reason)
            if not isinstance(answer, Account | Refused):
                return True  # it cannot be called now, so it does no harm either; asked again
            self._accounts[caller.name] = answer.id if isinstance(answer, Account) else None
        told = self._accounts[caller.name]
        if told in (None, wanted):
            return True
        why = f"the token is of account {told}, not of {wanted}: disconnect, and connect again"
        if await note_error(self._pool, caller.name, why):
            log.error("another_account", crm=caller.name, why=why)
        return False

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
