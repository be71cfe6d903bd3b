"""Ask one provider: claim due jobs, send each question once, hand its answer to the writer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import structlog

from enrichment.guards import read_budgets
from enrichment.outcome import Outcome, Retry, Unclear
from enrichment.providers.base import CallsBack, HttpRequest, Provider
from enrichment.settings import Settings
from enrichment.tokens import callback_url
from store import asked, providers
from store.claim import Claim, ClaimedJob, claim
from store.database import transaction
from store.group_commit import GroupCommit
from store.leases import JOBS
from submitter.backoff import backoff
from submitter.brake import BrakeView
from submitter.counting import count
from submitter.gated import Forbidden, gated
from submitter.leased import Batch, Lease, LeasedWork, Result
from submitter.limit_headers import LimitHeaders
from submitter.outcomes import JobOutcome, OutcomeWriter, Withheld
from submitter.transport import Unanswered, Unsent, send

log = structlog.get_logger()


# Tries to write an outcome that the database refuses, over three minutes: a person may mend the cause meanwhile.
WRITE_AGAIN, FIRST_PAUSE, LONGEST_PAUSE = 8, 1.0, 60.0


class Submitter:
    """One provider's questions in one process: the source of its leased work."""

    def __init__(
        self,
        provider: Provider,
        pool: asyncpg.Pool[Any],
        session: aiohttp.ClientSession,
        settings: Settings,
        outcomes: GroupCommit[JobOutcome, None],
        writer: OutcomeWriter,
        brake: BrakeView,
    ) -> None:
        self.provider = provider
        self.name = provider.name
        self.loop = LeasedWork(self, slots=settings.provider_concurrency, lease_seconds=settings.lease_seconds)
        self._pool = pool
        self._session = session
        self._settings = settings
        self._outcomes = outcomes
        self._writer = writer
        self._brake = brake
        self._budgets = read_budgets(settings)
        self._calls_back = isinstance(provider, CallsBack) and settings.public_url is not None
        self._limit_headers = LimitHeaders(pool, provider)

    async def claim(self, most: int, claim_id: UUID) -> Batch[ClaimedJob]:
        """Claim due jobs within limits, budgets and brake; move jobs that wait for a paused provider to the next."""
        as_of = time.monotonic()
        claimed = await claim(
            self._pool,
            self.name,
            most=most,
            price=self.provider.price,
            lease=self._settings.lease,
            callback_expected=self._calls_back,
            claim_id=claim_id,
            budgets=self._budgets,
        )
        if claimed.brake:
            self._brake.note(claimed.brake, as_of)
        if claimed.paused:
            while await providers.pass_turns(self._pool, self.name):
                self._writer.wake()
        self._writer.sweep(claimed.unswept)
        if claimed.failing:
            self._writer.note_failing(self.name)
        self._log(claimed)
        return Batch(claimed.jobs, claimed.wait, claimed.more, claimed.idle)

    async def renew(self, items: Sequence[ClaimedJob]) -> set[tuple[UUID, int]]:
        """Renew the leases of these jobs; return those that are still this process's."""
        return await JOBS.renew(self._pool, [(job.id, job.attempt) for job in items], self._settings.lease)

    async def undo(self, claim_id: UUID) -> Sequence[UUID]:
        """Queue again the jobs that a failed claim took nevertheless: none of them was sent."""
        async with transaction(self._pool) as connection:
            undone = await asked.undo_claim(connection, self.name, claim_id)
        async with transaction(self._pool) as connection:
            over = await asked.taken_over(connection, claim_id)
            searches = await asked.release_unsent(connection, over) if over else []
        self._writer.sweep(searches)
        return [*undone, *(id for id, _ in over)]

    async def work(self, item: ClaimedJob, lease: Lease) -> Result:
        """Ask the provider once, and hand its answer to the writer."""
        told = await self._ask(item, lease)
        return Result(self._outcomes.put(told), partial(self._write_again, told))

    async def _write_again(self, told: JobOutcome, error: BaseException) -> None:
        """Write an outcome that failed alone, with longer waits each time: it may have been paid for."""
        for tries in range(WRITE_AGAIN):
            log.error("outcome_held", job=str(told.job.id), exc_info=error)
            if await self._writer.gives_up(backoff(tries, first=FIRST_PAUSE, longest=LONGEST_PAUSE)):
                break
            try:
                await self._outcomes.submit(told)
            except Exception as again:  # noqa: BLE001  it is logged, now or at the end
                error = again
            else:
                return
        raise error

    async def _ask(self, job: ClaimedJob, lease: Lease) -> JobOutcome:
        if lease.is_over:
            # This process was frozen: another process may have the job by now. Nothing was sent, so nothing is owed.
            return JobOutcome(self.provider, job, Withheld("the lease ran out before it was sent"))
        request = self._request(job)
        try:
            with gated(partial(self._brake.forbids, self.name, job.source)):
                answer = request if isinstance(request, Unsent) else await send(self._session, request)
        except Forbidden as forbidden:
            return JobOutcome(self.provider, job, Withheld(forbidden.reason))
        outcome: Outcome
        match answer:
            case Unsent(reason):
                outcome, body = Retry(reason), b""
            case Unanswered(reason):
                outcome, body = Unclear(reason), b""
            case _:
                outcome, body = self.provider.read_submit(answer), answer.body
                await self._limit_headers.heed(answer)
        throttled = isinstance(outcome, Retry) and outcome.throttled
        count("questions", self.name, "throttled" if throttled else type(outcome).__name__.lower())
        return JobOutcome(self.provider, job, outcome, body, self._calls_back)

    def _request(self, job: ClaimedJob) -> HttpRequest | Unsent:
        """Build the question. Whatever fails here, nothing was sent: the job must not look as if it had been."""
        url = None
        try:
            if self._calls_back and self._settings.public_url:
                url = callback_url(self._settings.public_url, self._settings.callback_keys, self.name, job.id)
            return self.provider.submit(job.contact, url)
        except Exception as error:
            log.exception("question_not_built", job=str(job.id))
            return Unsent(f"the question could not be built ({type(error).__name__})")

    def _log(self, claimed: Claim) -> None:
        if claimed.wait > 0:
            count("limiter_wait_seconds", self.name, amount=min(claimed.wait, 60.0))
        if claimed.held:
            log.warning("held_for_budget", provider=self.name, jobs=claimed.held)
        if claimed.braked:
            log.warning("held_for_brake", provider=self.name, jobs=claimed.braked)
        if claimed.restored:
            remedy = "ringback reconcile"
            log.warning("held_after_restore", provider=self.name, jobs=claimed.restored, remedy=remedy)
        if claimed.jobs:
            log.info("claimed", provider=self.name, jobs=[str(job.id) for job in claimed.jobs])
