"""What one process of a run does: it claims, writes outcomes, follows ends, and dies in the middle of things."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.ending import Ending
from enrichment.guards import Budget
from enrichment.outcome import Answered
from enrichment.wish import Policy
from store.asked import Acceptance, Requeueing, accept, requeue
from store.callbacks import Callback, record_callbacks
from store.claim import ClaimedJob, claim
from store.database import transaction
from store.endings import apply_endings, follow_ends
from store.ends import end_lookups
from tests.model.journal import Journal, Outcome
from tests.model.people import Town
from tests.model.vendor import PRICES, Vendors, Waiting

Result = TypeVar("Result")

HOUR = timedelta(hours=1)
LEASE = timedelta(minutes=10)  # rescue() changes the row, not the clock
DEADLOCKS_AT_MOST = 5  # in a row, for one piece of work


@dataclass(frozen=True)
class Plan:
    """The parameters of a run."""

    town: Town
    policy: Policy
    events: int  # of one actor
    first_event: int = 0
    timeouts: float = 0.1  # share of the questions; their answers come late, if at all
    dies: bool = True  # between an end and its chunks, and anywhere else


class Process:
    """A process of a run; *number* makes its choices its own."""

    def __init__(self, plan: Plan, number: int, pool: asyncpg.Pool[Any], journal: Journal) -> None:
        self.plan = plan
        self.pool = pool
        self.journal = journal
        self.chance = random.Random(f"actor {plan.town.seed} {number}")
        self.vendors = Vendors(plan.town, self.chance, journal)
        self._left = plan.events

    @property
    def policy(self) -> Policy:
        """Return the policy; for a while, Nyne is not among the PROVIDERS."""
        done = 1 - self._left / self.plan.events
        if 0.4 < done < 0.55:
            return replace(self.plan.policy, providers=("leadmagic",))
        return self.plan.policy

    # Questions

    async def _claim(self, provider: str, budgets: Sequence[Budget] = ()) -> Sequence[ClaimedJob]:
        got = await self._surely(
            lambda: claim(
                self.pool, provider, most=8, price=PRICES[provider], lease=LEASE,
                callback_expected=provider == "nyne", claim_id=uuid7(), budgets=budgets,
            ),
            "claims",
        )  # fmt: skip
        return got.jobs

    async def _requeue(self, job: ClaimedJob) -> None:
        """Report that nothing was done; the question is due again at once."""
        again = Requeueing(job.id, job.attempt, timedelta(0), counts=True, error="busy")

        async def put_back() -> None:
            async with transaction(self.pool) as connection:
                await requeue(connection, [again])

        async with self.vendors.telling(job.id, "requeued"):
            await self._surely(put_back, "requeued")

    async def _accept(self, job: ClaimedJob, waiting: Waiting) -> None:
        """Take the vendor's 202; now and then it got lost, and only a callback can tell."""
        request_id = None if self.chance.random() < 0.15 else f"request-{job.id}"
        waiting.request_id = request_id
        accepted = Acceptance(job.id, job.attempt, request_id, HOUR)
        await self._surely(lambda: accept(self.pool, [accepted]), "accepted")
        self.vendors.waiting.append(waiting)

    # Answers

    async def _call_back(self, waiting: Waiting, what: str) -> None:
        question = waiting.question
        charged = self.vendors.charge(question)
        outcome = Answered(question.number, charged, waiting.request_id)
        callback = Callback(question.provider, question.job_id, b"{}", outcome, PRICES[question.provider])
        times = self.chance.choice((1, 1, 1, 2))
        async with self.vendors.telling(question.job_id, "number" if question.number else "nothing"):
            recorded = await self._surely(
                lambda: record_callbacks(self.pool, [callback] * times, self.policy, None), what
            )
        self.journal.seen.update(f"callback {one.verdict}" for one in recorded)
        await self._follow(recorded[0].unswept)

    async def _end(self, ending: Ending, outcome: Outcome) -> None:
        await self._follow(await self._apply(ending, outcome))

    async def _apply(self, ending: Ending, outcome: Outcome) -> Sequence[UUID]:
        async def apply() -> Sequence[UUID]:
            async with transaction(self.pool) as connection:
                return (await apply_endings(connection, [ending], self.policy)).unswept

        async with self.vendors.telling(ending.job_id, outcome):
            return await self._surely(apply, f"ended {outcome}")

    # Ends

    async def _follow(self, searches: Sequence[UUID]) -> None:
        """Let the lookups follow, or die: before, after one chunk, or in the middle of a statement."""
        if not searches:
            return
        death = self.chance.random() if self.plan.dies else 1.0
        if death < 0.1:
            self.journal.seen["died before the chunks"] += 1
        elif death < 0.2:
            self.journal.seen["died after a chunk"] += 1
            await self._surely(lambda: end_lookups(self.pool, searches, self.policy.not_found, (), 2), "single chunks")
        elif death < 0.35:
            self.journal.seen["died in a chunk"] += 1
            try:
                async with asyncio.timeout(self.chance.random() * 0.01):
                    await follow_ends(self.pool, searches, self.policy)
            except (TimeoutError, asyncpg.DeadlockDetectedError):
                return
        else:
            await self._surely(lambda: follow_ends(self.pool, searches, self.policy), "ends followed")

    async def _nearly_follow(self, searches: Sequence[UUID]) -> None:
        """Let all lookups follow, and die before the search is marked as swept."""
        for search in searches:
            left = await self.pool.fetchval(
                "SELECT count(*) FROM lookups WHERE search_id = $1 AND final_status IS NULL", search
            )
            if left:
                chunk = lambda s=search, n=left: end_lookups(self.pool, [s], self.policy.not_found, (), n)  # noqa: E731
                await self._surely(chunk, "single chunks")

    async def _soon(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work* in a moment, before or after other work that runs meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.chance.random() * 0.02):
                await asyncio.Event().wait()
        await work()

    # How

    async def _lookup(self, condition: str) -> UUID | None:
        id: UUID | None = await self.pool.fetchval(
            f"SELECT id FROM lookups WHERE {condition} ORDER BY random() LIMIT 1"  # noqa: S608
        )
        return id

    async def _surely(self, work: Callable[[], Awaitable[Result]], what: str) -> Result:
        """Do *work*, again after a deadlock, as the processes do; anything else that goes wrong is a violation."""
        self.journal.seen[what] += 1
        for attempt in itertools.count(1):
            try:
                return await work()
            except asyncpg.DeadlockDetectedError:
                self.journal.seen[f"deadlocks: {what}"] += 1
                if attempt == DEADLOCKS_AT_MOST:
                    raise
            except asyncpg.PostgresError as error:
                self.journal.violations.append(f"{type(error).__name__} while {what}: {error}")
                raise
        raise AssertionError
