"""Jobs end, and what follows is done: late answers count, followers end, the next provider's turn is announced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import structlog

from enrichment.ending import Ending
from enrichment.identity import ReusePolicy
from enrichment.logs import together
from store.database import transaction
from store.finish import finish, settle_late
from store.followers import release_followers

log = structlog.get_logger()


async def end_jobs(
    pool: asyncpg.Pool[Any], endings: Sequence[Ending], policy: ReusePolicy, wake: Callable[[], None]
) -> None:
    """The jobs have ended so, unless they had before; then an answer still counts where there was none."""
    if not endings:
        return
    async with transaction(pool, acknowledge=True) as connection:
        ended = await finish(connection, endings)
    with together():
        for job in ended.values():
            tell = log.info if job.state == "answered" else log.warning
            tell(
                "job_ended", job=str(job.job_id), lookup=str(job.lookup_id), provider=job.provider, state=job.state,
                status=job.status, next_provider=job.next_provider,
            )  # fmt: skip
    leaders = [job.lookup_id for job in ended.values() if job.has_followers]
    for ending in endings:
        if ending.state == "answered" and ending.job_id not in ended:
            async with transaction(pool, acknowledge=True) as connection:
                lookup_id = await settle_late(connection, ending)
            if lookup_id is not None:
                log.warning("answered_late", job=str(ending.job_id), lookup=str(lookup_id))
                leaders.append(lookup_id)
    if any(job.next_provider for job in ended.values()):
        wake()
    if leaders:
        await release_followers(pool, leaders, policy)
