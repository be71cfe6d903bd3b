"""The background task that ends the lookups of ended searches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from store.database import UNREACHABLE
from store.endings import follow_ends
from store.installation import Installation

log = structlog.get_logger()


class Sweeper:
    """Sweeps ended searches one after the other; the reconciler sweeps those that this process leaves behind."""

    def __init__(self, pool: asyncpg.Pool[Any], installation: Installation, wake: Callable[[], None]) -> None:
        self._pool = pool
        self._installation = installation
        self._wake = wake
        self._searches: dict[UUID, None] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, searches: Iterable[UUID]) -> None:
        """Queue these *searches* to be swept, without waiting."""
        self._searches.update(dict.fromkeys(searches))
        if self._searches and self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Wait until every added search is swept or given up."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._searches:
                search = next(iter(self._searches))
                del self._searches[search]
                try:
                    if await follow_ends(self._pool, [search], await self._installation.policy()):
                        self._wake()
                except (asyncpg.PostgresError, *UNREACHABLE) as error:
                    log.warning("search_not_swept", search=str(search), error=type(error).__name__)
        finally:
            self._task = None
