"""The job protocol as a state machine: whatever may happen, in any order, and what must hold all the while."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from submitter.outcomes import Told
from tests.conftest import SANE
from tests.model import promises
from tests.model.crms import IDENTIFIERS, MOST_OPEN, ORDERS, PEOPLE, Crms
from tests.model.nyne import Nyne
from tests.model.people import People
from tests.model.reconciling import PROVIDERS, Reconciling
from tests.model.run import PICK, chosen
from tests.model.submitters import WORKERS, Submitters
from tests.model.world import Worker


class JobProtocol(Crms, Submitters, Nyne, Reconciling, People):
    """A run in which everybody takes part: how it begins and ends, and what must hold after each step."""

    # How a run begins and ends.

    @initialize(
        truth=st.lists(st.sets(PROVIDERS).map(frozenset), min_size=PEOPLE, max_size=PEOPLE),
        policy=st.sampled_from(["next", "next", "hold"]),
        public_url=st.sampled_from([SANE["public_url"], SANE["public_url"], None]),
        budget=st.sampled_from([None, None, None, Decimal(8)]),
        the_end=st.sampled_from(["answers", "silence"]),
    )
    def begin(
        self, truth: list[frozenset[str]], policy: str, public_url: str | None, budget: Decimal | None, the_end: str
    ) -> None:
        """Who knows whose number, how the processes are set, and whether the vendors answer in the end."""
        self.the_end = the_end
        self.settings = {"unknown_policy": policy, "public_url": public_url}
        self._do(self.world.begin(truth, **self.settings, budget_credits_per_day=budget))
        self.workers = {"A": self.world.worker(), "B": self.world.worker()}
        self._look()

    def teardown(self) -> None:
        """Nothing waits for ever: whatever has happened, a bounded number of passes ends every lookup."""
        if not self.workers:
            return
        if sys.exc_info()[1] is None:
            self._settle()
        self._do(self._kill_all())

    def _settle(self) -> None:
        if self.the_end == "answers":
            self.world.vendors.dry.clear()
            self._do(self._answer_all())
            self.world.configure(**self.settings)  # the budget is no limit any more
        self._do(self._kill_all())
        for _ in range(8 * (len(self.wanted) + 1)):
            if not (self.now.open_lookups or self.now.jobs):
                break
            self._do(self._silence() if self.the_end == "silence" else self._answers())
            self._after_step()
        assert not self.now.open_lookups, "a lookup waits for ever"
        assert not self.now.jobs, "a job waits for ever"
        self._do(self._pass_of_the_reconciler())
        self._after_step()
        promises.check_followers(self.wanted, self.now, settled=True)
        self.seen.update(f"lookup {row['final_status']}" for row in self.now.lookups.values())
        self.seen.update(f"job {row['state']}" for row in self.now.finished.values())
        self.seen.update(f"callback {verdict}" for verdict in self.now.verdicts)
        self.seen.update(["run", *(f"settled by {self.the_end}" for _ in self.now.lookups)])

    async def _answers(self) -> None:
        """One pass in which everybody does what they should."""
        await self._time_passes()
        await self._pass_of_the_reconciler()
        for provider in ("leadmagic", "nyne"):
            while await self._claim("A", provider):
                await self._answer_all()
        for job in self.world.vendors.nyne_jobs:
            self.world.vendors.work(job)
        await self._execute("UPDATE jobs SET due_at = now() WHERE state = 'awaiting'")
        await self.world.poller.poll_once()
        await self.world.reconciler.give_up()

    async def _answer_all(self) -> None:
        for question in list(self.world.vendors.open_questions):
            await self._reply(question, "answer")

    async def _silence(self) -> None:
        """One pass of time, and of the reconciler alone."""
        await self._execute(
            """
            UPDATE jobs SET due_at = now(), submitted_at = submitted_at - interval '2 days';
            -- An id begins with the moment it was made: whatever is queued has been so since 1970.
            UPDATE jobs SET id = ('00000000-0000-7' || substr(id::text, 16))::uuid WHERE state = 'queued';
            """
        )
        await self.world.reconciler.end_stale()
        await self._pass_of_the_reconciler()

    async def _pass_of_the_reconciler(self) -> None:
        await self._execute("UPDATE jobs SET lease_expires_at = now() - interval '1 s' WHERE state = 'submitting'")
        await self.world.reconciler.rescue()
        await self.world.reconciler.give_up()
        await self.world.reconciler.settle_followers()
        await self._look_after_providers()

    # What happens all the time. Hypothesis leaves some rules out of each run; this one makes the others meet.

    @rule(kind=PICK, pick=PICK, by=IDENTIFIERS, order=ORDERS)
    def ordinary_life(self, kind: int, pick: int, by: tuple[str, ...], order: list[str] | None) -> None:
        """A question is asked, or answered, or called back about; or somebody is to be looked up."""
        life: list[Callable[[], None]] = [partial(self._send_event, [(pick % PEOPLE, by)], order)]
        if self._claimable():
            life.append(lambda: self.claim(pick, "asks"))
        if self.world.vendors.open_questions:
            life.append(lambda: self.reply(pick, "answer"))
        if self._callable():
            life.append(lambda: self.callback(pick, "right", twice=False, dies=False))
        if len(self.now.open_lookups) >= MOST_OPEN:
            del life[0]
        self.time_passes()
        if life:
            chosen(life, kind)()

    # What must hold.

    @invariant()
    def promises_hold(self) -> None:
        """After each step."""
        self._after_step()

    def _after_step(self) -> None:
        before = self.now
        self.step += 1
        self._do(self.world.stop_clock())
        self._look()
        promises.check_nothing_lost(self.wanted, self.acknowledged, self.now)
        promises.check_money(self.wanted, self.world.vendors, self.now)
        promises.check_history(before, self.now)
        promises.check_statuses(self.wanted, self.world.vendors, self.now)
        promises.check_followers(self.wanted, self.now, settled=False)
        self._check_questions()

    def _check_questions(self) -> None:
        """No provider was asked twice about a person, without an excuse."""
        new = [question for question in self.world.vendors.questions if question.step == self.step - 1]
        for later in new:
            for earlier in self.world.vendors.questions:
                if earlier is later:
                    break
                if earlier.provider == later.provider and earlier.keys & later.keys:
                    why = promises.excuse(earlier, later, self.wanted, self.now)
                    assert why, f"{later.provider} was asked again about person {later.human}, without an excuse"
                    self.seen[f"asked again: {why}"] += 1


class WithoutFence(JobProtocol):
    """The protocol with its fence removed: a write no longer asks which attempt it belongs to.

    It endangers "nothing is paid for twice". A submitter writes "503, ask again"; the commit succeeds, but the
    connection dies before it says so, and the submitter tries again for as long as it takes. Meanwhile another
    has claimed the job, and its question is at the vendor. The second write belongs to the first attempt. Unfenced,
    it queues the job, and a third submitter asks, and pays, while the second one's question is being answered.
    """

    @precondition(lambda self: self.world.vendors.open_questions)
    @rule(pick=PICK)
    def refuse(self, pick: int) -> None:
        """More of what the fence is there for: the job is queued again, and asked for again."""
        self.reply(pick, "busy")
        self.time_passes()

    @precondition(lambda self: self._zombies())
    @rule(pick=PICK, worker=WORKERS)
    def zombie_writes(self, pick: int, worker: str) -> None:
        """An outcome is written again while a later attempt of its job is being asked."""
        self._do(self._write_again(self.workers[worker], chosen(self._zombies(), pick)))

    def _zombies(self) -> list[Told]:
        asked_now = {row["id"]: row["attempt"] for row in self.now.jobs_in("submitting")}
        return [told for told in self.world.told if told.job.attempt < asked_now.get(told.job.id, 0)]

    async def _write_again(self, worker: Worker, told: Told) -> None:
        attempt = await self.world.pool.fetchval("SELECT attempt FROM jobs WHERE id = $1", told.job.id)
        job = replace(told.job, attempt=attempt or told.job.attempt)
        await super()._write_again(worker, replace(told, job=job))
