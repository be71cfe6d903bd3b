"""All that is real around the model: PostgreSQL, the receiver, submitters, reconciler, and a vendor behind HTTP.

Only two things are the model's: what the vendors do, and time. Time stands still: whatever is not due yet is put
off by a day after each step, and a rule that lets something become due moves its row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import uvloop
from aiohttp.test_utils import TestServer
from enrichment.identity import ReusePolicy

from enrichment.providers import build_providers
from enrichment.providers.base import CallsBack
from enrichment.providers.limits import WINDOWS
from receiver.app import create_app
from store.database import close_pool, open_pool
from store.group_commit import GroupCommit
from store.providers import register_provider
from submitter.outcomes import OutcomeWriter, Told
from submitter.poll import Poller
from submitter.process import Process
from submitter.reconciler import Reconciler
from submitter.submit import Submitter
from submitter.transport import open_session
from tests.asgi import Answer, Client, living
from tests.conftest import TOKEN, MakeSettings
from tests.model.vendor import PATIENCE, Vendors

Result = TypeVar("Result")

FAST = 10_000_000  # requests in any window: the pace of questions is another test's
FIXED: dict[str, Any] = {
    "lease_seconds": 3600,
    "provider_timeout_seconds": 60,
    "provider_concurrency": 2,  # so that two workers share what is due
    "max_attempts": 3,
} | {f"{name}_{window}": FAST for name in ("leadmagic", "nyne") for window in WINDOWS}
TABLES = ("events", "lookups", "keys", "jobs", "finished_jobs", "callbacks", "ledger", "usage", "providers", "limits")


class World:
    """Opened once for many runs of the model; `begin` empties it."""

    def __init__(self, database_url: str, make_settings: MakeSettings) -> None:
        self._url = database_url
        self._make_settings = make_settings
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._open = AsyncExitStack()
        self.vendors: Vendors
        self.process: Process
        self.reconciler: Reconciler
        self.poller: Poller
        self.told: list[Told] = []  # what the submitters wrote down

    def __enter__(self) -> World:
        """The receiver and the vendors listen."""
        self.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        """All of it is closed."""
        self.run(self._open.aclose())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """*work* is done; nothing waits longer than PATIENCE."""

        async def bounded() -> Result:
            async with asyncio.timeout(2 * PATIENCE):
                return await work

        return self._runner.run(bounded())

    async def _start(self) -> None:
        self.pool = await open_pool(self._url, name="model", size=8)
        self._open.push_async_callback(close_pool, self.pool)
        self.vendors = Vendors()
        server = TestServer(self.vendors.app())
        await server.start_server()
        self._open.push_async_callback(server.close)
        address = str(server.make_url("/"))
        self._bases = {f"{name}_base_url": f"{address}{name}" for name in ("leadmagic", "nyne")}
        self._sessions = {}
        for name in ("leadmagic", "nyne"):
            session = open_session(limit=100, timeout=60)
            self._sessions[name] = await self._open.enter_async_context(session)
        app = create_app(self._make_settings(**self._bases, **FIXED), self.pool, self._url)
        await self._open.enter_async_context(living(app))
        self._client = Client(app, {"authorization": f"Bearer {TOKEN}"})

    async def begin(self, truth: Sequence[frozenset[str]], **settings: Any) -> None:
        """An empty database, vendors that know *truth*, and processes with these *settings*."""
        self.vendors.begin(truth)
        self.told.clear()
        await self.pool.execute("; ".join(f"DELETE FROM {table}" for table in TABLES))  # noqa: S608
        self.configure(**settings)
        for provider in self.process.providers.values():
            ceilings = dict.fromkeys(WINDOWS.values(), FAST)
            await register_provider(self.pool, provider.name, provider.limits, ceilings)

    def configure(self, **settings: Any) -> None:
        """From now on, processes start with these settings; the reconciler has started again."""
        made = self._make_settings(**(self._bases | FIXED | settings))
        policy = ReusePolicy(timedelta(days=made.reuse_found_days), timedelta(days=made.reuse_not_found_days))
        self.process = Process(made, self._url, self.pool, build_providers(made), self._sessions, policy)
        self.reconciler = Reconciler(self.process, _nobody_sleeps)
        nyne = self.process.providers["nyne"]
        assert isinstance(nyne, CallsBack)
        self.poller = Poller(nyne, self.process, _nobody_sleeps)

    def worker(self) -> Worker:
        """A submitter process has started."""
        return Worker(self.process, self.told)

    async def post(self, path: str, body: Any = b"", *, dies: bool = False) -> Answer:
        """The receiver's answer, and all that it does afterwards; unless it *dies* right after answering."""
        before = asyncio.all_tasks()
        answer = await self._client.post(path, body)
        await asyncio.sleep(0)  # what was started begins
        if followed_up := asyncio.all_tasks() - before:
            if dies:
                for task in followed_up:
                    task.cancel()
            _, late = await asyncio.wait(followed_up, timeout=PATIENCE)
            assert not late
        return answer

    async def stop_clock(self) -> None:
        """What is not due now will not be, until the model says so."""
        await self.pool.execute(
            """
            UPDATE jobs
               SET due_at = now() + interval '1 day'
             WHERE due_at > now();
            UPDATE providers
               SET rest_until = CASE WHEN rest_until > now() THEN now() + interval '1 day' END,
                   open_until = CASE WHEN open_until > now() THEN now() + interval '1 day' END,
                   check_at   = CASE WHEN check_at IS NOT NULL THEN now() + interval '1 day' END
            """
        )


class Worker:
    """One submitter process: a real Submitter for each provider, stepped by the model."""

    def __init__(self, process: Process, told: list[Told]) -> None:
        self.writer = OutcomeWriter(process.pool, process.settings, process.policy, _nobody_sleeps)

        async def write(batch: Sequence[Told]) -> Sequence[None]:
            told.extend(batch)
            return await self.writer.write(batch)

        outcomes: GroupCommit[Told, None] = GroupCommit(write)
        self.submitters = {
            name: Submitter(provider, process.pool, process.sessions[name], process.settings, outcomes, self.writer)
            for name, provider in process.providers.items()
        }

    def busy(self, provider: str) -> int:
        """How many questions of this provider are in flight."""
        return len(self.submitters[provider]._in_flight)

    async def written(self, provider: str, job_ids: Iterable[UUID]) -> None:
        """The outcomes of these questions are written."""
        submitter, awaited = self.submitters[provider], set(job_ids)
        while any(held.job.id in awaited for held in submitter._in_flight.values()):
            await asyncio.wait(submitter._tasks, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)

    async def die(self) -> None:
        """Killed: what was in flight is nobody's any more."""
        tasks = [task for submitter in self.submitters.values() for task in submitter._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)


def _nobody_sleeps() -> None:
    """The model wakes everybody itself."""
