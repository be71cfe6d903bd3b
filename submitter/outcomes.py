"""Write the outcomes of questions: many in one commit, and none of them dropped.

An answer may have been paid for, so the writer tries until it succeeds. Every statement matches the attempt, so
writing twice, or too late, changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from enrichment.ending import RAW_AT_MOST, Ending, read_ending, unknown
from enrichment.logs import without_words
from enrichment.outcome import Accepted, Answered, Outcome, Pause, Refused, Retry, Unclear, Unreadable
from enrichment.providers.base import CallsBack, LimitNews, Provider
from enrichment.settings import Settings
from store import asked, breaker, providers
from store.asked import Acceptance, Requeueing
from store.claim import ClaimedJob
from store.database import UNREACHABLE, transaction
from submitter.backoff import backoff
from submitter.failures import log_failure
from submitter.finishing import Finisher

log = structlog.get_logger()

# A question whose 202 was lost can only be answered by its callback: wait so many graces for that.
GRACES_WITHOUT_REQUEST_ID = 5
# Without callbacks, the first poll need not wait for one. Nyne: "every few seconds at first".
FIRST_POLL_WITHOUT_CALLBACK = timedelta(seconds=5)
CHECK_PAUSED_AFTER = timedelta(seconds=5)
REST_AFTER_429 = 1.0  # seconds, at least


@dataclass(frozen=True, slots=True)
class Withheld:
    """The outcome of a claimed question that was not sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The outcome of asking *job*."""

    provider: Provider
    job: ClaimedJob
    outcome: Outcome | Withheld
    body: bytes = b""
    callback_expected: bool = False
    at: float = field(default_factory=time.monotonic)  # writing it may have to wait for the database


Step = Ending | Acceptance | Requeueing


class OutcomeWriter:
    """Writes outcomes for all providers of a process; a GroupCommit calls `write` as its flush."""

    def __init__(self, pool: asyncpg.Pool[Any], settings: Settings, finisher: Finisher) -> None:
        self._pool = pool
        self._settings = settings
        self._finisher = finisher
        self.wake = finisher.wake
        self.sweep = finisher.sweeper.add
        self._failing: set[str] = set()  # providers whose last answers were failures: a success closes the breaker
        self.giving_up = asyncio.Event()  # at the end of a drain: the leases expire, and the reconciler decides

    def note_failing(self, provider: str) -> None:
        """Note that another process saw this provider fail, so that our next success closes the breaker."""
        self._failing.add(provider)

    async def write(self, batch: Sequence[JobOutcome]) -> list[None]:
        """Commit every outcome; while the database is unusable, try again until it is back, or until giving up."""
        steps = [self._step(told) for told in batch]
        failures = 0
        while True:
            try:
                await self._store(steps)
                await self._note_health(batch)
                return [None] * len(batch)
            except UNREACHABLE as error:
                failures += 1
                log_failure(error, holding=len(batch), failures=failures)
                if await self.gives_up(backoff(failures, first=0.1, longest=5)):
                    raise

    async def gives_up(self, seconds: float) -> bool:
        """Wait up to *seconds*; return whether the writer gives up meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                return await self.giving_up.wait()
        except TimeoutError:
            return False

    async def _store(self, steps: Sequence[Step]) -> None:
        endings = [step for step in steps if isinstance(step, Ending)]
        acceptances = [step for step in steps if isinstance(step, Acceptance)]
        requeueings = [step for step in steps if isinstance(step, Requeueing)]
        # The answer to the question itself counts also after a callback of another request.
        inline = {e.job_id for e in endings if e.answered_by == "inline" and e.request_id is not None}
        await self._finisher.end(endings, verified=inline)
        if acceptances:
            async with transaction(self._pool, acknowledge=True) as connection:
                accepted = await asked.accept(connection, acceptances)
                if overtaken := [a for a in acceptances if a.job_id not in accepted]:
                    await asked.check_overtaken(connection, overtaken)
            for acceptance in acceptances:
                log.info("accepted", job=str(acceptance.job_id), request_id=acceptance.request_id)
        if requeueings:
            async with transaction(self._pool, acknowledge=True) as connection:
                requeued = await asked.requeue(connection, requeueings)
            await self._release_unsent([r for r in requeueings if not r.was_sent and r.job_id not in requeued])
            for step in requeueings:
                log.info(
                    "requeued", job=str(step.job_id), after=step.after.total_seconds(), why=without_words(step.error),
                    fenced=step.job_id not in requeued,
                )  # fmt: skip

    async def _release_unsent(self, unsent: Sequence[Requeueing]) -> None:
        """Correct the jobs that a takeover ended as unknown, although their questions were never sent."""
        if unsent:
            async with transaction(self._pool) as connection:
                searches = await asked.release_unsent(connection, [(one.job_id, one.attempt) for one in unsent])
            self._finisher.sweeper.add(searches)

    def _step(self, told: JobOutcome) -> Step:
        outcome, job = told.outcome, told.job
        match outcome:
            case Accepted():
                return self._acceptance(told, outcome.request_id, outcome.reason)
            case Unreadable() | Unclear() if told.callback_expected and isinstance(told.provider, CallsBack):
                return self._acceptance(told, None, outcome.reason)
            case Pause():
                return Requeueing(job.id, job.attempt, timedelta(0), counts=False, error=outcome.reason)
            case Withheld():
                return Requeueing(job.id, job.attempt, timedelta(0), counts=False, error=outcome.reason, was_sent=False)
            case Retry():
                return self._retry(told, outcome)
        ending = read_ending(
            outcome,
            job.id,
            answered_by="inline",
            price=told.provider.price,
            region=job.contact.region or self._settings.default_region,
            attempt=job.attempt,
            body=told.body,
            stop_when_doubtful=self._settings.unknown_policy == "hold",
        )
        return ending or unknown(job.id, "an answer that fits no question", attempt=job.attempt, body=told.body)

    def _acceptance(self, told: JobOutcome, request_id: str | None, reason: str | None = None) -> Acceptance:
        grace = self._settings.callback_grace
        if request_id is None:
            look_after = grace * GRACES_WITHOUT_REQUEST_ID
        else:
            look_after = grace if told.callback_expected else min(grace, FIRST_POLL_WITHOUT_CALLBACK)
        raw = told.body[:RAW_AT_MOST].decode("utf-8", "replace").replace("\0", "") if reason else None
        return Acceptance(told.job.id, told.job.attempt, request_id, look_after, reason, raw or None)

    def _retry(self, told: JobOutcome, outcome: Retry) -> Step:
        job = told.job
        if outcome.throttled:
            after = timedelta(seconds=max(outcome.after or 0.0, REST_AFTER_429))
            return Requeueing(job.id, job.attempt, after, counts=False, error=outcome.reason)
        if job.tries + 1 >= self._settings.max_attempts:
            reason = f"given up after {job.tries + 1} attempts: {outcome.reason}"
            return Ending(job_id=job.id, state="failed", attempt=job.attempt, error=reason)
        after = timedelta(seconds=max(outcome.after or 0.0, backoff(job.tries)))
        return Requeueing(job.id, job.attempt, after, counts=True, error=outcome.reason)

    async def _note_health(self, batch: Sequence[JobOutcome]) -> None:
        """Update the providers' rows from these outcomes: paused, resting, failing, or well."""
        failures: Counter[str] = Counter()
        blocked: defaultdict[str, list[UUID]] = defaultdict(list)
        probed = {told.provider.name for told in batch if told.job.is_probe}
        answered: set[str] = set()
        for told in batch:
            name = told.provider.name
            match told.outcome:
                case Pause(reason):
                    await note_pause(self._pool, name, reason, said=time.monotonic() - told.at)
                    self.wake()
                case Retry(throttled=True, after=after):
                    await note_throttled(self._pool, name, after)
                case Retry(blocked=True):
                    blocked[name].append(told.job.id)
                case Retry() | Unclear():
                    failures[name] += 1
                case Answered() | Accepted() | Refused():
                    answered.add(name)
        for name in answered & self._failing:
            await breaker.note_success(self._pool, name)
            self._failing.discard(name)
        for name in (failures.keys() | blocked.keys()) - answered:
            self._failing.add(name)
            is_probe = name in probed
            opened = [
                failures[name] and await breaker.note_failures(self._pool, name, failures[name], probed=is_probe),
                blocked[name] and await breaker.note_blocked(self._pool, name, blocked[name], probed=is_probe),
            ]
            if any(opened):
                log.error("breaker_open", provider=name)


async def note_pause(pool: asyncpg.Pool[Any], provider: str, reason: str, *, said: float = 0.0) -> None:
    """Pause the provider for all processes, and log why. It gave the reason *said* seconds ago."""
    if await providers.pause(pool, provider, reason, CHECK_PAUSED_AFTER, said=timedelta(seconds=said)):
        log.error("provider_paused", provider=provider, why=without_words(reason))


async def note_throttled(pool: asyncpg.Pool[Any], provider: str, after: float | None) -> None:
    """Let the provider rest for *after* seconds, as its 429 asked, or at least REST_AFTER_429."""
    rest = max(after or 0.0, REST_AFTER_429)
    await providers.correct_limits(pool, provider, LimitNews(rest=rest))
    log.warning("throttled", provider=provider, rest=rest)
