"""Asks one provider: claims what is due, sends each question once, hands its outcome to the writer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import structlog

from enrichment.database import UNREACHABLE
from enrichment.group_commit import GroupCommit
from enrichment.outcome import Outcome, Retry, Unclear
from enrichment.providers.base import Provider
from enrichment.settings import Settings
from enrichment.store import asked, providers
from enrichment.store.claim import Budget, Claim, Claimed, claim
from enrichment.tokens import callback_url
from submitter.backoff import backoff
from submitter.counting import count
from submitter.heed import Heed
from submitter.outcomes import NotAsked, OutcomeWriter, Told
from submitter.transport import Unanswered, Unsent, send

log = structlog.get_logger()

IDLE = 1.0  # seconds between two looks when nobody woke us: the truth is in the table, NOTIFY is a hint
RENEWALS_PER_LEASE = 6
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
        self._tasks: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._calls_back = provider.calls_back and settings.public_url is not None
        self._heed = Heed(pool, provider)

    async def run(self, stop: asyncio.Event) -> None:
        """Questions are asked until *stop*; then those in flight are waited for, and their outcomes written."""
        renewing = asyncio.create_task(self._renew_leases())
        failures = 0
        while not stop.is_set():
            try:
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
        if self._tasks:
            await asyncio.wait(self._tasks)
        renewing.cancel()

    async def claim_once(self) -> Claim:
        """One claim; each claimed question is on its way in a task of its own."""
        claimed = await claim(
            self._pool,
            self.provider.name,
            most=self._settings.provider_concurrency - len(self._in_flight),
            price=self.provider.price,
            lease=self._settings.lease,
            callback_expected=self._calls_back,
            budgets=self._budgets,
        )
        if claimed.paused:
            while await providers.pass_turns(self._pool, self.provider.name):
                self._writer.wake()
        if claimed.failing:
            self._writer.note_failing(self.provider.name)
        lease_until = asyncio.get_running_loop().time() + self._settings.lease_seconds
        for job in claimed.jobs:
            self._in_flight[job.id, job.attempt] = InFlight(job, lease_until)
            task = asyncio.create_task(self._ask(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return claimed

    async def _ask(self, job: Claimed) -> None:
        try:
            if job.after > 0:
                await asyncio.sleep(job.after)
            told = await self._send(job)
            await self._outcomes.submit(told)
        except Exception:
            # The lease expires, and the reconciler takes the job over.
            log.exception("outcome_not_written", job=str(job.id))
        finally:
            del self._in_flight[job.id, job.attempt]
            self._freed.set()

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

    async def _wait_for_slots(self, stop: asyncio.Event) -> None:
        enough = max(1, self._settings.provider_concurrency // TOGETHER)
        while not stop.is_set() and self._settings.provider_concurrency - len(self._in_flight) < enough:
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
