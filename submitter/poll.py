"""Poll one provider for the answers that no callback brought."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import structlog

from enrichment.ending import Ending, read_ending
from enrichment.logs import without_words
from enrichment.outcome import Pause, Retry, Running, Unreadable
from enrichment.providers.base import CallsBack, HttpResponse
from store.database import UNREACHABLE
from store.polls import Poll, claim_polls, end_check, end_last_polls, has_due_polls, keep_unreadable
from submitter.counting import count
from submitter.finishing import Finisher
from submitter.limit_headers import LimitHeaders
from submitter.outcomes import FIRST_POLL_WITHOUT_CALLBACK, note_pause, note_throttled
from submitter.process import Process
from submitter.transport import send

log = structlog.get_logger()

POLLS_AT_ONCE = 50
LONGEST_INTERVAL = timedelta(minutes=30)


class Poller:
    """One provider's polls in one process."""

    def __init__(self, provider: CallsBack, process: Process, finisher: Finisher) -> None:
        self._provider = provider
        self._process = process
        self._pool = process.pool
        self._finisher = finisher
        self._limit_headers = LimitHeaders(process.pool, provider)
        grace = process.settings.callback_grace
        self._first = grace if process.settings.public_url else min(grace, FIRST_POLL_WITHOUT_CALLBACK)

    async def poll_once(self) -> int:
        """Poll every due job, as far as permits allow, and store the answers; return how many were polled."""
        if not await has_due_polls(self._pool, self._provider.name):
            return 0
        polls = await claim_polls(
            self._pool,
            self._provider.name,
            most=POLLS_AT_ONCE,
            first=self._first,
            longest=LONGEST_INTERVAL,
            deadline=self._process.settings.job_deadline,
        )
        answers = await asyncio.gather(*(self._poll(poll) for poll in polls))
        told = [(poll, ending) for poll, ending in zip(polls, answers, strict=True) if ending is not None]
        endings = [ending for poll, ending in told if not poll.is_check]
        if silent := [poll.id for poll, ending in zip(polls, answers, strict=True) if ending is None]:
            await end_last_polls(self._pool, silent, self._process.settings.job_deadline)
        await self._finisher.end_apart(endings)
        await self._verify([ending for poll, ending in told if poll.is_check])
        return len(polls)

    async def _poll(self, poll: Poll) -> Ending | None:
        await asyncio.sleep(poll.after)
        answer = await send(self._process.sessions[self._provider.name], self._provider.poll(poll.request_id))
        if not isinstance(answer, HttpResponse):
            count("polls", self._provider.name, "unanswered")
            log.info("poll_unanswered", job=str(poll.id), why=answer.reason)
            return None
        outcome = self._provider.read_poll(answer)
        await self._limit_headers.heed(answer)
        count("polls", self._provider.name, type(outcome).__name__.lower())
        match outcome:
            case Running():
                return None
            case Unreadable(reason):
                # The job stays awaiting: a person can read the stored body, and the next poll may be readable.
                await keep_unreadable(self._pool, poll.id, reason, answer.body)
                log.warning("poll_unreadable", job=str(poll.id), why=without_words(reason))
                return None
            case Pause(reason):
                await note_pause(self._pool, self._provider.name, reason)
                return None
            case Retry(throttled=True, after=after):
                await note_throttled(self._pool, self._provider.name, after)
                return None
        ending = read_ending(
            outcome,
            poll.id,
            answered_by="poll",
            price=self._provider.price,
            region=poll.region or self._process.settings.default_region,
            request_id=poll.request_id,
            body=answer.body,
            stop_when_doubtful=self._process.settings.unknown_policy == "hold",
        )
        log.info("polled", job=str(poll.id), outcome=type(outcome).__name__)
        return ending

    async def _verify(self, endings: Sequence[Ending]) -> None:
        """Apply the polled answers of finished jobs, and end their checks; a number they did not bring still counts."""
        for ending in endings:
            answered = [ending] if ending.state == "answered" else []
            try:
                applied = await self._finisher.end(answered, verified={ending.job_id})
            except UNREACHABLE:
                raise
            except asyncpg.PostgresError:
                log.exception("ending_not_written", job=str(ending.job_id))
                continue  # its check goes on: it is polled again
            await end_check(self._pool, ending.job_id)
            log.warning("request_verified", job=str(ending.job_id), changed=ending.job_id in applied.late)
