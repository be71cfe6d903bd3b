"""The queues in front of the database: what waits in one shares a commit, and is acknowledged after it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import structlog

from enrichment.settings import Settings
from receiver.metrics import Metrics
from store.callbacks import Callback, CallbackReceipt, record_callbacks
from store.group_commit import GroupCommit
from store.installation import Installation
from store.intake import Event, Receipt, ingest
from store.readings import CrmEvent, name_contacts

log = structlog.get_logger()

FLUSHERS = 2  # commits in flight per queue; with more, batches get smaller, and each has its own cost
MOST_EVENTS = 64  # per commit; an event may have a hundred contacts
MOST_CALLBACKS = 256  # per commit


class Queues:
    """The queues of one process: lookups' events, CRMs' events that name contacts, and callbacks."""

    def __init__(
        self, pool: asyncpg.Pool[Any], installation: Installation, settings: Settings, metrics: Metrics
    ) -> None:
        self._pool = pool
        self._installation = installation
        self._settings = settings
        self.events = GroupCommit(
            metrics.counted("events", self._take), most=MOST_EVENTS, flushers=FLUSHERS, size=_bytes
        )
        self.named = GroupCommit(
            metrics.counted("crm_events", self._name), most=MOST_EVENTS, flushers=FLUSHERS, size=_bytes
        )
        self.callbacks = GroupCommit(
            metrics.counted("callbacks", self._record), most=MOST_CALLBACKS, flushers=FLUSHERS, size=_bytes
        )

    async def close(self) -> None:
        """Write what waits, and take no more."""
        await asyncio.gather(self.events.close(), self.named.close(), self.callbacks.close())

    async def _take(self, events: Sequence[Event]) -> list[list[Receipt]]:
        taken = await ingest(self._pool, events, await self._installation.policy())
        # One log line per commit: under load, a line per event would cost more than its share of the commit.
        if lookups := [str(one.id) for event in taken for one in event if not one.duplicate]:
            log.info("taken", lookups=lookups)
        return taken

    async def _record(self, callbacks: Sequence[Callback]) -> list[CallbackReceipt]:
        region, policy = self._settings.default_region, await self._installation.policy()
        recorded = await record_callbacks(self._pool, callbacks, policy, region)
        groups: dict[tuple[str, str, str | None], list[str]] = {}
        for callback, one in zip(callbacks, recorded, strict=True):
            key = (callback.provider, one.verdict, one.ended.search_status if one.ended else None)
            groups.setdefault(key, []).append(str(callback.job_id))
        for (provider, verdict, status), jobs in groups.items():
            log.info("callbacks", provider=provider, verdict=verdict, search=status, jobs=jobs)
        return recorded

    async def _name(self, events: Sequence[CrmEvent]) -> list[int]:
        accepted = await name_contacts(self._pool, events)
        log.info("named", sources=sorted({event.source for event in events}), events=sum(accepted))
        return accepted


def _bytes(message: Event | Callback | CrmEvent) -> int:
    """Return the bytes of memory that *message* takes while it waits."""
    return message.size
