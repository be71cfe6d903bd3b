"""Nyne's queue: an accepted question becomes a job, which is worked on, finished, charged and called back about."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from sandbox.behaviours import Behaviour
from sandbox.ledger import Ledger
from sandbox.people import Person, mobile_e164

Progress = Literal["queued", "processing", "pending", "finished"]

# Shares of the working time after which a poll says `processing`, then `pending`.
PROCESSING_FROM, PENDING_FROM = 0.25, 0.75


@dataclass(slots=True)
class Job:
    """One question accepted; *number* is what was found and charged, empty until then or for a miss."""

    request_id: str
    subject: Person
    row: Behaviour
    asked: bytes
    callback_url: str | None
    seconds: float | None  # of work, None for ever
    forgotten: bool = False
    created_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)
    finished_at: float = 0.0
    number: str = ""
    polls: int = 0
    timer: asyncio.TimerHandle | None = None

    @property
    def finished(self) -> bool:
        """Tell whether the work is done."""
        return self.finished_at > 0

    def progress(self) -> Progress:
        """Return how far the work is."""
        if self.finished:
            return "finished"
        if self.seconds is None:
            return "processing"
        share = (time.monotonic() - self.started) / self.seconds if self.seconds else 1.0
        return "queued" if share < PROCESSING_FROM else "processing" if share < PENDING_FROM else "pending"


class Jobs:
    """Every job since the start or the last reset."""

    def __init__(self, ledger: Ledger, dice: random.Random, price: float) -> None:
        """Start without jobs; a number costs *price*."""
        self._ledger = ledger
        self._dice = dice
        self._price = price
        self._jobs: dict[str, Job] = {}
        self._unfinished = 0

    def accept(self, subject: Person, row: Behaviour, asked: bytes, callback_url: str | None, mean: float) -> Job:
        """Create a job whose work takes *mean* seconds on average; work_on() starts it."""
        seconds = None if row.work == "endless" else mean * self._dice.uniform(0.5, 1.5)
        dotted = row.dotted or self._dice.random() < 0.5
        job = Job(self._new_id(dotted=dotted), subject, row, asked, callback_url, seconds)
        self._jobs[job.request_id] = job
        self._unfinished += job.seconds is not None
        return job

    def work_on(self, job: Job, when_done: Callable[[Job], None]) -> None:
        """Finish the job when its time has come, unless it is endless, then call *when_done*."""

        def done() -> None:
            self.finish(job)
            when_done(job)

        if job.seconds is not None:
            job.timer = asyncio.get_running_loop().call_later(job.seconds, done)

    def finish(self, job: Job) -> None:
        """Finish the job, and charge the number that it found."""
        job.finished_at = time.time()
        self._unfinished -= 1
        if job.row.finds and not job.forgotten:
            job.number = mobile_e164(job.subject.key)
            self._ledger.keep(job.subject.key, job.asked, job.request_id, self._price, job.number)

    def find(self, request_id: str) -> Job | None:
        """Return the job with this id, None when there is none or it was forgotten."""
        job = self._jobs.get(request_id)
        return None if job is None or job.forgotten or job.row.poll == "forgotten" else job

    def another(self, job: Job) -> str:
        """Return the request_id of another job; where there is none, an id that no job has."""
        others = (request_id for request_id in reversed(self._jobs) if request_id != job.request_id)
        return next(others, None) or self._new_id(dotted=False)

    def unfinished(self) -> int:
        """Count the jobs that are at work and will finish."""
        return self._unfinished

    def clear(self) -> None:
        """Drop every job; none will finish."""
        for job in self._jobs.values():
            if job.timer is not None:
                job.timer.cancel()
        self._jobs.clear()
        self._unfinished = 0

    def _new_id(self, *, dotted: bool) -> str:
        # Both forms occur: whole seconds on the vendor's page, a fraction in the wild.
        seconds = f"{time.time():.5f}" if dotted else str(int(time.time()))
        return f"{self._dice.getrandbits(128):032x}_{seconds}_{os.getpid()}"
