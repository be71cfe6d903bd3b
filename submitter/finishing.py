"""End jobs for the submitter and the reconciler, and log it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from enrichment.ending import Ending
from store.database import UNREACHABLE, transaction
from store.endings import Applied, apply_endings
from store.installation import Installation
from store.sweeper import Sweeper

log = structlog.get_logger()


class Finisher:
    """Ends jobs in one commit, wakes submitters for the next providers, and queues large searches to be swept.

    *deliver* wakes those who deliver results; without it, *wake* does.
    """

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        installation: Installation,
        wake: Callable[[], None],
        deliver: Callable[[], None] | None = None,
    ) -> None:
        self._pool = pool
        self._installation = installation
        self.wake = wake
        self._deliver = deliver or wake
        self.sweeper = Sweeper(pool, installation, wake)

    async def end(self, endings: Sequence[Ending], *, verified: Collection[UUID] = ()) -> Applied:
        """End the jobs. An answer to a job that ended before without one counts as a late answer.

        *verified*: jobs whose answer was polled by the request_id of a 202.
        """
        if not endings:
            return Applied({}, {}, ())
        policy = await self._installation.policy()
        async with transaction(self._pool, acknowledge=True) as connection:
            applied = await apply_endings(connection, endings, policy, verified=verified)
        log_applied(applied)
        if applied.queues_jobs:
            self.wake()
        if applied.delivers:
            self._deliver()
        self.sweeper.add(applied.unswept)
        return applied

    async def end_apart(self, endings: Sequence[Ending], *, verified: Collection[UUID] = ()) -> Applied:
        """End the jobs together or, if that fails, each alone. Log the jobs that fail: they stay open."""
        try:
            return await self.end(endings, verified=verified)
        except asyncpg.PostgresError as error:
            if isinstance(error, UNREACHABLE):
                raise
        applied = Applied({}, {}, ())
        for ending in endings:
            try:
                one = await self.end([ending], verified=verified)
            except asyncpg.PostgresError as error:
                if isinstance(error, UNREACHABLE):
                    raise
                log.exception("ending_not_written", job=str(ending.job_id))
            else:
                applied = Applied(applied.ended | one.ended, applied.late | one.late, ())
        return applied


def log_applied(applied: Applied) -> None:
    """Log the ended jobs of one commit, one line for each way in which they ended."""
    groups: dict[tuple[str, str, str | None, str | None], list[str]] = {}
    for job in applied.ended.values():
        key = (job.provider, job.state, job.search_status, job.next_provider)
        groups.setdefault(key, []).append(str(job.job_id))
    for (provider, state, status, next_provider), jobs in groups.items():
        tell = log.info if state == "answered" else log.warning
        tell("jobs_ended", provider=provider, state=state, search=status, next_provider=next_provider, jobs=jobs)
    for job_id, late in applied.late.items():
        log.warning("answered_late", job=str(job_id), lookup=str(late.lookup_id))
