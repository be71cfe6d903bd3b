"""Ends jobs for the submitter and the reconciler, and says so in the log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from enrichment.ending import Ending
from store.database import transaction
from store.endings import Applied, apply_endings
from store.finish import Ended
from store.group_commit import ONE_ROW_AT_FAULT
from store.installation import Installation
from store.late import Late
from store.sweeper import Sweeper

log = structlog.get_logger()


class Finisher:
    """Ends jobs in one commit, wakes submitters for the next providers, and has large searches swept."""

    def __init__(self, pool: asyncpg.Pool[Any], installation: Installation, wake: Callable[[], None]) -> None:
        self._pool = pool
        self._installation = installation
        self.wake = wake
        self.sweeper = Sweeper(pool, installation, wake)

    async def end(self, endings: Sequence[Ending], *, verified: Collection[UUID] = ()) -> Applied:
        """End the jobs, unless they had ended before; then a late answer still counts.

        *verified* are jobs whose answer was polled by the request_id of a 202.
        """
        if not endings:
            return Applied({}, {}, ())
        policy = await self._installation.policy()
        try:
            async with transaction(self._pool) as connection:
                applied = await apply_endings(connection, endings, policy, verified=verified)
        except ONE_ROW_AT_FAULT:
            if len(endings) == 1:
                raise
            return await self._end_one_by_one(endings, verified)
        log_applied(applied)
        if applied.queues_jobs:
            self.wake()
        self.sweeper.add(applied.unswept)
        return applied

    async def _end_one_by_one(self, endings: Sequence[Ending], verified: Collection[UUID]) -> Applied:
        """End each alone, so that one which cannot be written takes no neighbour along."""
        ended: dict[UUID, Ended] = {}
        late: dict[UUID, Late] = {}
        failed: Exception | None = None
        for ending in endings:
            try:
                applied = await self.end([ending], verified=verified)
            except ONE_ROW_AT_FAULT as error:
                log.exception("ending_not_written", job=str(ending.job_id))
                failed = error
                continue
            ended |= applied.ended
            late |= applied.late
        if failed is not None and not ended and not late:
            raise failed
        return Applied(ended, late, ())


def log_applied(applied: Applied) -> None:
    """Log the ended jobs of one commit in one line for each way in which they ended."""
    groups: dict[tuple[str, str, str | None, str | None], list[str]] = {}
    for job in applied.ended.values():
        key = (job.provider, job.state, job.search_status, job.next_provider)
        groups.setdefault(key, []).append(str(job.job_id))
    for (provider, state, status, next_provider), jobs in groups.items():
        tell = log.info if state == "answered" else log.warning
        tell("jobs_ended", provider=provider, state=state, search=status, next_provider=next_provider, jobs=jobs)
    for job_id, late in applied.late.items():
        log.warning("answered_late", job=str(job_id), lookup=str(late.lookup_id))
