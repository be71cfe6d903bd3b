"""Hold a message while PostgreSQL is away: its sender waits, and mostly hears that it was stored after all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from store.database import UNREACHABLE, DatabaseDown
from store.group_commit import Full, GroupCommit

Item = TypeVar("Item")
Result = TypeVar("Result")

PAUSE = 0.25  # seconds between two tries
MOST_MESSAGES = 20_000  # being written or held, of one kind
MOST_BYTES = 64 * 1024 * 1024  # of their bodies

AWAY = (*UNREACHABLE, DatabaseDown)


class Hold(Generic[Item, Result]):
    """Writes through *commit*, again and again while PostgreSQL is away, which is harmless: a message is stored once.

    When *stopping* says so, nothing is tried again.  *size* weighs an item, in bytes.
    """

    def __init__(
        self, commit: GroupCommit[Item, Result], *, size: Callable[[Item], int], stopping: Callable[[], bool]
    ) -> None:
        self._commit = commit
        self._size = size
        self._stopping = stopping
        self._messages = 0
        self._bytes = 0
        self._deadlines: dict[asyncio.Future[Result], float] = {}
        self._clock: asyncio.TimerHandle | None = None

    async def submit(self, item: Item, *, within: float) -> Result:
        """Commit *item* and return its result.

        Raises what GroupCommit.submit raises, Full when too much is held, and after *within* seconds the error that
        says why PostgreSQL cannot be used.  An item that was given up may still be committed.
        """
        size = self._size(item)
        if self._messages >= MOST_MESSAGES or self._bytes + size > MOST_BYTES:
            raise Full
        self._messages += 1
        self._bytes += size
        try:
            return await self._keep_trying(item, asyncio.get_running_loop().time() + within)
        finally:
            self._messages -= 1
            self._bytes -= size

    async def _keep_trying(self, item: Item, deadline: float) -> Result:
        while True:
            try:
                return await self._write(item, deadline)
            except AWAY:
                if self._stopping() or asyncio.get_running_loop().time() + PAUSE >= deadline:
                    raise
            await asyncio.sleep(PAUSE)

    async def _write(self, item: Item, deadline: float) -> Result:
        written = self._commit.put(item)
        self._deadlines[written] = deadline
        if self._clock is None:
            self._clock = asyncio.get_running_loop().call_later(PAUSE, self._end_the_overdue)
        try:
            return await written
        finally:
            del self._deadlines[written]

    def _end_the_overdue(self) -> None:
        """Give up the writes past their deadline.  One timer for all of them costs less than one for each."""
        loop = asyncio.get_running_loop()
        for written, deadline in self._deadlines.items():
            if deadline <= loop.time() and not written.done():
                written.set_exception(TimeoutError())
        self._clock = loop.call_later(PAUSE, self._end_the_overdue) if self._deadlines else None
