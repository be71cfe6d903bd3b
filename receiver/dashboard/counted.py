"""Histories that were counted a moment ago: one is counted at a time in a process, and shared by all who look at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from enrichment.settings import SOURCE_NAMES
from store.history import History, Span, read_history

KEPT = 60.0  # seconds that a history is shown before it is counted again,
RESTS = 20.0  # or as many times the seconds that it took, so that pages never keep the database busy
PATIENCE = 4.0  # seconds that a visitor waits

SPANS: dict[str, tuple[str, Callable[[datetime], Span]]] = {
    "7d": ("7 days", lambda now: Span.of_days(7, now)),
    "30d": ("30 days", lambda now: Span.of_days(30, now)),
    "90d": ("90 days", lambda now: Span.of_days(90, now)),
    "12m": ("12 months", lambda now: Span.of_months(12, now)),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a visitor asks for: a key of SPANS, and one provider or source, or all. Few enough to keep each answer."""

    span: str
    provider: str | None = None
    source: str | None = None


class Counted:
    """The histories of one process."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool
        self._one = asyncio.Lock()
        self._kept: dict[Wanted, tuple[History, float]] = {}  # and until when it is new enough
        self._tasks: dict[Wanted, asyncio.Task[History]] = {}

    async def get(self, wanted: Wanted, patience: float = PATIENCE) -> History:
        """Return the history, or an older one if counting takes longer than *patience* seconds.

        Raise TimeoutError if there is none. A late count goes on: the next visitor finds its result.
        """
        older, until = self._kept.get(wanted, (None, 0.0))
        if older is not None and time.monotonic() < until:
            return older
        task = self._tasks.get(wanted)
        if task is None or task.done():
            task = self._tasks[wanted] = asyncio.create_task(self._count(wanted))
            task.add_done_callback(_heed)
        await asyncio.wait([task], timeout=patience)
        if task.done():
            return task.result()
        if older is None:
            raise TimeoutError
        return older

    def close(self) -> None:
        """Cancel what is still under way."""
        for task in self._tasks.values():
            task.cancel()

    async def _count(self, wanted: Wanted) -> History:
        async with self._one:
            began = time.monotonic()
            span = SPANS[wanted.span][1](datetime.now(UTC))
            history = await read_history(
                self._pool, span, sources=SOURCE_NAMES, provider=wanted.provider, source=wanted.source
            )
            now = time.monotonic()
            self._kept[wanted] = history, now + max(KEPT, RESTS * (now - began))
            return history


def _heed(task: asyncio.Task[History]) -> None:
    """Look at the error of a count that every visitor has left: asyncio would log it as forgotten."""
    if not task.cancelled():
        task.exception()
