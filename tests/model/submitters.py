"""Two submitters, in a run of the model: they claim, ask and write, fall silent, are killed, and write again."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from store import asked
from submitter.outcomes import Told
from tests.model.run import PICK, Run, chosen
from tests.model.vendor import NOTHING_DONE, Question
from tests.model.world import FIXED, Worker

WORKERS = st.sampled_from(["A", "B"])
REPLIES = ["answer"] * 8 + ["quick", "busy", "internal", "throttled", "dry", "refused"]
DOUBTFUL_REPLIES = ["cut before", "cut after", "gateway", "garbage"]


class Submitters(Run):
    """What submitters do, and what becomes of them."""

    @precondition(lambda self: self._claimable())
    @rule(pick=PICK, fate=st.sampled_from(["asks"] * 8 + ["was frozen", "dies"]))
    def claim(self, pick: int, fate: str) -> None:
        """A submitter claims what is due, and asks; or it was frozen meanwhile, or is killed before it asks."""
        worker, provider = chosen(self._claimable(), pick)
        self._do(self._claim(worker, provider, fate))

    def _claimable(self) -> list[tuple[str, str]]:
        due = sorted({row["provider"] for row in self.now.jobs_in("queued") if row["is_due"] and not row["held"]})
        slots = FIXED["provider_concurrency"]
        return [(name, one) for one in due for name in self.workers if self.workers[name].busy(one) < slots]

    @precondition(lambda self: self.world.vendors.open_questions)
    @rule(pick=PICK, kind=st.sampled_from(REPLIES + DOUBTFUL_REPLIES))
    def reply(self, pick: int, kind: str) -> None:
        """A vendor answers a question, or its answer is lost."""
        self._do(self._reply(chosen(self.world.vendors.open_questions, pick), kind))

    @precondition(lambda self: self.world.told and self._now_and_then(2))
    @rule(pick=PICK, worker=WORKERS)
    def write_again(self, pick: int, worker: str) -> None:
        """An outcome was written, but the database did not say so: it is written again, however late."""
        self._do(self._write_again(self.workers[worker], self.world.told[-1 - pick % len(self.world.told)]))

    @precondition(lambda self: self.now.jobs_in("submitting"))
    @rule(pick=PICK)
    def lease_expires(self, pick: int) -> None:
        """A submitter fell silent, though it may come back."""
        id = chosen(self.now.jobs_in("submitting"), pick)["id"]
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
