"""The steps of one process of a run: events in, questions, answers, sweeps, and what people do."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg

from enrichment.ending import Ending, lost, unknown
from enrichment.guards import Budget
from store import lookups, providers, sweep
from store.budgets import Room, release_affordable
from store.claim import ClaimedJob
from store.database import transaction
from store.endings import follow_ends
from store.ends import unswept_searches
from store.intake import Event, ingest
from store.reopened import reopen, to_decide
from tests.model.journal import Journal, Sent
from tests.model.process import HOUR, Plan, Process
from tests.model.vendor import PRICES, Waiting, said, take_any


class Actor(Process):
    """A process that takes its steps at random, until its events are sent."""

    def __init__(self, plan: Plan, number: int, pool: asyncpg.Pool[Any], journal: Journal) -> None:
        super().__init__(plan, number, pool, journal)
        self._numbers = itertools.count(plan.first_event)
        # Anything else that people and machines do (suppress, erase) is one more step with its weight.
        self._steps: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (30, self.send_events), (26, self.ask), (16, self.hear), (8, self.hear_late), (5, self.sweep),
            (4, self.retry), (1, self.retry_wrong_number), (3, self.cancel), (1.5, self.age), (3, self.rescue),
            (2, self.hold), (2, self.release), (1, self.pause), (1, self.resume),
        ]  # fmt: skip

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

    # Ends

    async def sweep(self) -> None:
        """Do what the reconciler does about searches."""
        searches = await unswept_searches(self.pool, 20)
        await self._surely(lambda: follow_ends(self.pool, searches, self.policy), "sweeps")
        undecided = await to_decide(self.pool)
        await self._surely(lambda: lookups.decide_again(self.pool, undecided.lookups, self.policy), "to decide")
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
