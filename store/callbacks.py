"""Callbacks: stored verbatim and applied, in one commit for a whole batch of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.ending import Ending
from enrichment.outcome import Answered, Outcome, Unreadable
from store.database import Db, transaction
from store.finish import Ended, finish, settle_late
from store.sweep import poll_now

OTHER_REQUEST = "it names another request than the one that was accepted"


@dataclass(frozen=True, slots=True)
class Callback:
    """A provider's message in, its token proven; *ending* turns it into the job's end, given the region hint."""

    provider: str
    job_id: UUID
    body: bytes
    outcome: Outcome
    ending: Callable[[str | None], Ending | None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a callback did; *ended* when it finished its job, *late* when it gave an ended one its answer."""

    verdict: str  # applied | late | ignored | flagged
    lookup_id: UUID | None
    ended: Ended | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """What is known of a callback's job when the callback does not finish it."""

    lookup_id: UUID
    is_open: bool
    request_id: str | None
    region: str | None


async def record_callbacks(pool: asyncpg.Pool[Any], callbacks: Sequence[Callback]) -> list[Recorded]:
    """Every callback is stored once, and has done what it could; their fates are returned in order."""
    async with transaction(pool, acknowledge=True) as connection:
        hints = await _region_hints(connection, callbacks)
        endings = [
            None if isinstance(callback.outcome, Unreadable) else callback.ending(hints.get(callback.job_id))
            for callback in callbacks
        ]
        first: dict[UUID, int] = {}
        for index, ending in enumerate(endings):
            if ending is not None:
                first.setdefault(ending.job_id, index)
        ended = await finish(connection, [e for index in first.values() if (e := endings[index]) is not None])
        rest = [c.job_id for i, c in enumerate(callbacks) if not (first.get(c.job_id) == i and c.job_id in ended)]
        jobs = await _jobs(connection, rest) if rest else {}
        recorded = [
            Recorded("applied", ended[callback.job_id].lookup_id, ended[callback.job_id])
            if first.get(callback.job_id) == index and callback.job_id in ended
            else await _not_applied(connection, callback, endings[index], jobs.get(callback.job_id))
            for index, callback in enumerate(callbacks)
        ]
        await _insert(connection, callbacks, recorded)
        if flagged := [c.job_id for c, r in zip(callbacks, recorded, strict=True) if r.verdict == "flagged"]:
            await poll_now(connection, flagged)
    return recorded


async def _not_applied(db: Db, callback: Callback, ending: Ending | None, job: _Job | None) -> Recorded:
    lookup_id = job.lookup_id if job else None
    if isinstance(callback.outcome, Unreadable):
        return Recorded("flagged", lookup_id)
    if ending is None or job is None:
        return Recorded("ignored", lookup_id)
    if job.request_id is not None and ending.request_id not in (None, job.request_id):
        return Recorded("flagged", lookup_id)
    # Another callback of the same batch was tried first, and was not for this request.
    if job.is_open and (ended := (await finish(db, [ending])).get(callback.job_id)):
        return Recorded("applied", lookup_id, ended)
    if not job.is_open and isinstance(callback.outcome, Answered) and await settle_late(db, ending):
        return Recorded("late", lookup_id)
    return Recorded("ignored", lookup_id)


async def _region_hints(db: Db, callbacks: Sequence[Callback]) -> dict[UUID, str]:
    """The region hints of those jobs whose number cannot be read without one."""
    needed = [
        c.job_id
        for c in callbacks
        if isinstance(c.outcome, Answered) and c.outcome.mobile and not c.outcome.mobile.lstrip().startswith("+")
    ]
    if not needed:
        return {}
    return {id: job.region for id, job in (await _jobs(db, needed)).items() if job.region}


async def _jobs(db: Db, ids: Sequence[UUID]) -> dict[UUID, _Job]:
    rows = await db.fetch(
        """
        SELECT known.id, known.lookup_id, known.is_open, known.request_id, lookups.region_hint
          FROM (SELECT id, lookup_id, true AS is_open, request_id FROM jobs WHERE id = ANY($1::uuid[])
                UNION ALL
                SELECT id, lookup_id, false, request_id FROM finished_jobs WHERE id = ANY($1::uuid[])) AS known
          JOIN lookups ON lookups.id = known.lookup_id
        """,
        list(ids),
    )
    return {row["id"]: _Job(row["lookup_id"], row["is_open"], row["request_id"], row["region_hint"]) for row in rows}


async def _insert(db: Db, callbacks: Sequence[Callback], recorded: Sequence[Recorded]) -> None:
    await db.execute(
        """
        INSERT INTO callbacks (job_id, body_hash, provider, lookup_id, body, verdict, flag)
        SELECT *
          FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::uuid[], $5::bytea[], $6::text[], $7::text[])
            ON CONFLICT (job_id, body_hash) DO NOTHING   -- the same message again: recorded once
        """,
        [c.job_id for c in callbacks],
        [hashlib.blake2b(c.body, digest_size=16).digest() for c in callbacks],
        [c.provider for c in callbacks],
        [r.lookup_id for r in recorded],
        [c.body for c in callbacks],
        [r.verdict for r in recorded],
        [_flag(c, r) for c, r in zip(callbacks, recorded, strict=True)],
    )


def _flag(callback: Callback, recorded: Recorded) -> str | None:
    if recorded.verdict != "flagged":
        return None
    return callback.outcome.reason if isinstance(callback.outcome, Unreadable) else OTHER_REQUEST
