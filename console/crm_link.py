"""What a command needs to call a CRM: the adapter, a session, and a caller that keeps the shared limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg

from console.database import connected
from enrichment.crms import CRMS, build_crm
from enrichment.crms.base import Crm
from enrichment.providers import build_providers
from enrichment.providers.base import Provider
from enrichment.setting_types import Condition
from enrichment.settings import Settings
from rig.processes import NotRunning
from store import providers
from store.connections import Connection, read_connections
from store.database import close_pool, database_url, open_pool
from store.migrations import require_current
from submitter.crm_calls import CrmCaller
from submitter.transport import open_session

PATIENCE = 30.0  # seconds for one answer


@dataclass(frozen=True, slots=True)
class CrmLink:
    """The means to call one CRM. *connection*: its row, None if it is not connected."""

    crm: Crm
    settings: Settings
    asked: Mapping[str, Provider]
    session: aiohttp.ClientSession
    pool: asyncpg.Pool[Any]
    connection: Connection | None

    @property
    def learned(self) -> Mapping[str, Any]:
        """Return what the last `ringback connect` learned."""
        return self.connection.learned if self.connection else {}

    def narrowed(self, conditions: Sequence[Condition]) -> Crm:
        """Return the CRM's adapter with these *conditions* in addition to those of ONLY_IF."""
        own = self.settings.crm(self.crm.name)
        narrowed = own.model_copy(update={"only_if": (*own.only_if, *conditions)})
        return build_crm(self.crm.name, self.settings.model_copy(update={self.crm.name: narrowed}), self.learned)

    async def resume(self) -> None:
        """Remove a pause of the CRM, once its token proved to be good."""
        await providers.resume(self.pool, self.crm.name)

    def caller(self, crm: Crm | None = None) -> CrmCaller:
        """Return a caller of the CRM, or of another adapter of it."""
        return CrmCaller(crm or self.crm, self.pool, self.session)


def require_known(name: str) -> None:
    """Raise NotRunning if no CRM has this name."""
    if name not in CRMS:
        raise NotRunning(f"No CRM is called {name!r}. Remedy: one of {', '.join(CRMS)}.")


@asynccontextmanager
async def linked(name: str, settings: Settings) -> AsyncIterator[CrmLink]:
    """Hold the means to call the CRM inside the block, with its limits registered."""
    async with connected(settings) as connection:
        await require_current(connection)
        found = (await read_connections(connection)).get(name)
        crm = build_crm(name, settings, found.learned if found else {})
        await providers.register_crm(connection, name, crm.limits)
        pool = await open_pool(database_url(settings), name="console", size=2)
        try:
            async with open_session(limit=4, timeout=PATIENCE) as session:
                yield CrmLink(crm, settings, build_providers(settings), session, pool, found)
        finally:
            await close_pool(pool)
