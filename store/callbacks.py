"""Store callbacks verbatim and apply them, a whole batch in one commit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import getitem, itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import structlog

from enrichment.ending import Ending, read_ending
from enrichment.outcome import Answered, Outcome, Refused, Unreadable
from enrichment.states import Verdict
from enrichment.suppression import job_hash, number_hash
from store.columns import Columns
from store.database import UNREACHABLE, Db, transaction
from store.endings import Applied, apply_endings
from store.finish import Ended
from store.partitions import first_id
from store.polls import poll_by, poll_now
from store.retention import walk_again

if TYPE_CHECKING:
    from enrichment.wish import Hasher, Policy

log = structlog.get_logger()

OTHER_REQUEST = "it names another request than the one that was accepted"
LATE = timedelta(days=1)  # the least RETAIN_DAYS: bodies of older jobs may have been emptied already
NOT_APPLIED = "it could not be applied: the log says why"
TOO_MANY = "more bodies than are kept of one job: only counted"
# Bodies and bytes that are stored, besides those that change something. One body of the largest size always fits.
MOST_OF_A_JOB = 20, 1 << 20
MOST_OF_NO_JOB = 4, 1 << 18  # of a job that is not known here: pruned, or lost with a database


@dataclass(frozen=True, slots=True)
class Callback:
    """A provider's message with a verified token. *price*: a number's cost in credits, if the message names none."""

    provider: str
    job_id: UUID
    body: bytes = field(repr=False)
    outcome: Outcome
    price: Decimal

    @property
    def size(self) -> int:
        """Return the bytes of memory that it takes, about: what was read of it is short, or part of it."""
        return 2 * len(self.body)


@dataclass(frozen=True, slots=True)
class CallbackReceipt:
    """The effect of a callback. *ended* is set when it finished its job."""

    verdict: Verdict
    lookup_id: UUID | None
    ended: Ended | None = None
    unswept: Sequence[UUID] = ()  # searches whose lookups have not all followed
    flag: str | None = None  # why it was not applied
    delivers: bool = False  # its batch wrote deliveries
    is_kept: bool = True  # False: there are too many of its job, and it was only counted


@dataclass(frozen=True, slots=True)
class _Job:
    """The stored job of a callback."""

    lookup_id: UUID
    is_open: bool
    request_id: str | None
    region: str | None
    is_suppressed: bool  # its person is: no body is stored


async def record_callbacks(
    pool: asyncpg.Pool[Any], callbacks: Sequence[Callback], policy: Policy, default_region: str | None
) -> list[CallbackReceipt]:
    """Store every callback once and apply it; return the receipts, in order.

    Store and flag a callback that cannot be applied, and have its job polled; the rest of the batch is not affected.
    A repeated callback writes its row again, so that its commit waits for a standby just as the first one did.
    """
    try:
        return await _record(pool, callbacks, policy, default_region)
    except UNREACHABLE:
        raise
    except Exception:
        if len(callbacks) == 1:
            log.exception("callback_not_applied", job=str(callbacks[0].job_id))
            return [await _keep(pool, callbacks[0], policy)]
    alone = [await record_callbacks(pool, [callback], policy, default_region) for callback in callbacks]
    return [recorded for (recorded,) in alone]


async def _record(
    pool: asyncpg.Pool[Any], callbacks: Sequence[Callback], policy: Policy, default_region: str | None
) -> list[CallbackReceipt]:
    async with transaction(pool, acknowledge=True) as connection:
        jobs = await _jobs(connection, [callback.job_id for callback in callbacks])
        endings = [_ending(callback, jobs.get(callback.job_id), default_region) for callback in callbacks]
        chosen = _choose(callbacks, endings, jobs)
        applied = await apply_endings(connection, [e for i in chosen if (e := endings[i]) is not None], policy)
        if unchanged := set(chosen.values()) - applied.ended.keys() - applied.late.keys():
            jobs |= await _jobs(connection, unchanged)  # a 202 that was stored meanwhile may name another request
        recorded = [
            _recorded(callback, ending, jobs.get(callback.job_id), applied, is_chosen=index in chosen)
            for index, (callback, ending) in enumerate(zip(callbacks, endings, strict=True))
        ]
        kept_from = {id for id, job in jobs.items() if job.is_suppressed}
        kept_from.update(id for id, ended in applied.ended.items() if ended.is_suppressed)
        kept_from.update(id for id, late in applied.late.items() if late.is_suppressed)
        recorded = await _insert(connection, callbacks, recorded, policy.hash, _numbers(endings), kept_from)
        flagged = [c.job_id for c, r in zip(callbacks, recorded, strict=True) if r.verdict == "flagged" and r.is_kept]
        if flagged:
            await poll_now(connection, flagged)
    return recorded


async def _keep(pool: asyncpg.Pool[Any], callback: Callback, policy: Policy) -> CallbackReceipt:
    """Store a callback that could not be applied, and schedule a poll of its job."""
    async with transaction(pool) as connection:
        job = (await _jobs(connection, [callback.job_id])).get(callback.job_id)
        recorded = CallbackReceipt("flagged", job.lookup_id if job else None, flag=NOT_APPLIED)
        kept_from = {callback.job_id} if job is not None and job.is_suppressed else set()
        (recorded,) = await _insert(connection, [callback], [recorded], policy.hash, [None], kept_from)
        await poll_now(connection, [callback.job_id])
    try:  # it is stored: whatever is wrong with it may be wrong here, too
        ending = _ending(callback, job, None)
        if ending is not None and ending.request_id is not None:
            await poll_by(pool, callback.job_id, ending.request_id)
    except UNREACHABLE:
        raise
    except Exception:
        log.exception("poll_not_scheduled", job=str(callback.job_id))
    return recorded


def _ending(callback: Callback, job: _Job | None, default_region: str | None) -> Ending | None:
    """Return how the callback ends its job; None when it is not a plain yes or no, so that the next poll decides."""
    if job is None or not isinstance(callback.outcome, Answered | Refused):
        return None
    return read_ending(
        callback.outcome,
        callback.job_id,
        answered_by="callback",
        price=callback.price,
        region=job.region or default_region,
        body=callback.body,
    )


def _choose(callbacks: Sequence[Callback], endings: Sequence[Ending | None], jobs: dict[UUID, _Job]) -> dict[int, UUID]:
    """Choose one ending per job of the batch: the first answer to the accepted request, else its first failure."""
    chosen: dict[UUID, int] = {}
    for index, (callback, ending) in enumerate(zip(callbacks, endings, strict=True)):
        if ending is None or _is_anothers(ending, jobs.get(callback.job_id)):
            continue
        before = endings[chosen.setdefault(callback.job_id, index)]
        if before is not None and before.state != "answered" == ending.state:
            chosen[callback.job_id] = index
    return {index: job_id for job_id, index in chosen.items()}


def _is_anothers(ending: Ending, job: _Job | None) -> bool:
    return job is not None and job.request_id is not None and ending.request_id not in (None, job.request_id)


def _recorded(
    callback: Callback, ending: Ending | None, job: _Job | None, applied: Applied, *, is_chosen: bool
) -> CallbackReceipt:
    lookup_id = job.lookup_id if job else None
    if isinstance(callback.outcome, Unreadable):
        return CallbackReceipt("flagged", lookup_id, flag=callback.outcome.reason)
    if ending is not None and _is_anothers(ending, job):
        return CallbackReceipt("flagged", lookup_id, flag=OTHER_REQUEST)
    if is_chosen and (ended := applied.ended.get(callback.job_id)):
        return CallbackReceipt("applied", lookup_id, ended, applied.unswept, delivers=applied.delivers)
    if is_chosen and callback.job_id in applied.late:
        return CallbackReceipt("late", lookup_id, unswept=applied.unswept, delivers=applied.delivers)
    return CallbackReceipt("ignored", lookup_id)


async def _jobs(db: Db, ids: Iterable[UUID]) -> dict[UUID, _Job]:
    rows = await db.fetch(
        """
        SELECT known.id, known.lookup_id, known.is_open, known.request_id, lookups.region_hint,
               CASE WHEN (SELECT EXISTS (SELECT FROM suppressions))   -- usually there are none
                    THEN EXISTS (SELECT
                                   FROM searches
                                   JOIN suppressions ON suppressions.hash = ANY (searches.asked)
                                  WHERE searches.id = known.search_id)
                    ELSE false END AS is_suppressed
          FROM (SELECT id, search_id, lookup_id, true AS is_open, request_id FROM jobs WHERE id = ANY($1::uuid[])
                UNION ALL
                SELECT id, search_id, lookup_id, false, request_id
                  FROM finished_jobs
                 WHERE id = ANY($1::uuid[])) AS known
          JOIN lookups ON lookups.id = known.lookup_id
        """,
        sorted(set(ids)),
    )
    return {
        row["id"]: _Job(
            row["lookup_id"], row["is_open"], row["request_id"], row["region_hint"], row["is_suppressed"]
        )
        for row in rows
    }  # fmt: skip


async def _insert(
    db: Db,
    callbacks: Sequence[Callback],
    recorded: Sequence[CallbackReceipt],
    hash: Hasher,
    numbers: Sequence[str | None],
    kept_from: AbstractSet[UUID],
) -> list[CallbackReceipt]:
    """Insert each body once; update the verdict of one that was ignored before and is applied now.

    Leave a body empty where its number is suppressed, or its job is one of *kept_from*: there the person is. Insert
    nothing for a job of which only a tombstone is left: its person was erased. Only count what is too much for its job,
    and return the receipts, which then say so.
    """
    rows = {
        (callback.job_id, _hash_of(callback)): (callback, record, number)
        for callback, record, number in reversed(list(zip(callbacks, recorded, numbers, strict=True)))
    }
    stored = []
    for (job_id, body_hash), (callback, record, number) in sorted(rows.items(), key=itemgetter(0)):
        most_bodies, most_bytes = MOST_OF_A_JOB if record.lookup_id else MOST_OF_NO_JOB
        stored.append({
            "job_id": job_id, "body_hash": body_hash, "provider": callback.provider, "lookup_id": record.lookup_id,
            "body": b"" if job_id in kept_from else callback.body, "verdict": record.verdict, "flag": record.flag,
            "number_hash": number_hash(number, hash) if number else None, "job_hash": job_hash(job_id, hash),
            "is_needed": _is_needed(callback, record), "most_bodies": most_bodies, "most_bytes": most_bytes,
        })  # fmt: skip
    oldest = min(callback.job_id for callback in callbacks)
    if oldest < first_id(datetime.now(UTC) - LATE):
        await walk_again(db, "callbacks", oldest)  # before the rows are locked, as a pass does
    surplus = await db.fetch(f"WITH {CALLBACKS.cte('callback')} {_STORE}", *CALLBACKS.of(stored, getitem), TOO_MANY)
    left_out = {(row["job_id"], row["body_hash"]) for row in surplus}
    return [
        replace(record, is_kept=False) if left_out and (callback.job_id, _hash_of(callback)) in left_out else record
        for callback, record in zip(callbacks, recorded, strict=True)
    ]


def _numbers(endings: Sequence[Ending | None]) -> list[str | None]:
    return [ending.mobile if ending else None for ending in endings]


def _hash_of(callback: Callback) -> bytes:
    return hashlib.blake2b(callback.body, digest_size=16).digest()


def _is_needed(callback: Callback, record: CallbackReceipt) -> bool:
    """Tell whether the body is stored however many there are: it changed something, or should have."""
    should = record.flag == NOT_APPLIED and isinstance(callback.outcome, Answered | Refused)
    return should or record.verdict in ("applied", "late")


CALLBACKS = Columns(
    job_id="uuid", body_hash="bytea", provider="text", lookup_id="uuid", body="bytea", verdict="text", flag="text",
    number_hash="bytea", job_hash="bytea", is_needed="boolean", most_bodies="integer", most_bytes="integer",
)  # fmt: skip
# What is too much for its job is one row, with an empty hash, that counts how often it came. $13 follows the columns.
_STORE = """
        , judged AS (
            SELECT callback.*,
                   is_needed OR is_again
                   OR bodies + row_number() OVER fresh = 1   -- in UTF-8 it may be longer than it came
                   OR (bodies + row_number() OVER fresh <= most_bodies
                       AND bytes + sum(octet_length(callback.body)) OVER fresh <= most_bytes) AS is_kept
              FROM callback
             CROSS JOIN LATERAL (
                   SELECT count(*) AS bodies, COALESCE(sum(octet_length(body)), 0) AS bytes,
                          COALESCE(bool_or(there.body_hash = callback.body_hash), false) AS is_again
                     FROM callbacks AS there
                    WHERE there.job_id = callback.job_id) AS stored
             WHERE NOT EXISTS (SELECT FROM tombstones WHERE tombstones.job_hash = callback.job_hash)
            WINDOW fresh AS (PARTITION BY job_id, is_needed OR is_again ORDER BY body_hash)
        ), written AS (
            INSERT INTO callbacks (job_id, body_hash, provider, lookup_id, body, verdict, flag, times)
            SELECT job_id, body_hash, provider, lookup_id,
                   CASE WHEN (SELECT EXISTS (SELECT FROM suppressions))   -- usually there are none
                             AND EXISTS (SELECT FROM suppressions WHERE hash = number_hash) THEN '' ELSE body END,
                   verdict, flag, 1
              FROM judged
             WHERE is_kept
             UNION ALL
            SELECT job_id, '', min(provider), (array_agg(lookup_id))[1], '', 'flagged', $13, count(*)
              FROM judged
             WHERE NOT is_kept
             GROUP BY job_id
             ORDER BY job_id, body_hash   -- every process locks the rows in this order
                ON CONFLICT (job_id, body_hash) DO UPDATE
               SET times = callbacks.times + excluded.times,
                   verdict = CASE WHEN excluded.verdict IN ('applied', 'late') THEN excluded.verdict
                                  ELSE callbacks.verdict END,
                   flag = CASE WHEN excluded.verdict IN ('applied', 'late') THEN NULL ELSE callbacks.flag END
        )
        SELECT job_id, body_hash FROM judged WHERE NOT is_kept
"""
