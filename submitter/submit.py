"""Asks one provider: claims what is due, sends each question once, hands its outcome to the writer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import structlog
from uuid_utils.compat import uuid7

from enrichment.outcome import Outcome, Retry, Unclear
from enrichment.providers.base import Provider
from enrichment.settings import Settings
from enrichment.tokens import callback_url
from store import asked, providers
from store.claim import Budget, Claim, Claimed, claim
from store.database import UNREACHABLE, transaction
from store.group_commit import GroupCommit
from submitter.backoff import backoff
from submitter.counting import count
from submitter.heed import Heed
from submitter.outcomes import NotAsked, OutcomeWriter, Told
from submitter.transport import Unanswered, Unsent, send

log = structlog.get_logger()

IDLE = 1.0  # seconds between two looks when nobody woke us: the truth is in the table, NOTIFY is a hint
RENEWALS_PER_LEASE = 6
UNWRITTEN = 2  # so many times PROVIDER_CONCURRENCY may be ours at once, asked or answered and not yet written
TOGETHER = 4  # while more than 1/4 of the slots are busy, wait for 1/4 to be free before the next claim


@dataclass(slots=True)
class InFlight:
    """A question that is ours until *lease_until*, on the event loop's clock."""

    job: Claimed
    lease_until: float


class Submitter:
    """One provider's questions in one process."""

    def __init__(
        self,
        provider: Provider,
        pool: asyncpg.Pool[Any],
        session: aiohttp.ClientSession,
        settings: Settings,
        outcomes: GroupCommit[Told, None],
        writer: OutcomeWriter,
    ) -> None:
        self.provider = provider
        self.awake = asyncio.Event()
        self._pool = pool
        self._session = session
        self._settings = settings
        self._outcomes = outcomes
        self._writer = writer
        self._budgets = read_budgets(settings)
        # By job and attempt: the next attempt may be claimed before the task of this one has left.
        self._in_flight: dict[tuple[UUID, int], InFlight] = {}
        self._asking = 0  # of them; the others have their answer, which is being written
        self._tasks: set[asyncio.Future[None]] = set()  # the questions being asked, and the answers being written
        self._enough = max(1, settings.provider_concurrency // TOGETHER)  # free slots, for a claim
        self._freed = asyncio.Event()
        self._calls_back = provider.calls_back and settings.public_url is not None
        self._heed = Heed(pool, provider)
        self._failed_claims: list[UUID] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Questions are asked until *stop*; then those in flight are waited for, and their outcomes written."""
        renewing = asyncio.create_task(self._renew_leases())
        failures = 0
        while not stop.is_set():
            try:
                await self._undo_failed_claims()
                await self._wait_for_slots(stop)
                if stop.is_set():
                    break
                self.awake.clear()
                claimed = await self.claim_once()
                failures = 0
            except UNREACHABLE as error:
                failures += 1
                log.warning("database_away", provider=self.provider.name, error=type(error).__name__)
                await _first_of(stop.wait(), timeout=backoff(failures, first=0.2, longest=5))
                continue
            await self._rest(claimed, stop)
        with suppress(*UNREACHABLE):
            await self._undo_failed_claims()
        while self._tasks:
            await asyncio.wait(self._tasks)
        renewing.cancel()

    async def _undo_failed_claims(self) -> None:
        """Put back to queued what failed claims took all the same: none of it was sent."""
        while self._failed_claims:
            async with transaction(self._pool) as connection:
                undone = await asked.undo_claim(connection, self._failed_claims[0])
            del self._failed_claims[0]
            if undone:
                log.warning("claim_undone", provider=self.provider.name, jobs=[str(id) for id in undone])

    @property
    def _free(self) -> int:
        """How many more may be claimed: as many as may be asked at once, unless their outcomes pile up."""
        slots = self._settings.provider_concurrency
        return min(slots - self._asking, UNWRITTEN * slots - len(self._in_flight))

    async def claim_once(self) -> Claim:
        """One claim; each claimed question is on its way in a task of its own."""
        # Counted from before the claim is sent: the database counts from when it writes the row.
        lease_until = asyncio.get_running_loop().time() + self._settings.lease_seconds
        claim_id = uuid7()
        try:
            claimed = await claim(
                self._pool,
                self.provider.name,
                most=self._free,
                price=self.provider.price,
                lease=self._settings.lease,
                callback_expected=self._calls_back,
                claim_id=claim_id,
                budgets=self._budgets,
            )
        except BaseException:
            self._failed_claims.append(claim_id)  # it may have been committed all the same
            raise
        if claimed.paused:
            while await providers.pass_turns(self._pool, self.provider.name):
                self._writer.wake()
        if claimed.held:
            log.warning("held_for_budget", provider=self.provider.name, jobs=claimed.held)
        if claimed.jobs:
            log.info("claimed", provider=self.provider.name, jobs=[str(job.id) for job in claimed.jobs])
        if claimed.failing:
            self._writer.note_failing(self.provider.name)
        for job in claimed.jobs:
            self._in_flight[job.id, job.attempt] = InFlight(job, lease_until)
            self._asking += 1
            task = asyncio.create_task(self._ask(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return claimed

    async def _ask(self, job: Claimed) -> None:
        """The answer is handed over: its slot is free, and its lease runs on until it is written."""
        try:
            if job.after > 0:
                await asyncio.sleep(job.after)
            written = self._outcomes.put(await self._send(job))
        except Exception as error:  # noqa: BLE001  a defect of ours: it must not take the others along
            self._let_go(job, error)
        else:
            self._tasks.add(written)
            written.add_done_callback(partial(self._written, job))
        finally:
            self._asking -= 1
            self._note_free()

    def _written(self, job: Claimed, written: asyncio.Future[None]) -> None:
        self._tasks.discard(written)
        self._let_go(job, None if written.cancelled() else written.exception())

    def _let_go(self, job: Claimed, error: BaseException | None) -> None:
        del self._in_flight[job.id, job.attempt]
        self._note_free()
        if error is not None:
            # The lease expires, and the reconciler takes the job over.
            log.error("outcome_not_written", job=str(job.id), exc_info=error)

    async def _send(self, job: Claimed) -> Told:
        if asyncio.get_running_loop().time() >= self._in_flight[job.id, job.attempt].lease_until:
            # We were frozen: the job may be somebody else's by now. Nothing was sent, so nothing is owed.
            return Told(self.provider, job, NotAsked("the lease ran out before it was sent"))
        url = None
        if self._calls_back and self._settings.public_url:
            url = callback_url(self._settings.public_url, self._settings.callback_keys, self.provider.name, job.id)
        answer = await send(self._session, self.provider.submit(job.contact, url))
        outcome: Outcome
        match answer:
            case Unsent(reason):
                outcome, body = Retry(reason), b""
            case Unanswered(reason):
                outcome, body = Unclear(reason), b""
            case _:
                outcome, body = self.provider.read_submit(answer), answer.body
                await self._heed.limits(answer)
        throttled = isinstance(outcome, Retry) and outcome.throttled
        count("questions", self.provider.name, "throttled" if throttled else type(outcome).__name__.lower())
        return Told(self.provider, job, outcome, body, self._calls_back)

    def _note_free(self) -> None:
        if self._free >= self._enough:
            self._freed.set()

    async def _wait_for_slots(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and self._free < self._enough:
            self._freed.clear()
            await _first_of(self._freed.wait(), stop.wait(), timeout=IDLE)

    async def _rest(self, claimed: Claim, stop: asyncio.Event) -> None:
        if claimed.wait > 0:
            count("limiter_wait_seconds", self.provider.name, amount=min(claimed.wait, 60.0))
            await _first_of(stop.wait(), timeout=min(claimed.wait, 60.0))
        elif not claimed.more:
            await _first_of(self.awake.wait(), stop.wait(), timeout=IDLE)

    async def _renew_leases(self) -> None:
        """Leases run on while calls do; a sixth of the lease apart, so that five renewals may fail."""
        loop = asyncio.get_running_loop()
        period = self._settings.lease_seconds / RENEWALS_PER_LEASE
        while True:
            await asyncio.sleep(period)
            soon = loop.time() + self._settings.lease_seconds - period / 2
            due = [held for held in self._in_flight.values() if held.lease_until < soon]
            if not due:
                continue
            lease_until = loop.time() + self._settings.lease_seconds
            try:
                ours = await asked.renew(
                    self._pool, [(held.job.id, held.job.attempt) for held in due], self._settings.lease
                )
            except UNREACHABLE as error:
                log.warning("leases_not_renewed", jobs=len(due), error=type(error).__name__)
                continue
            for held in due:
                if held.job.id in ours:
                    held.lease_until = lease_until


def read_budgets(settings: Settings) -> list[Budget]:
    """The budgets that are set, for all providers together and for each."""
    found = []
    for provider in (None, *settings.providers):
        for period in ("day", "month"):
            name = f"budget_credits_per_{period}"
            credits = getattr(settings, name) if provider is None else settings.of(provider, name)
            if credits is not None:
                found.append(Budget(provider, period, credits))
    return found


async def _first_of(*waits: Any, timeout: float) -> None:
    """One of *waits* has come true, or *timeout* seconds have passed."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
