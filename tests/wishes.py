"""Events and their lookups as the store sees them, and the ends of the lookups."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg

from enrichment.contact import Contact
from enrichment.ending import Ending
from enrichment.states import AnsweredBy, JobEnd
from enrichment.wish import Hasher, Policy, Wish
from store.database import Db, transaction
from store.endings import Applied, apply_endings, follow_ends
from store.ends import mark
from store.finish import Ended, finish
from store.intake import Event, Receipt, ingest
from store.lookups import decide_again
from store.reopened import to_decide

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

IDENTITY_KEY = "identity-key-of-the-tests"
PROVIDERS = ("leadmagic", "nyne")
POLICY = Policy(Hasher.of(IDENTITY_KEY.encode()), PROVIDERS, found=timedelta(days=90), not_found=timedelta(days=30))
MOBILE = "+15551234567"
OTHER_MOBILE = "+442079460000"
_numbers = itertools.count(1)


def wish(
    event_id: str | None = None, providers: tuple[str, ...] = ("leadmagic",), fingerprint: str = "", **contact: Any
) -> Wish:
    """Return one contact of an event; without *event_id* it is the only one of its kind."""
    return Wish(Contact(**contact), providers, event_id=event_id or f"event-{next(_numbers)}", fingerprint=fingerprint)


def event(*wishes: Wish) -> Event:
    """Return one CRM's message."""
    return Event("generic", b"{}", wishes)


async def take(pool: Pool, *wishes: Wish) -> list[Receipt]:
    """Ingest each wish in an event of its own, all in one batch; return their receipts."""
    return [taken for (taken,) in await ingest(pool, [event(one) for one in wishes], POLICY)]


async def take_one(pool: Pool, event_id: str | None = None, **fields: Any) -> Receipt:
    """Ingest one wish alone."""
    (taken,) = await take(pool, wish(event_id, **fields))
    return taken


async def read(pool: Pool, lookup_id: UUID) -> asyncpg.Record:
    """Return the lookup as it is now, with its status, and the credits of the jobs that were asked for it."""
    row: asyncpg.Record | None = await pool.fetchrow(
        """
        SELECT lookups.*, status,
               (SELECT COALESCE(sum(credits), 0) FROM finished_jobs WHERE lookup_id = lookups.id) AS credits
          FROM lookups
          JOIN lookup_status USING (id)
         WHERE id = $1
        """,
        lookup_id,
    )
    assert row is not None
    return row


async def status(pool: Pool, lookup_id: UUID) -> str:
    """Return the lookup's status now."""
    told: str = (await read(pool, lookup_id))["status"]
    return told


async def job_of(pool: Pool, lookup_id: UUID) -> asyncpg.Record | None:
    """Return the open job of the lookup's search."""
    row: asyncpg.Record | None = await pool.fetchrow(
        "SELECT jobs.* FROM jobs JOIN lookups USING (search_id) WHERE lookups.id = $1", lookup_id
    )
    return row


async def jobs(pool: Pool) -> int:
    """Count the open jobs."""
    count: int = await pool.fetchval("SELECT count(*) FROM jobs")
    return count


def answer(job_id: UUID, by: AnsweredBy, mobile: str | None = MOBILE, **more: Any) -> Ending:
    """Return an ending in which the job is answered, for 3 credits."""
    return Ending(job_id=job_id, state="answered", answered_by=by, mobile=mobile, charged=Decimal(3), **more)


async def searches(pool: Pool) -> int:
    """Count all searches."""
    count: int = await pool.fetchval("SELECT count(*) FROM searches")
    return count


async def statuses(pool: Pool, taken: Sequence[Receipt]) -> list[str]:
    """Return the statuses of these lookups."""
    return [await status(pool, one.id) for one in taken]


async def finish_jobs(db: Db, endings: Sequence[Ending]) -> dict[UUID, Ended]:
    """End these jobs and their searches; their lookups have yet to follow."""
    ended = await finish(db, endings, PROVIDERS)
    await mark(db, [job.search_id for job in ended.values() if job.search_status is not None], unswept=True)
    return ended


async def apply(pool: Pool, *endings: Ending, policy: Policy = POLICY) -> Applied:
    """End these jobs, and let every lookup follow."""
    async with transaction(pool) as connection:
        applied = await apply_endings(connection, endings, policy)
    await follow_ends(pool, applied.unswept, policy)
    return applied


def ending(job_id: UUID, state: JobEnd = "answered", *, mobile: str | None = None, **more: Any) -> Ending:
    """Return how a job ends; a number costs 5 credits, and a doubtful end may have cost them."""
    answer: dict[str, Any] = {}
    if state == "answered":
        answer = {"answered_by": "inline", "charged": Decimal(5 if mobile else 0), "mobile_raw": mobile}
    doubtful = state in ("unknown", "lost")
    return Ending(job_id=job_id, state=state, mobile=mobile, possible=doubtful, **(answer | more))


async def end_job(pool: Pool, lookup_id: UUID, *, mobile: str | None = None, state: JobEnd = "answered") -> Ended:
    """End the open job of the lookup's search; its lookups do not follow yet."""
    job = await job_of(pool, lookup_id)
    assert job is not None
    return (await finish_jobs(pool, [ending(job["id"], state, mobile=mobile)]))[job["id"]]


async def end(pool: Pool, lookup_id: UUID, *, mobile: str | None = None, state: JobEnd = "answered") -> UUID:
    """End the open job of the lookup's search, let every lookup follow, and return the job's id."""
    job = await job_of(pool, lookup_id)
    assert job is not None
    await apply(pool, ending(job["id"], state, mobile=mobile))
    job_id: UUID = job["id"]
    return job_id


async def decide(pool: Pool) -> int:
    """Decide what was reopened, as the reconciler does; return how many lookups."""
    return await decide_again(pool, (await to_decide(pool)).lookups, POLICY)


async def age(pool: Pool, lookup_id: UUID, days: float) -> None:
    """Let the lookup, and the search that it took its answer from, have ended so many days ago."""
    since = timedelta(days=days)
    await pool.execute("UPDATE lookups SET finished_at = now() - $2::interval WHERE id = $1", lookup_id, since)
    await pool.execute(
        "UPDATE searches SET ended_at = now() - $2::interval WHERE id = (SELECT search_id FROM lookups WHERE id = $1)",
        lookup_id,
        since,
    )
