"""The job protocol as a state machine: whatever may happen, in any order, and what must hold all the while."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enrichment.identifiers import read_contact
from enrichment.store import asked
from submitter.outcomes import Told
from tests.conftest import SANE
from tests.model import promises
from tests.model.promises import Wanted, read_snapshot
from tests.model.vendor import NOTHING_DONE, OTHER_REQUEST, NyneJob, Question
from tests.model.world import FIXED, Worker, World

Thing = TypeVar("Thing")

PEOPLE = 2
MOST_OPEN = 5  # lookups; the fewer there are, the more happens to each
PICK = st.integers(0, 15)  # which of the things at hand
WORKERS = st.sampled_from(["A", "B"])
PROVIDERS = st.sampled_from(["leadmagic", "nyne"])
IDENTIFIERS = st.sampled_from(
    [("in",), ("work",), ("home",), ("in", "work"), ("work", "home"), ("in", "work", "home"), ("name",)]
)
ORDERS = st.sampled_from([None, None, ["nyne", "leadmagic"], ["nyne", "leadmagic"], ["leadmagic"], ["nyne"]])
REPLIES = ["answer"] * 8 + ["quick", "busy", "internal", "throttled", "dry", "refused"]
DOUBTFUL_REPLIES = ["cut before", "cut after", "gateway", "garbage"]
CALLBACKS = st.sampled_from(["right", "right", "right", "failed", "still at work", "unreadable", "of another request"])


class JobProtocol(RuleBasedStateMachine):
    """A run of the model; *world* is what it acts upon."""

    world: ClassVar[World]
    seen: ClassVar[Counter[str]]  # what the runs came across, so that a test can say that they saw everything

    def __init__(self) -> None:
        """Nothing has happened yet."""
        super().__init__()
        self.step = 0
        self.numbers = itertools.count(1)
        self.wanted: dict[UUID, Wanted] = {}
        self.events: list[tuple[dict[str, Any], list[UUID]]] = []
        self.acknowledged: set[tuple[UUID, bytes]] = set()
        self.workers: dict[str, Worker] = {}
        self.now = promises.NOTHING
        self.the_end = "answers"
        self.settings: dict[str, Any] = {}

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
            _pick(life, kind)()

    # What CRMs do.

    @precondition(lambda self: len(self.now.open_lookups) < MOST_OPEN)
    @rule(person=st.integers(0, PEOPLE - 1), by=IDENTIFIERS, order=ORDERS)
    def event(self, person: int, by: tuple[str, ...], order: list[str] | None) -> None:
        """Somebody is to be looked up."""
        self._send_event([(person, by)], order)

    @precondition(lambda self: len(self.now.open_lookups) < MOST_OPEN and self._now_and_then(3))
    @rule(people=st.lists(st.tuples(st.integers(0, PEOPLE - 1), IDENTIFIERS), min_size=2, max_size=3))
    def batch(self, people: list[tuple[int, tuple[str, ...]]]) -> None:
        """Several at the same instant, perhaps the same person."""
        self._send_event(people, None)

    @precondition(lambda self: self.events and self._now_and_then(6))
    @rule(pick=PICK)
    def same_event_again(self, pick: int) -> None:
        """A CRM sends what it sent before: the same lookups, and nothing new."""
        body, ids = _pick(self.events, pick)
        answer = self._do(self.world.post("/events/generic", body))
        assert [(UUID(one["id"]), one["duplicate"]) for one in answer.json()["lookups"]] == [(id, True) for id in ids]

    def _now_and_then(self, steps: int) -> bool:
        """What changes little, or ends much, may happen at one step in so many."""
        return self.step % steps == 0

    def _send_event(self, people: Sequence[tuple[int, tuple[str, ...]]], order: list[str] | None) -> None:
        contacts = [_contact(person, by, order) for person, by in people]
        body = {"event_id": f"evt-{next(self.numbers)}", "contacts": contacts}
        answer = self._do(self.world.post("/events/generic", body))
        assert answer.status == 202, answer.body
        ids = [UUID(one["id"]) for one in answer.json()["lookups"]]
        self.events.append((body, ids))
        for id, contact, (person, _) in zip(ids, contacts, people, strict=True):
            known = {name: value for name, value in contact.items() if name != "providers"}
            self.wanted[id] = Wanted(id, person, read_contact(**known).keys())

    # What submitters do, and what becomes of them.

    @precondition(lambda self: self._claimable())
    @rule(pick=PICK, fate=st.sampled_from(["asks"] * 8 + ["was frozen", "dies"]))
    def claim(self, pick: int, fate: str) -> None:
        """A submitter claims what is due, and asks; or it was frozen meanwhile, or is killed before it asks."""
        worker, provider = _pick(self._claimable(), pick)
        self._do(self._claim(worker, provider, fate))

    def _claimable(self) -> list[tuple[str, str]]:
        due = sorted({row["provider"] for row in self.now.jobs_in("queued") if row["is_due"] and not row["held"]})
        slots = FIXED["provider_concurrency"]
        return [(name, one) for one in due for name in self.workers if self.workers[name].busy(one) < slots]

    @precondition(lambda self: self.world.vendors.open_questions)
    @rule(pick=PICK, kind=st.sampled_from(REPLIES + DOUBTFUL_REPLIES))
    def reply(self, pick: int, kind: str) -> None:
        """A vendor answers a question, or its answer is lost."""
        self._do(self._reply(_pick(self.world.vendors.open_questions, pick), kind))

    @precondition(lambda self: self.world.told and self._now_and_then(2))
    @rule(pick=PICK, worker=WORKERS)
    def write_again(self, pick: int, worker: str) -> None:
        """An outcome was written, but the database did not say so: it is written again, however late."""
        self._do(self._write_again(self.workers[worker], self.world.told[-1 - pick % len(self.world.told)]))

    @precondition(lambda self: self.now.jobs_in("submitting"))
    @rule(pick=PICK)
    def lease_expires(self, pick: int) -> None:
        """A submitter fell silent, though it may come back."""
        id = _pick(self.now.jobs_in("submitting"), pick)["id"]
        self._do(self._execute("UPDATE jobs SET lease_expires_at = now() - interval '1 s' WHERE id = $1", id))

    @precondition(lambda self: self.now.jobs_in("submitting") and self._now_and_then(4))
    @rule(worker=WORKERS)
    def renew(self, worker: str) -> None:
        """A submitter renews its leases; only what is still its own runs on."""
        self._do(self._renew(self.workers[worker]))

    @precondition(lambda self: self.world.vendors.open_questions and self._now_and_then(4))
    @rule(worker=WORKERS)
    def crash(self, worker: str) -> None:
        """A submitter is killed, and another takes its place."""
        self._do(self._kill(worker))

    @precondition(lambda self: self.now.shut or not all(row["is_due"] for row in self.now.jobs_in("queued")))
    @rule()
    def time_passes(self) -> None:
        """What was to be asked again later is due, rests end, and the breaker tries again."""
        self._do(self._time_passes())

    async def _claim(self, worker: str, provider: str, fate: str = "asks") -> int:
        """How many questions were claimed."""
        submitter = self.workers[worker].submitters[provider]
        claimed = await submitter.claim_once()
        self.seen.update(["claimed"] * len(claimed.jobs))
        if fate == "dies":
            await self._kill(worker)  # not one of its tasks has begun
        elif fate == "was frozen":
            for held in submitter._in_flight.values():
                if held.job in claimed.jobs:
                    held.lease_until = 0.0
            await self.workers[worker].written(provider, [job.id for job in claimed.jobs])
        else:
            jobs = list(claimed.jobs)
            for question in await self.world.vendors.arrived(len(jobs)):
                job = next(job for job in jobs if submitter.provider.submit(job.contact, None).body == question.body)
                jobs.remove(job)
                question.worker, question.job_id, question.lookup_id = worker, job.id, job.lookup_id
                question.keys, question.step = job.contact.keys(), self.step
        rows = await self.world.pool.fetch(
            "SELECT id, final_status::text FROM lookups WHERE id = ANY($1::uuid[])",
            [job.lookup_id for job in claimed.jobs],
        )
        assert all(row["final_status"] is None for row in rows), "somebody was asked for a lookup that has its end"
        return len(claimed.jobs)

    async def _reply(self, question: Question, kind: str) -> None:
        if question.provider == "leadmagic" and kind == "quick":
            kind = "answer"
        if question.provider == "nyne" and kind == "internal":
            kind = "busy"
        if question.nyne_job is not None and kind in NOTHING_DONE:
            kind = "gateway"  # Nyne has taken it: whatever it says now, it does not say that nothing was done
        self.world.vendors.reply(question, kind)
        if question.worker and question.job_id:
            await self.workers[question.worker].written(question.provider, [question.job_id])

    async def _write_again(self, worker: Worker, told: Told) -> None:
        await worker.writer.write([told])

    async def _renew(self, worker: Worker) -> None:
        held = [(one.job.id, one.job.attempt) for s in worker.submitters.values() for one in s._in_flight.values()]
        ours = await asked.renew(self.world.pool, held, self.world.process.settings.lease)
        open_ = {row["id"]: row["attempt"] for row in self.now.jobs.values() if row["state"] == "submitting"}
        assert ours == {id for id, attempt in held if open_.get(id) == attempt}

    async def _kill(self, worker: str) -> None:
        await self.workers[worker].die()
        for question in self.world.vendors.open_questions:
            if question.worker == worker:
                question.worker = ""
        self.workers[worker] = self.world.worker()

    async def _kill_all(self) -> None:
        for worker in self.workers:
            await self._kill(worker)

    async def _time_passes(self) -> None:
        await self._execute(
            """
            UPDATE jobs SET due_at = now() WHERE state = 'queued';
            UPDATE providers SET rest_until = NULL, open_until = NULL;
            """
        )

    # What Nyne does, apart from answering questions.

    @precondition(lambda self: any(q.provider == "nyne" for q in self.world.vendors.open_questions))
    @rule(pick=PICK)
    def nyne_takes(self, pick: int) -> None:
        """Nyne has the question, and its 202 is on its way."""
        self.world.vendors.take(_pick([q for q in self.world.vendors.open_questions if q.provider == "nyne"], pick))

    @precondition(lambda self: self.world.vendors.nyne_jobs)
    @rule(pick=PICK, status=st.sampled_from(["completed", "completed", "failed"]))
    def nyne_works(self, pick: int, status: str) -> None:
        """A job at Nyne is done, or failed."""
        self.world.vendors.work(_pick(self.world.vendors.nyne_jobs, pick), status)

    @precondition(lambda self: self.world.vendors.nyne_jobs and self._now_and_then(4))
    @rule(pick=PICK)
    def nyne_forgets(self, pick: int) -> None:
        """Nyne does not know a request any more."""
        _pick(self.world.vendors.nyne_jobs, pick).status = "forgotten"

    @precondition(lambda self: self._callable())
    @rule(pick=PICK, kind=CALLBACKS, twice=st.booleans(), dies=st.booleans())
    def callback(self, pick: int, kind: str, twice: bool, dies: bool) -> None:
        """Nyne calls back: early, late, again, or with something that is not the answer."""
        job = _pick(self._callable(), pick)
        body = self._callback_body(job, kind)
        if body is not None:
            self._do(self._call_back(job, body, times=1 + twice, dies=dies))

    @precondition(lambda self: len({_path(job) for job in self._callable()}) > 1 and self._now_and_then(6))
    @rule(pick=PICK)
    def forged_callback(self, pick: int) -> None:
        """Somebody who knows one callback URL tries it on another job."""
        paths = list(dict.fromkeys(_path(job) for job in self._callable()))
        token = _pick(paths, pick).rpartition("/")[2]
        answer = self._do(self.world.post(_pick(paths, pick + 1).rpartition("/")[0] + f"/{token}", b"{}"))
        assert (answer.status, answer.body) == (404, b"")

    @precondition(lambda self: any(row["request_id"] for row in self.now.jobs.values()))
    @rule()
    def poll(self) -> None:
        """Whatever awaits an answer is polled."""
        due = "UPDATE jobs SET due_at = now() WHERE state = 'awaiting' AND request_id IS NOT NULL"
        self._do(self._execute(due), self.world.poller.poll_once())

    def _callable(self) -> list[NyneJob]:
        return [job for job in self.world.vendors.nyne_jobs if job.callback_url]

    def _callback_body(self, job: NyneJob, kind: str) -> bytes | None:
        match kind:
            case "right" | "failed":
                self.world.vendors.work(job, "completed" if kind == "right" else "failed")
                return json.dumps(job.body()).encode() if job.status != "forgotten" else None
            case "still at work":
                return json.dumps({"request_id": job.request_id, "status": "processing"}).encode()
            case "unreadable":
                return b'{"request_id": "' + job.request_id.encode()
        # Before our 202, no one can tell that it is another's: without a number, it does no harm.
        return json.dumps({"request_id": OTHER_REQUEST, "status": "completed", "result": {}}).encode()

    async def _call_back(self, job: NyneJob, body: bytes, *, times: int, dies: bool) -> None:
        posts = [self.world.post(_path(job), body, dies=dies) for _ in range(times)]
        for answer in await asyncio.gather(*posts):
            assert answer.status == 200, answer.body
        self.acknowledged.add((UUID(_path(job).split("/")[3]), body))

    # What the reconciler does, and what it waits for.

    @precondition(lambda self: any(row["is_expired"] for row in self.now.jobs.values()))
    @rule()
    def rescue(self) -> None:
        """Expired leases are taken over."""
        self._do(self.world.reconciler.rescue())

    @precondition(lambda self: self.now.jobs_in("awaiting") and self._now_and_then(2))
    @rule(pick=PICK)
    def deadline(self, pick: int) -> None:
        """A job has awaited its answer for too long."""
        id = _pick(self.now.jobs_in("awaiting"), pick)["id"]
        past = "UPDATE jobs SET due_at = now(), submitted_at = now() - interval '25 hours' WHERE id = $1"
        self._do(self._execute(past, id), self.world.reconciler.give_up())

    @precondition(lambda self: self.now.left_behind)
    @rule()
    def settle_followers(self) -> None:
        """Followers that somebody left behind are looked after."""
        self._do(self.world.reconciler.settle_followers())

    @precondition(lambda self: self.now.paused or any(row["held"] for row in self.now.jobs.values()))
    @rule(topped_up=st.sets(PROVIDERS))
    def look_after_providers(self, topped_up: set[str]) -> None:
        """Some accounts have credits again; paused providers are asked how they are."""
        self.world.vendors.dry -= topped_up
        self._do(self._look_after_providers())

    async def _look_after_providers(self) -> None:
        await self._execute("UPDATE providers SET check_at = now() WHERE paused_at IS NOT NULL")
        await self.world.reconciler.look_after_providers()

    # What people decide.

    @precondition(lambda self: self._undecided() and self._now_and_then(2))
    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        """A person wants a lookup to be tried again."""
        wanted = _pick(self._undecided(), pick)
        row = self.now.lookups[wanted.id]
        held = any(job["held"] and job["lookup_id"] == wanted.id for job in self.now.jobs.values())
        answer = self._do(self.world.post(f"/v1/lookups/{wanted.id}/retry"))
        allowed = row["final_status"] in ("failed", "unresolved") or (row["final_status"] is None and held)
        assert answer.status == (202 if allowed else 409), answer.body
        if row["final_status"] is not None and allowed:
            wanted.retried_at = self.step

    @precondition(lambda self: self._undecided() and self._now_and_then(6))
    @rule(pick=PICK, dies=st.booleans())
    def cancel(self, pick: int, dies: bool) -> None:
        """A person wants no more of a lookup."""
        wanted = _pick(self._undecided(), pick)
        row = self.now.lookups[wanted.id]
        asked_now = any(job["lookup_id"] == wanted.id for job in self.now.jobs_in("submitting", "awaiting"))
        answer = self._do(self.world.post(f"/v1/lookups/{wanted.id}/cancel", dies=dies))
        allowed = row["final_status"] in ("failed", "unresolved") or (row["final_status"] is None and not asked_now)
        assert answer.status == (200 if allowed else 409), answer.body
        wanted.cancelled = wanted.cancelled or allowed

    def _undecided(self) -> list[Wanted]:
        ended = ("found", "not_found", "cancelled")
        return [one for id, one in self.wanted.items() if self.now.lookups[id]["final_status"] not in ended]

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

    def _look(self) -> None:
        before = self.now.lookups
        self.now = self._do(read_snapshot(self.world.pool, self.now))
        for id, row in self.now.lookups.items():
            wanted, old = self.wanted[id], before.get(id)
            status = row["final_status"] or "open"
            if not wanted.statuses or wanted.statuses[-1][1] != status:
                wanted.statuses.append((self.step, status))
            began = old is None or old["reused_from"] is not None or (old["final_status"] and status == "open")
            if began and row["reused_from"] is None:
                wanted.leads_since = self.step
        self.seen.update({f"held for {row['held']}" for row in self.now.jobs.values() if row["held"]})
        self.seen["step"] += 1

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

    async def _execute(self, statement: str, *arguments: Any) -> None:
        await self.world.pool.execute(statement, *arguments)

    def _do(self, *work: Any) -> Any:
        result = None
        for one in work:
            result = self.world.run(one)
        return result


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
        self._do(self._write_again(self.workers[worker], _pick(self._zombies(), pick)))

    def _zombies(self) -> list[Told]:
        asked_now = {row["id"]: row["attempt"] for row in self.now.jobs_in("submitting")}
        return [told for told in self.world.told if told.job.attempt < asked_now.get(told.job.id, 0)]

    async def _write_again(self, worker: Worker, told: Told) -> None:
        attempt = await self.world.pool.fetchval("SELECT attempt FROM jobs WHERE id = $1", told.job.id)
        job = replace(told.job, attempt=attempt or told.job.attempt)
        await super()._write_again(worker, replace(told, job=job))


def _pick(things: Sequence[Thing], number: int) -> Thing:
    return things[number % len(things)]


def _path(job: NyneJob) -> str:
    assert job.callback_url is not None
    return urlsplit(job.callback_url).path


def _contact(person: int, by: tuple[str, ...], order: list[str] | None) -> dict[str, Any]:
    """Somebody as a CRM knows them, by some of their identifiers."""
    identifiers = {
        "in": {"profile_url": f"https://www.linkedin.com/in/jane-{person}"},
        "work": {"work_email": f"jane{person}@acme.co"},
        "home": {"personal_email": f"jane{person}@home.org"},
        "name": {"name": f"Jane {person}", "company": "Acme"},
    }
    contact: dict[str, Any] = {}
    for one in by:
        contact |= identifiers[one]
    if order and not (by == ("name",) and "nyne" not in order):
        contact["providers"] = order
    return contact
