"""One process of a run: it takes events in, asks, hears answers, sweeps, and dies in the middle of things."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.ending import Ending, lost, unknown
from enrichment.guards import Budget
from enrichment.outcome import Answered
from enrichment.wish import Policy
from store import lookups, providers, sweep
from store.asked import Acceptance, Requeueing, accept, requeue
from store.budgets import Room, release_affordable
from store.callbacks import Callback, record_callbacks
from store.claim import ClaimedJob, claim
from store.database import transaction
from store.endings import apply_endings, follow_ends
from store.ends import end_lookups, unswept_searches
from store.intake import Event, ingest
from store.reopened import reopen, to_decide
from tests.model.journal import Journal, Outcome, Sent
from tests.model.people import Town
from tests.model.vendor import PRICES, Vendors, Waiting, said, take_any

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


class Actor:
    """A process of a run; *number* makes its choices its own."""

    def __init__(self, plan: Plan, number: int, pool: asyncpg.Pool[Any], journal: Journal) -> None:
        self.plan = plan
        self.pool = pool
        self.journal = journal
        self.chance = random.Random(f"actor {plan.town.seed} {number}")
        self.vendors = Vendors(plan.town, self.chance, journal)
        self._numbers = itertools.count(plan.first_event)
        self._left = plan.events
        # Anything else that people and machines do (suppress, erase) is one more step with its weight.
        self._steps: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (30, self.send_events), (26, self.ask), (16, self.hear), (8, self.hear_late), (5, self.sweep),
            (4, self.retry), (1, self.retry_wrong_number), (3, self.cancel), (1.5, self.age), (3, self.rescue),
            (2, self.hold), (2, self.release), (1, self.pause), (1, self.resume),
        ]  # fmt: skip

    @property
    def policy(self) -> Policy:
        """Return the policy; for a while, Nyne is not among the PROVIDERS."""
        done = 1 - self._left / self.plan.events
        if 0.4 < done < 0.55:
            return replace(self.plan.policy, providers=("leadmagic",))
        return self.plan.policy

    async def work(self, stop: asyncio.Event) -> None:
        """Send every event of the plan, and do everything else in between; until *stop*."""
        weights = [weight for weight, _ in self._steps]
        while self._left > 0 and not stop.is_set():
            ((_, step),) = self.chance.choices(self._steps, weights)
            await step()

    async def drain(self) -> None:
        """Let everything come to an end; no process dies any more."""
        self.plan = replace(self.plan, dies=False)
        for name in PRICES:
            await providers.resume(self.pool, name)
        await self.release(all_of_it=True)
        await self.rescue()
        await self.ask()
        while self.vendors.waiting:
            await self.hear()
        if self.chance.random() < 0.5:
            await self.hear_late()
        await self.sweep()

    # Events

    async def send_events(self) -> None:
        """Send some new events in one batch, and now and then an old one again, or one twice."""
        count = min(self.chance.choice((1, 1, 3, 10, 20)), self._left)
        self._left -= count
        numbers = [next(self._numbers) for _ in range(count)]
        if self.chance.random() < 0.2:
            numbers.append(self.chance.randrange(numbers[-1] + 1))
        if self.chance.random() < 0.1:
            numbers += numbers[:2]
        wishes = [self.plan.town.wish(number) for number in numbers]
        events = [Event("generic", b"{}", (wish,)) for wish in wishes]
        if self.chance.random() < 0.3:
            events = [Event("generic", b"{}", tuple(wishes))]
        began = time.time()
        taken = await self._surely(lambda: ingest(self.pool, events, self.policy), "events sent")
        done = time.time()
        for number, one in zip(numbers, itertools.chain(*taken), strict=True):
            self.journal.sent.append(Sent(number, one.id, one.duplicate, began, done))

    # Questions

    async def ask(self) -> None:
        """Claim some jobs, ask, and write the outcomes, or die without writing."""
        provider = self.chance.choice(self.policy.providers)
        began = time.time()
        claimed = await self._claim(provider)
        for job in claimed:
            question = self.vendors.ask(provider, job, began)
            await self._tell(job, Waiting(question, job.attempt))

    async def _claim(self, provider: str, budgets: Sequence[Budget] = ()) -> Sequence[ClaimedJob]:
        got = await self._surely(
            lambda: claim(
                self.pool, provider, most=8, price=PRICES[provider], lease=LEASE,
                callback_expected=provider == "nyne", claim_id=uuid7(), budgets=budgets,
            ),
            "claims",
        )  # fmt: skip
        return got.jobs

    async def _tell(self, job: ClaimedJob, waiting: Waiting) -> None:
        kind = self.chance.random()
        stop = self.plan.policy.stops_in_doubt
        if kind < 0.06:
            self.vendors.charge(waiting.question)
            self.vendors.silent.append(waiting)
        elif self.chance.random() < self.plan.timeouts:
            self.vendors.charge(waiting.question)
            unswept = await self._apply(unknown(job.id, "timeout", attempt=job.attempt, stop=stop), "unknown")
            if self.chance.random() < 0.4:  # the answer follows at once
                await self._nearly_follow(unswept)
                sweeps = [self._soon(lambda: self._follow(unswept)) for _ in range(3)]
                await asyncio.gather(self._call_back(waiting, "late answers"), *sweeps)
            else:
                await self._follow(unswept)
                self.vendors.late.append(waiting)
        elif kind < 0.14:
            refused = Ending(job_id=job.id, state="failed", attempt=job.attempt, error="refused")
            await self._end(refused, "failed")
            if self.chance.random() < 0.2:
                self.vendors.late.append(waiting)
        elif kind < 0.2:
            await self._requeue(job)
        elif waiting.question.provider == "nyne" and self.chance.random() < 0.8:
            await self._accept(job, waiting)
        else:
            answer = self.vendors.answer(waiting.question, "inline", job.contact.region, attempt=job.attempt)
            await self._end(answer, said(answer))

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

    async def hear(self) -> None:
        """Take an answer by callback or poll, or give it up."""
        waiting = take_any(self.vendors.waiting, self.chance)
        if waiting is None:
            return
        kind = self.chance.random()
        if kind < 0.15:
            self.vendors.charge(waiting.question)
            stop = self.plan.policy.stops_in_doubt
            await self._end(lost(waiting.question.job_id, "forgotten", stop=stop), "lost")
            self.vendors.late.append(waiting)
        elif kind < 0.3:
            request = {"request_id": waiting.request_id} if waiting.request_id else {}
            answer = self.vendors.answer(waiting.question, "poll", None, **request)
            await self._end(answer, said(answer))
        else:
            await self._call_back(waiting, "callbacks")

    async def hear_late(self) -> None:
        """Take an answer to a question that was given up."""
        waiting = take_any(self.vendors.late, self.chance)
        if waiting is not None and self.chance.random() < 0.7:
            await self._call_back(waiting, "late answers")

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

    async def sweep(self) -> None:
        """Do what the reconciler does about searches."""
        searches = await unswept_searches(self.pool, 20)
        await self._surely(lambda: follow_ends(self.pool, searches, self.policy), "sweeps")
        undecided = await to_decide(self.pool)
        await self._surely(lambda: lookups.decide_all(self.pool, undecided.lookups, self.policy), "to decide")
        removed = lambda: sweep.pass_over_removed(self.pool, self.policy.providers, 50)  # noqa: E731
        self.journal.seen["passed over"] += await self._surely(removed, "sweeps")

    async def rescue(self) -> None:
        """Let the leases of dead submitters run out, and decide as the reconciler does."""
        while self.vendors.silent:
            waiting = self.vendors.silent.pop()
            job_id, attempt = waiting.question.job_id, waiting.attempt
            await self.pool.execute(
                "UPDATE jobs SET lease_expires_at = now() - interval '1 second' "
                "WHERE id = $1 AND attempt = $2 AND state = 'submitting'",
                job_id,
                attempt,
            )
            stop = self.plan.policy.stops_in_doubt
            ending = unknown(job_id, "its submitter fell silent", attempt=attempt, stop=stop)
            await self._end(replace(ending, seen_state="submitting"), "unknown")
            self.vendors.late.append(waiting)

    # People

    async def retry(self) -> None:
        """Ask again for a lookup that failed: alone, or as one of many, which the reconciler decides."""
        if id := await self._lookup("final_status IN ('failed', 'unresolved')"):
            self.journal.retried.add(id)
            alone = self.chance.random() < 0.5
            retry = lambda: lookups.retry(self.pool, id, self.policy)  # noqa: E731
            again = lambda: reopen(self.pool, [id])  # noqa: E731
            await (self._surely(retry, "retried") if alone else self._surely(again, "reopened"))

    async def retry_wrong_number(self) -> None:
        """Call a lookup's number wrong."""
        if id := await self._lookup("final_status = 'found'"):
            mobile = await self.pool.fetchval("SELECT mobile FROM lookups WHERE id = $1", id)
            self.journal.retried.add(id)
            again = lambda: lookups.retry(self.pool, id, self.policy, wrong_number=True)  # noqa: E731
            if await self._surely(again, "called wrong") and mobile:
                rows = await self.pool.fetch("SELECT id FROM searches WHERE $1 = ANY (wrong)", mobile)
                for row in rows:
                    self.journal.wrong.setdefault((row["id"], mobile), time.time())

    async def cancel(self) -> None:
        """Cancel a lookup that waits."""
        if id := await self._lookup("final_status IS NULL"):
            await self._surely(lambda: lookups.cancel(self.pool, id, self.policy), "cancelled")

    async def age(self) -> None:
        """Let a search, and the lookups that took its answer, have ended months ago."""
        days = self.chance.choice((31, 91))
        id = await self.pool.fetchval(
            "SELECT id FROM searches WHERE NOT unswept AND ended_at > now() - interval '10 days'"
            " ORDER BY random() LIMIT 1"
        )
        if id is None:
            return
        self.journal.aged.setdefault(id, time.time())
        async with transaction(self.pool) as connection:
            await connection.execute("SELECT FROM searches WHERE id = $1 FOR NO KEY UPDATE", id)
            rows = await connection.fetch(
                "UPDATE lookups SET finished_at = finished_at - $2::interval WHERE search_id = $1 RETURNING id",
                id,
                timedelta(days=days),
            )
            self.journal.aged_lookups.update(row["id"] for row in rows)
            await connection.execute(
                "UPDATE searches SET ended_at = ended_at - $2::interval WHERE id = $1", id, timedelta(days=days)
            )
        self.journal.seen["aged"] += 1

    async def hold(self) -> None:
        """Claim under a budget that allows next to nothing."""
        provider = self.chance.choice(("leadmagic", "nyne"))
        began = time.time()
        for job in await self._claim(provider, [Budget(None, "day", Decimal(1))]):
            await self._tell(job, Waiting(self.vendors.ask(provider, job, began), job.attempt))

    async def release(self, *, all_of_it: bool = False) -> None:
        """Release what was held."""
        for name in PRICES:
            limit = 500 if all_of_it else 10
            self.journal.seen["released from budget"] += await release_affordable(self.pool, name, Room(), limit)
            self.journal.seen["released from paused"] += await providers.release_paused(self.pool, name, limit)

    async def pause(self) -> None:
        """Pause a provider, and let the waiting searches take their turn at the other one."""
        name = self.chance.choice(("leadmagic", "nyne"))
        await providers.pause(self.pool, name, "out of credits", HOUR)
        self.journal.seen["turns passed"] += await self._surely(
            lambda: providers.pass_turns(self.pool, name, 50), "pauses"
        )

    async def resume(self) -> None:
        """Resume both providers."""
        for name in PRICES:
            await providers.resume(self.pool, name)

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
