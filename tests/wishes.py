"""Events and their lookups as the store sees them, and what becomes of the lookups."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg

from enrichment.contact import Contact
from enrichment.ending import Ending
from enrichment.identity import ReusePolicy, key_hash
from store.finish import Ended, finish
from store.followers import release_followers
from store.intake import Event, Taken, Wish, ingest

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

POLICY = ReusePolicy(found=timedelta(days=90), not_found=timedelta(days=30))
MOBILE = "+15551234567"
OTHER_MOBILE = "+442079460000"
_numbers = itertools.count(1)


def wish(event_id: str | None = None, providers: tuple[str, ...] = ("leadmagic",), **contact: Any) -> Wish:
    """One contact of an event; without *event_id* it is the only one of its kind."""
    event_key = key_hash("event", event_id or f"event-{next(_numbers)}")
    return Wish(Contact(**contact), record_id=None, event_key=event_key, providers=providers)


def event(*wishes: Wish) -> Event:
    """One CRM's message."""
    return Event("generic", b"{}", wishes)


async def take(pool: Pool, *wishes: Wish) -> list[Taken]:
    """Each wish comes in an event of its own, all in one batch; their lookups are returned."""
    return [taken for (taken,) in await ingest(pool, [event(one) for one in wishes], POLICY)]


async def take_one(pool: Pool, event_id: str | None = None, **fields: Any) -> Taken:
    """One wish comes alone."""
    (taken,) = await take(pool, wish(event_id, **fields))
    return taken


async def read(pool: Pool, lookup_id: UUID) -> asyncpg.Record:
    """The lookup as it is now, with its status."""
    row: asyncpg.Record | None = await pool.fetchrow(
        "SELECT lookups.*, status FROM lookups JOIN lookup_status USING (id) WHERE id = $1", lookup_id
    )
    assert row is not None
    return row


async def status(pool: Pool, lookup_id: UUID) -> str:
    """The lookup's status now."""
    told: str = (await read(pool, lookup_id))["status"]
    return told


async def job_of(pool: Pool, lookup_id: UUID) -> asyncpg.Record | None:
    """The lookup's open job."""
    row: asyncpg.Record | None = await pool.fetchrow("SELECT * FROM jobs WHERE lookup_id = $1", lookup_id)
    return row


async def jobs(pool: Pool) -> int:
    """How many questions are open."""
    count: int = await pool.fetchval("SELECT count(*) FROM jobs")
    return count


def answer(job_id: UUID, by: str, mobile: str | None = MOBILE, **more: Any) -> Ending:
    """The job is answered, for 3 credits."""
    return Ending(job_id=job_id, state="answered", answered_by=by, mobile=mobile, charged=Decimal(3), **more)


async def end_job(pool: Pool, lookup_id: UUID, *, mobile: str | None = None, state: str = "answered") -> Ended:
    """The lookup's open job ends so; nobody looks after its followers."""
    job = await job_of(pool, lookup_id)
    assert job is not None
    answer: dict[str, Any] = {}
    if state == "answered":
        answer = {"answered_by": "inline", "charged": Decimal(5 if mobile else 0)}
    ending = Ending(job_id=job["id"], state=state, mobile=mobile, possible=state in ("unknown", "lost"), **answer)
    return (await finish(pool, [ending]))[job["id"]]


async def end(pool: Pool, lookup_id: UUID, *, mobile: str | None = None, state: str = "answered") -> None:
    """The lookup's open job ends so, and its followers hear of it."""
    await end_job(pool, lookup_id, mobile=mobile, state=state)
    await release_followers(pool, [lookup_id], POLICY)


async def age(pool: Pool, lookup_id: UUID, days: float) -> None:
    """The lookup ended so many days ago."""
    await pool.execute(
        "UPDATE lookups SET finished_at = now() - $2::interval WHERE id = $1", lookup_id, timedelta(days=days)
    )
