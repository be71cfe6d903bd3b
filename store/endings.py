"""Apply endings: the same way for inline answers, callbacks, polls and the reconciler's decisions.

One transaction ends the jobs, counts late answers and lets the first chunk of lookups follow. `follow_ends` does the
rest of large or divided searches chunk by chunk, so that other searches wait for one chunk at most.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from enrichment.suppression import number_hash
from enrichment.wish import Hasher, Policy
from store.database import Db, transaction
from store.ends import CHUNK, Chunk, end_lookups, lock_unswept, mark
from store.finish import Ended, finish
from store.late import Late, settle_late
from store.lookups import decide_again, drop_unneeded, left_behind

if TYPE_CHECKING:
    from enrichment.ending import Ending

ROUNDS = 1000  # chunks of one call; the reconciler does the rest


@dataclass(frozen=True, slots=True)
class Applied:
    """The effects of endings: jobs that *ended*, by id; *late* answers that counted; searches still *unswept*.

    *delivers*: whether senders have something new to claim.
    """

    ended: dict[UUID, Ended]
    late: dict[UUID, Late]
    unswept: Sequence[UUID]
    delivers: bool = False

    @property
    def queues_jobs(self) -> bool:
        """Tell whether submitters have something new to claim."""
        return any(ended.next_provider for ended in self.ended.values())


async def apply_endings(
    db: Db, endings: Sequence[Ending], policy: Policy, *, verified: Collection[UUID] = ()
) -> Applied:
    """End the jobs. An answer to a job that ended before without one counts as a late answer.

    *verified*: jobs whose answer was polled by the request_id of a 202. Call inside a transaction.
    """
    endings = [_hashed(ending, policy.hash) for ending in endings]
    ended = await finish(db, endings, policy.providers)
    late: dict[UUID, Late] = {}
    for ending in endings:
        job = ended.get(ending.job_id)  # which another attempt may have ended just now, without an answer
        if ending.state == "answered" and (job is None or job.state != "answered") and ending.job_id not in late:
            settled = await settle_late(db, ending, policy.hash, verified=ending.job_id in verified)
            if settled is not None:
                late[ending.job_id] = settled
    searches = {job.search_id for job in ended.values() if job.search_status is not None}
    searches.update(id for one in late.values() for id in one.ended)
    unswept: list[UUID] = []
    delivers = False
    if going_on := [job.search_id for job in ended.values() if job.next_provider is not None]:
        unswept += await drop_unneeded(db, going_on)
    if searches:
        chunk = await _end_chunk(db, sorted(searches), policy)
        delivers = chunk.delivers
        if chunk.unswept:
            await mark(db, chunk.unswept, unswept=True)
            unswept += chunk.unswept
    return Applied(ended, late, unswept, delivers)


def _hashed(ending: Ending, hash: Hasher) -> Ending:
    return replace(ending, number_hash=number_hash(ending.mobile, hash)) if ending.mobile else ending


async def follow_ends(pool: asyncpg.Pool[Any], searches: Sequence[UUID], policy: Policy) -> int:
    """End or decide anew every lookup of these ended *searches*.

    Return how many were decided anew or have deliveries: then there is something new to claim.
    """
    unswept, news = list(searches), 0
    for _ in range(ROUNDS):
        async with transaction(pool) as connection:
            locked = await lock_unswept(connection, unswept)
            if not locked:
                break
            chunk = await _end_chunk(connection, locked, policy)
            if swept := set(locked).difference(chunk.unswept):
                await mark(connection, sorted(swept), unswept=False)
        unswept = list(chunk.unswept)
        if not unswept:
            break
        if chunk.delivers:
            news += len(chunk.lookups)
        if chunk.lookups:
            continue
        left = await left_behind(pool, unswept)
        moved = await decide_again(pool, left, policy) if left else 0
        news += moved
        if not moved:
            break  # another process is doing it
    return news


async def _end_chunk(db: Db, searches: Sequence[UUID], policy: Policy) -> Chunk:
    """End one chunk of lookups, and drop the searches that have no open lookup after that."""
    chunk = await end_lookups(db, searches, policy.not_found, policy.channels, CHUNK)
    if not chunk.left:
        return chunk
    return replace(chunk, unswept=[*chunk.unswept, *await drop_unneeded(db, chunk.left)])
