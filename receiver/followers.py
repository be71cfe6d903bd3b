"""Looks after the followers of lookups that have ended, after their callback was answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import asyncpg
import structlog

from receiver.problems import UNAVAILABLE

log = structlog.get_logger()


class Followers:
    """Releases followers in the background, many leaders at a time; the reconciler finds whom we miss."""

    def __init__(self, release: Callable[[Sequence[UUID]], Awaitable[None]]) -> None:
        self._release = release
        self._leaders: set[UUID] = set()
        self._task: asyncio.Task[None] | None = None

    def look_after(self, leader: UUID) -> None:
        """Whoever follows *leader* will be released; never waits."""
        self._leaders.add(leader)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """All that was asked for is done, or given up."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._leaders:
                leaders = list(self._leaders)
                self._leaders.clear()
                try:
                    await self._release(leaders)
                except (asyncpg.PostgresError, *UNAVAILABLE) as error:
                    log.warning("followers left behind", leaders=len(leaders), error=type(error).__name__)
        finally:
            self._task = None
