"""Write many concurrent items in few commits, and give each caller the result of its own item.

A flusher takes what is queued, without waiting for more: a lone item is written at once; under load, batches grow
while the previous commit is under way.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import asyncpg

from store.database import UNREACHABLE

Item = TypeVar("Item")
Result = TypeVar("Result")

MEBIBYTE = 1 << 20
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two tries while the database is unusable
TICK = 0.05  # seconds between two looks at the deadlines: one timer for all items, because one for each costs more


class Closed(Exception):
    """The process is stopping and accepts no more items."""


class Full(Exception):
    """The backlog is full: more is queued than can be written soon."""


@dataclass(frozen=True, slots=True, eq=False)
class _Queued(Generic[Item, Result]):
    item: Item
    size: int
    deadline: float  # on the event loop's clock
    written: asyncio.Future[Result]


class GroupCommit(Generic[Item, Result]):
    """A queue of items and the flushers that write them through *flush*.

    *flush* commits a batch and returns one result per item, in order. At most *backlog* items and *backlog_bytes*, as
    measured by *size*, may be unanswered at a time. A batch has at most *most* items, and ends with the one that
    reaches *most_bytes*: all of it is copied for the statement and again for the connection.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int = 256,
        flushers: int = 2,
        backlog: int = 20_000,
        size: Callable[[Item], int] = lambda _: 0,
        backlog_bytes: int = 64 * MEBIBYTE,
        most_bytes: int = 4 * MEBIBYTE,
    ) -> None:
        self._flush = flush
        self._most = most
        self._flushers = flushers
        self._backlog = backlog
        self._size = size
        self._backlog_bytes = backlog_bytes
        self._most_bytes = most_bytes
        self._queue: deque[_Queued[Item, Result]] = deque()
        self._unanswered: set[_Queued[Item, Result]] = set()  # queued or being written
        self._bytes = 0  # of these
        self._clock: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def submit(self, item: Item, *, within: float = math.inf) -> Result:
        """Commit *item* and return its result.

        While the database is unusable, the item waits. Cancelling the caller does not cancel the item. Raise Closed,
        Full, the error that *flush* raised for this item, or TimeoutError after *within* seconds: then the item may
        have been written or not.
        """
        return await self.put(item, within=within)  # cancelling this drops the result, not the item: that is queued

    def put(self, item: Item, *, within: float = math.inf) -> asyncio.Future[Result]:
        """Queue *item* and return a future of its result, set after the commit. Raise Closed, Full.

        After *within* seconds the future is a TimeoutError.
        """
        size = self._size(item)
        if self._closed:
            raise Closed
        if len(self._unanswered) >= self._backlog or self._bytes + size > self._backlog_bytes:
            raise Full
        loop = asyncio.get_running_loop()
        queued = _Queued(item, size, loop.time() + within, loop.create_future())
        self._queue.append(queued)
        self._unanswered.add(queued)
        self._bytes += size
        if self._clock is None and within < math.inf:
            self._clock = loop.call_later(TICK, self._tick)
        if len(self._running) < self._flushers:
            self._running.add(loop.create_task(self._drain()))
        return queued.written

    async def close(self) -> None:
        """Accept no more items, and write all that were accepted."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)

    async def _drain(self) -> None:
        """Write batches until the queue is empty.

        No other task runs between the last look at the queue and the end, so an item that is put later starts a new
        flusher. A done callback would run too late for that.
        """
        pause = FIRST_PAUSE
        try:
            while self._queue:
                batch = self._next_batch()
                if not batch or await self._write(batch):
                    pause = FIRST_PAUSE
                else:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._running -= {asyncio.current_task()}

    def _next_batch(self) -> list[_Queued[Item, Result]]:
        now = asyncio.get_running_loop().time()
        batch: list[_Queued[Item, Result]] = []
        size = 0
        while self._queue and len(batch) < self._most and size < self._most_bytes:
            queued = self._queue.popleft()
            if queued.deadline <= now:
                self._refuse([queued], _too_late())
            else:
                batch.append(queued)
                size += queued.size
        return batch

    async def _write(self, batch: list[_Queued[Item, Result]]) -> bool:
        """Write and answer the batch. When the database is unusable, put back what may wait and return False."""
        try:
            answered = list(zip(batch, await self._flush([queued.item for queued in batch]), strict=True))
        except asyncio.CancelledError:
            self._refuse(batch, ConnectionAbortedError("the process ended"))
            raise
        except Exception as error:  # noqa: BLE001  the callers get every error
            if _can_wait(error, alone=len(batch) == 1):
                return self._put_back(batch, error)
            if len(batch) > 1:
                return await self._one_by_one(batch)
            self._refuse(batch, error)
            return True
        for queued, result in answered:
            self._answered(queued)
            if not queued.written.done():
                queued.written.set_result(result)
        return True

    async def _one_by_one(self, batch: list[_Queued[Item, Result]]) -> bool:
        """Write the items of the batch alone, after one bad row or a deadlock; return False as `_write` does."""
        for index, queued in enumerate(batch):
            if not await self._write([queued]):
                self._queue.extendleft(reversed(batch[index + 1 :]))
                return False
        return True

    def _put_back(self, batch: list[_Queued[Item, Result]], error: Exception) -> bool:
        """Queue the items that have a deadline again, and refuse the others; return whether all were refused."""
        patient = [queued for queued in batch if queued.deadline < math.inf]
        self._refuse([queued for queued in batch if queued.deadline == math.inf], error)
        self._queue.extendleft(reversed(patient))
        return not patient

    def _refuse(self, batch: Sequence[_Queued[Item, Result]], error: Exception) -> None:
        for queued in batch:
            self._answered(queued)
            _fail(queued, error)

    def _answered(self, queued: _Queued[Item, Result]) -> None:
        self._unanswered.discard(queued)
        self._bytes -= queued.size

    def _tick(self) -> None:
        """Fail the futures whose deadline has passed, and drop their items: with a stuck commit, memory would fill.

        An item that is being written is not dropped, and may be committed all the same.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if any(queued.deadline <= now for queued in self._queue):
            self._refuse([queued for queued in self._queue if queued.deadline <= now], _too_late())
            self._queue = deque(queued for queued in self._queue if queued.deadline > now)
        for queued in self._unanswered:
            if queued.deadline <= now:
                _fail(queued, _too_late())
        waits = any(queued.deadline < math.inf for queued in self._unanswered)
        self._clock = loop.call_later(TICK, self._tick) if waits else None


def _too_late() -> TimeoutError:
    return TimeoutError("it waited too long for the database")


def _fail(queued: _Queued[Item, Result], error: Exception) -> None:
    if not queued.written.done():
        queued.written.set_exception(error)
        queued.written.exception()  # marks it as retrieved: a caller that is gone is no warning


def _can_wait(error: Exception, *, alone: bool) -> bool:
    """Tell whether the item may wait: the database is unusable. After a deadlock, the items are tried alone first."""
    return isinstance(error, UNREACHABLE) and (alone or not isinstance(error, asyncpg.TransactionRollbackError))
