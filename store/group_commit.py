"""Many concurrent writes, few commits; everyone is answered when their own row is committed, with their own fate.

There is no timer: a flusher takes what is queued. Alone, an item is written at once; under load the batches grow
by themselves while the commit before them is on its way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import asyncpg

Item = TypeVar("Item")
Result = TypeVar("Result")

# The row is at fault, or met another in the wrong order: alone it may pass, or it fails alone.
ONE_ROW_AT_FAULT = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DeadlockDetectedError,
)


class Closed(Exception):
    """The process is stopping and takes nothing more."""


class Full(Exception):
    """More is queued than can be written soon."""


class GroupCommit(Generic[Item, Result]):
    """Writes items through *flush*, which commits a batch and returns one result per item, in order."""

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int = 256,
        flushers: int = 2,
        backlog: int = 20_000,
    ) -> None:
        self._flush = flush
        self._most = most
        self._flushers = flushers
        self._backlog = backlog
        self._queue: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def submit(self, item: Item) -> Result:
        """*item* is committed, and its result is returned.

        A caller that is cancelled does not take its item along: it is written all the same.
        Raises Closed, Full, or what *flush* raised for this item.
        """
        return await self.put(item)  # cancelling this gives up the result, not the item: that is in the queue

    def put(self, item: Item) -> asyncio.Future[Result]:
        """*item* is queued; the future has its result once it is committed.  Raises Closed, Full."""
        if self._closed:
            raise Closed
        if len(self._queue) >= self._backlog:
            raise Full
        written: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append((item, written))
        if len(self._running) < self._flushers:
            task = asyncio.create_task(self._drain())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return written

    async def close(self) -> None:
        """Nothing more is taken, and all that was taken is written."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)

    async def _drain(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
            try:
                answered = list(zip(batch, await self._flush([item for item, _ in batch]), strict=True))
            except ONE_ROW_AT_FAULT as error:
                if len(batch) > 1:
                    await self._one_by_one(batch)
                else:
                    _refuse(batch, error)
            except Exception as error:  # noqa: BLE001  whatever it is, the callers have to hear of it
                _refuse(batch, error)
            else:
                for (_, written), result in answered:
                    if not written.done():
                        written.set_result(result)

    async def _one_by_one(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        for item, written in batch:
            try:
                (result,) = await self._flush([item])
            except Exception as error:  # noqa: BLE001  as above
                _refuse([(item, written)], error)
            else:
                if not written.done():
                    written.set_result(result)


def _refuse(batch: Sequence[tuple[Item, asyncio.Future[Result]]], error: Exception) -> None:
    for _, written in batch:
        if not written.done():
            written.set_exception(error)
            written.exception()  # the caller may be gone: not a warning
