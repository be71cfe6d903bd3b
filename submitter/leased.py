"""Leased work: claim due items, work on each one once, renew the leases, undo failed claims.

Jobs, readings and deliveries are worked on this way. The source claims, renews and puts back items in PostgreSQL, and
works on one; this loop manages the slots, the leases and the shutdown.

    claim    committed before anything is sent; a claim that fails may have been committed nevertheless: undone later
    lease    counted from before the claim was sent; an item whose lease is over is not begun
    slot     taken while an item is worked on; free while its result is being written
    rescue   the reconciler's: items of a process that fell silent
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from store.database import UNREACHABLE
from submitter.backoff import backoff
from submitter.failures import log_failure

log = structlog.get_logger()

LOOK_EVERY = 1.0  # seconds between two looks without a hint: the truth is in the table, NOTIFY is a hint
IDLE_LOOK_EVERY = 5.0  # seconds, while nothing waits and hints arrive
RENEWALS_PER_LEASE = 6  # so that five may fail
UNWRITTEN = 2  # items that may be claimed at once, per slot: worked on, or with a result not yet written
TOGETHER = 4  # while more than 1/4 of the slots are busy, wait for 1/4 to be free before the next claim


class Item(Protocol):
    """A claimed item: fenced by its *attempt*, and due *after* so many seconds."""

    @property
    def id(self) -> UUID: ...
    @property
    def attempt(self) -> int: ...
    @property
    def after(self) -> float: ...


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True, slots=True)
class Batch(Generic[ItemT]):
    """One claim's items, and what to do next: *wait* so many seconds, claim *more* at once, or rest."""

    items: Sequence[ItemT]
    wait: float = 0.0
    more: bool = False
    idle: bool = False  # nothing waits, due or not


@dataclass(slots=True)
class Lease:
    """The time until which an item belongs to this process, on the event loop's clock."""

    until: float

    @property
    def is_over(self) -> bool:
        """Tell whether another process may have the item by now."""
        return asyncio.get_running_loop().time() >= self.until


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an item: *written* is done when it is stored; if that fails, *again* writes it later, alone."""

    written: asyncio.Future[None]
    again: Callable[[BaseException], Coroutine[Any, Any, None]]


class Source(Protocol[ItemT]):
    """The origin of the items, and the work on one of them."""

    name: str

    async def claim(self, most: int, claim_id: UUID) -> Batch[ItemT]:
        """Claim up to *most* due items, and commit."""

    async def renew(self, items: Sequence[ItemT]) -> set[tuple[UUID, int]]:
        """Renew the leases of these items; return (id, attempt) of those that are still this process's."""

    async def undo(self, claim_id: UUID) -> Sequence[UUID]:
        """Put back and return the items that a failed claim took nevertheless."""

    async def work(self, item: ItemT, lease: Lease) -> Result:
        """Work on *item* unless its lease is over."""


class LeasedWork(Generic[ItemT]):
    """The loop that works on the items of one source in one process."""

    def __init__(self, source: Source[ItemT], *, slots: int, lease_seconds: float) -> None:
        self.awake = asyncio.Event()  # set it as a hint that something is due
        self.hears_hints: Callable[[], bool] = lambda: False
        self._source = source
        self._slots = slots
        self._lease_seconds = lease_seconds
        self._enough = max(1, slots // TOGETHER)  # free slots needed before the next claim
        # By id and attempt: the next attempt may be claimed before the task of this one has finished.
        self._leases: dict[tuple[UUID, int], tuple[ItemT, Lease]] = {}
        self._working = 0
        self._tasks: set[asyncio.Future[None]] = set()  # items being worked on, and results being written
        self._freed = asyncio.Event()
        self._failed_claims: list[UUID] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Claim and work until *stop*; then wait for the items in flight and the writing of their results."""
        renewing = asyncio.create_task(self._renew_leases())
        failures = 0
        while not stop.is_set():
            try:
                await self._wait_for_slots(stop)
                if stop.is_set():
                    break
                self.awake.clear()
                batch = await self.claim_once()
                failures = 0
            except Exception as error:  # noqa: BLE001  the loop outlives its errors
                failures += 1
                log_failure(error, source=self._source.name)
                await first_of(stop.wait(), timeout=backoff(failures, first=0.2, longest=5))
            else:
                await self._rest(batch, stop)
        with suppress(*UNREACHABLE):
            await self._undo_failed_claims()
        await self.settled()
        renewing.cancel()

    async def settled(self) -> None:
        """Wait until every claimed item is done and its result written."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def claim_once(self) -> Batch[ItemT]:
        """Claim once, and start a task for every claimed item."""
        await self._undo_failed_claims()
        # Counted from before the claim is sent: the database counts from when it writes the row.
        lease_until = asyncio.get_running_loop().time() + self._lease_seconds
        claim_id = uuid7()
        try:
            batch = await self._source.claim(self._free, claim_id)
        except BaseException:
            self._failed_claims.append(claim_id)  # it may have been committed nevertheless
            raise
        for item in batch.items:
            lease = Lease(lease_until)
            self._leases[item.id, item.attempt] = (item, lease)
            self._working += 1
            self._keep(asyncio.create_task(self._work(item, lease)))
        return batch

    @property
    def _free(self) -> int:
        """Return how many more items may be claimed: the free slots, fewer when unwritten results pile up."""
        return min(self._slots - self._working, UNWRITTEN * self._slots - len(self._leases))

    def _keep(self, task: asyncio.Future[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _undo_failed_claims(self) -> None:
        while self._failed_claims:
            undone = await self._source.undo(self._failed_claims[0])
            del self._failed_claims[0]
            if undone:
                log.warning("claim_undone", source=self._source.name, ids=[str(id) for id in undone])

    async def _work(self, item: ItemT, lease: Lease) -> None:
        """Work on the item, then free its slot; keep its lease until the result is written."""
        try:
            if item.after > 0:
                await asyncio.sleep(item.after)
            result = await self._source.work(item, lease)
        except Exception as error:  # noqa: BLE001  a bug of ours must not stop the other items
            self._let_go(item, error)
        else:
            self._tasks.add(result.written)
            result.written.add_done_callback(partial(self._written, item, result))
        finally:
            self._working -= 1
            self._note_free()

    def _written(self, item: ItemT, result: Result, written: asyncio.Future[None]) -> None:
        self._tasks.discard(written)
        error = None if written.cancelled() else written.exception()
        if error is None:
            self._let_go(item, None)
        else:
            self._keep(asyncio.create_task(self._write_again(item, result, error)))

    async def _write_again(self, item: ItemT, result: Result, error: BaseException) -> None:
        """Try again to write the result, and keep its lease meanwhile: it may have been paid for."""
        try:
            await result.again(error)
        except Exception as last:  # noqa: BLE001  it is logged, and the reconciler takes over
            self._let_go(item, last)
        else:
            self._let_go(item, None)

    def _let_go(self, item: ItemT, error: BaseException | None) -> None:
        del self._leases[item.id, item.attempt]
        self._note_free()
        if error is not None:
            # The lease expires, and the reconciler takes the item over.
            log.error("result_not_written", source=self._source.name, id=str(item.id), exc_info=error)

    def _note_free(self) -> None:
        if self._free >= self._enough:
            self._freed.set()

    async def _wait_for_slots(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and self._free < self._enough:
            self._freed.clear()
            await first_of(self._freed.wait(), stop.wait(), timeout=LOOK_EVERY)

    async def _rest(self, batch: Batch[ItemT], stop: asyncio.Event) -> None:
        if batch.wait > 0:
            await first_of(stop.wait(), timeout=min(batch.wait, 60.0))
        elif not batch.more:
            every = IDLE_LOOK_EVERY if batch.idle and self.hears_hints() else LOOK_EVERY
            await first_of(self.awake.wait(), stop.wait(), timeout=every)

    async def _renew_leases(self) -> None:
        """Renew leases until the results of their items are written."""
        loop = asyncio.get_running_loop()
        period = self._lease_seconds / RENEWALS_PER_LEASE
        while True:
            await asyncio.sleep(period)
            soon = loop.time() + self._lease_seconds - period / 2
            due = [(item, lease) for item, lease in self._leases.values() if lease.until < soon]
            if not due:
                continue
            lease_until = loop.time() + self._lease_seconds
            try:
                ours = await self._source.renew([item for item, _ in due])
            except Exception as error:  # noqa: BLE001  the next renewal may succeed
                log_failure(error, source=self._source.name, leases=len(due))
                continue
            for item, lease in due:
                if (item.id, item.attempt) in ours:
                    lease.until = lease_until


async def first_of(*waits: Coroutine[Any, Any, object], timeout: float) -> None:
    """Wait until one of *waits* is done, or *timeout* seconds have passed."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
