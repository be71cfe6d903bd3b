"""Nyne, in a run of the model: it works, forgets, and calls back, rightly or not; or somebody else does."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.run import PICK, Run, chosen
from tests.model.vendor import OTHER_REQUEST, NyneJob

CALLBACKS = st.sampled_from(["right", "right", "right", "failed", "still at work", "unreadable", "of another request"])


class Nyne(Run):
    """What Nyne does, apart from answering questions."""

    @precondition(lambda self: any(q.provider == "nyne" for q in self.world.vendors.open_questions))
    @rule(pick=PICK)
    def nyne_takes(self, pick: int) -> None:
        """Nyne has the question, and its 202 is on its way."""
        self.world.vendors.take(chosen([q for q in self.world.vendors.open_questions if q.provider == "nyne"], pick))

    @precondition(lambda self: self.world.vendors.nyne_jobs)
    @rule(pick=PICK, status=st.sampled_from(["completed", "completed", "failed"]))
    def nyne_works(self, pick: int, status: str) -> None:
        """A job at Nyne is done, or failed."""
        self.world.vendors.work(chosen(self.world.vendors.nyne_jobs, pick), status)

    @precondition(lambda self: self.world.vendors.nyne_jobs and self._now_and_then(4))
    @rule(pick=PICK)
    def nyne_forgets(self, pick: int) -> None:
        """Nyne does not know a request any more."""
        chosen(self.world.vendors.nyne_jobs, pick).status = "forgotten"

    @precondition(lambda self: self._callable())
    @rule(pick=PICK, kind=CALLBACKS, twice=st.booleans(), dies=st.booleans())
    def callback(self, pick: int, kind: str, twice: bool, dies: bool) -> None:
        """Nyne calls back: early, late, again, or with something that is not the answer."""
        job = chosen(self._callable(), pick)
        body = self._callback_body(job, kind)
        if body is not None:
            self._do(self._call_back(job, body, times=1 + twice, dies=dies))

    @precondition(lambda self: len({_path(job) for job in self._callable()}) > 1 and self._now_and_then(6))
    @rule(pick=PICK)
    def forged_callback(self, pick: int) -> None:
        """Somebody who knows one callback URL tries it on another job."""
        paths = list(dict.fromkeys(_path(job) for job in self._callable()))
        token = chosen(paths, pick).rpartition("/")[2]
        answer = self._do(self.world.post(chosen(paths, pick + 1).rpartition("/")[0] + f"/{token}", b"{}"))
        assert (answer.status, answer.body) == (404, b"")

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


def _path(job: NyneJob) -> str:
    assert job.callback_url is not None
    return urlsplit(job.callback_url).path
