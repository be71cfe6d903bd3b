"""Row 6: outstanding work costs the same among a hundred thousand finished lookups and among millions."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from statistics import median
from typing import Any

import asyncpg
from uuid_utils.compat import uuid7

from bench import pages, seed
from bench.measure import Bench, Row
from bench.selections import retry_many
from bench.server import connected, database
from enrichment.contact import Contact
from enrichment.outcome import Answered
from enrichment.providers import PROVIDERS
from enrichment.wish import Hasher, Policy, Wish
from store import polls, reports, sweep
from store.callbacks import Callback, record_callbacks
from store.claim import claim
from store.database import close_pool, open_pool
from store.ends import unswept_searches
from store.find import find_by_key
from store.intake import Event, ingest
from store.partitions import NEWEST, ensure_partitions
from store.providers import register_provider
from store.prune import drop_month, look_at, months_before
from store.reopened import to_decide

SMALL, LARGE, LARGE_QUICKLY = 100_000, 10_000_000, 1_000_000
BATCH = 500_000
DUE = 10_000
PART = 100  # of the due ones, per statement
REACH = 1.2
REPEATS = 50  # of each statement in one round: the shortest take a third of a millisecond

POLICY = Policy(Hasher.of(b"bench"), tuple(PROVIDERS), found=timedelta(days=90), not_found=timedelta(days=30))

Deed = Callable[[], Awaitable[object]]

FINISHED = """
WITH new AS MATERIALIZED (
    SELECT number,
           -- As uuid7 would have made it, months ago: the time, then what is random.
           (lpad(to_hex(ms), 12, '0') || '7' || substr(md5(number::text), 1, 3)
               || '8' || substr(md5(number::text), 4, 15))::uuid AS lookup_id,
           (lpad(to_hex(ms), 12, '0') || '7' || substr(md5(number::text), 5, 3)
               || '9' || substr(md5(number::text), 9, 15))::uuid AS job_id,
           (lpad(to_hex(ms), 12, '0') || '7' || substr(md5(number::text), 9, 3)
               || 'a' || substr(md5(number::text), 13, 15))::uuid AS search_id,
           ARRAY[decode(md5(number || 'e-mail'), 'hex'), decode(md5(number || 'question'), 'hex')] AS keys,
           CASE number % 3 WHEN 0 THEN 'nyne' ELSE 'leadmagic' END AS provider,
           number % 3 <> 2 AS found,
           at
      FROM generate_series($1::bigint, $2::bigint) AS numbers (number)
     CROSS JOIN LATERAL (SELECT $3::timestamptz + (number::float8 / $4) * interval '89 days' AS at) AS moment
     CROSS JOIN LATERAL (SELECT (EXTRACT(epoch FROM at) * 1000)::bigint AS ms) AS milliseconds
), lookup AS (
    INSERT INTO lookups (id, event_id, source, record_id, work_email, name, company, providers, keys, identifiers,
                         search_id, created_at, final_status, finished_at, mobile, mobile_raw, region, line_type,
                         provider)
    SELECT lookup_id, lookup_id, 'generic', 'old-' || number, 'old-' || number || '@acme.co', 'Jane Doe', 'Acme',
           ARRAY['leadmagic', 'nyne'], keys, keys[1:1], search_id, at,
           CASE WHEN found THEN 'found' ELSE 'not_found' END::final_status, at,
           CASE WHEN found THEN '+14155552671' END, CASE WHEN found THEN '+1-415-555-2671' END, 'US', 'unknown',
           CASE WHEN found THEN provider END
      FROM new
), search AS (
    INSERT INTO searches (id, begun_for, keys, asked, providers, names, said, numbers, status, ended_at)
    SELECT search_id, lookup_id, keys, keys, ARRAY['leadmagic', 'nyne'], ARRAY['Jane Doe'],
           jsonb_build_object(provider, 'answered'),
           CASE WHEN found THEN jsonb_build_object(provider, jsonb_build_object('mobile', '+14155552671'))
                ELSE '{}' END,
           CASE WHEN found THEN 'found' ELSE 'not_found' END::search_status, at
      FROM new
), key AS (
    INSERT INTO keys (key, searches) SELECT unnest(keys), ARRAY[search_id] FROM new
), fingerprint AS (
    INSERT INTO fingerprints (fingerprint, lookup_id) SELECT decode(md5(number || 'event'), 'hex'), lookup_id FROM new
), ledgered AS (
    INSERT INTO ledger (job_id, lookup_id, provider, kind, credits, day, at)
    SELECT job_id, lookup_id, provider, CASE WHEN found THEN 'charged' ELSE 'released' END, 5, at::date, at FROM new
)
INSERT INTO finished_jobs (id, search_id, lookup_id, source, provider, state, answered_by, attempt, polls, request_id,
                           credits, possible, reserved_on, submitted_at, finished_at)
SELECT job_id, search_id, lookup_id, 'generic', provider, 'answered',
       CASE provider WHEN 'nyne' THEN 'callback' ELSE 'inline' END, 1, 0,
       CASE provider WHEN 'nyne' THEN 'old_' || number END, CASE WHEN found THEN 5 ELSE 0 END, 0, at::date, at, at
  FROM new
"""
USAGE = """
INSERT INTO usage (provider, source, day, slot, charged, found)
SELECT provider, 'generic', (now() - days * interval '1 day')::date, slot, 1000, 200
  FROM unnest(ARRAY['leadmagic', 'nyne']) AS names (provider), generate_series(1, 90) AS ages (days),
       generate_series(0, 15) AS slots (slot)
"""


async def fill(connection: asyncpg.Connection[Any], count: int, say: Callable[[str], None]) -> None:
    """Insert *count* finished lookups over three months, with their jobs, ledger entries and daily sums."""
    began = time.monotonic()
    oldest = datetime.now(UTC) - timedelta(days=90)
    await ensure_partitions(connection, since=oldest)
    for first in range(1, count + 1, BATCH):
        await connection.execute(FINISHED, first, min(count, first + BATCH - 1), oldest, float(count))
    await connection.execute(USAGE)
    await seed.settle(connection)
    say(f"  {count:,} finished lookups seeded in {time.monotonic() - began:.0f} s")


class Rolled(Exception):
    """The end of a transaction whose work is undone."""


class Side:
    """The statements that matter, on one database; each change is undone, so that all repeats are equal."""

    def __init__(self, pool: asyncpg.Pool[Any], nyne: list[Any]) -> None:
        self.pool = pool
        self._nyne = nyne

    def deeds(self) -> dict[str, Deed]:
        """Return the statements, by name."""
        month = datetime.now(UTC).date() - timedelta(days=30)
        return {
            "claim": self._undone(self._claim),
            "sweep": self._undone(self._sweep),
            "callback": self._undone(self._callbacks),
            "event": self._undone(self._events),
            "list": self._list("found"),
            "list of queued ones": self._list("queued"),
            "list of held ones": self._list("held"),  # there are none, so it never finds enough of them to stop early
            "find by e-mail": self._find,
            "timeline of one": partial(pages.read_timeline, self.pool),
            "usage": lambda: reports.usage_by_day(self.pool, month),
        }

    def _list(self, status: str) -> Deed:
        return partial(reports.list_lookups, self.pool, status=status, record_id=None, before=None, limit=50)

    def _undone(self, deed: Callable[[Any], Awaitable[object]]) -> Deed:
        async def done() -> None:
            async with self.pool.acquire() as connection:
                try:
                    async with connection.transaction():
                        await deed(_OneConnection(connection))
                        raise Rolled
                except Rolled:
                    pass

        return done

    async def _find(self) -> None:
        """Find one of the finished lookups."""
        key = hashlib.md5(f"{SMALL // 2}e-mail".encode(), usedforsecurity=False).digest()  # as FINISHED makes it
        found = await find_by_key(self.pool, [key], status=None, source=None, record_id=None, before=NEWEST, limit=50)
        assert len(found) == 1

    async def _claim(self, pool: Any) -> None:
        claimed = await claim(
            pool,
            "leadmagic",
            most=PART,
            price=Decimal(5),
            lease=timedelta(seconds=20),
            callback_expected=False,
            claim_id=uuid7(),
        )
        assert len(claimed.jobs) == PART

    async def _sweep(self, pool: Any) -> None:
        hours, minutes = timedelta(hours=24), timedelta(minutes=30)
        await sweep.expired_leases(pool, 500)
        await sweep.past_deadline(pool, hours, 500)
        assert await polls.has_due_polls(pool, "nyne")
        due = await polls.claim_polls(
            pool, "nyne", most=PART, first=timedelta(seconds=60), longest=minutes, deadline=hours
        )
        assert len(due) == PART
        assert await unswept_searches(pool, 500) == []
        assert (await to_decide(pool)).lookups == []

    async def _callbacks(self, pool: Any) -> None:
        batch = [Callback("nyne", job, b"{}", Answered("+14155552671"), Decimal(3)) for job in self._nyne[:PART]]
        recorded = await record_callbacks(pool, batch, POLICY, None)
        assert all(one.verdict == "applied" for one in recorded)

    async def _events(self, pool: Any) -> None:
        contacts = [Contact(work_email=f"new-{number}@acme.co", name="Jane Doe") for number in range(PART)]
        events = [Event("generic", b"{}", (Wish(contact, tuple(PROVIDERS)),)) for contact in contacts]
        taken = await ingest(pool, events, POLICY)
        assert all(one.status == "queued" for (one,) in taken)


class _OneConnection:
    """A pool of one connection, whose transaction is already open."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def acquire(self, **_: Any) -> _OneConnection:
        return self

    async def __aenter__(self) -> Any:
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def _outstanding(connection: asyncpg.Connection[Any]) -> list[Any]:
    await seed.queued(connection, DUE)
    jobs = await seed.awaiting(connection, DUE)
    await connection.execute("UPDATE jobs SET due_at = now() - interval '1 minute' WHERE state = 'awaiting'")
    ceilings = {60: 1_000_000_000}
    for name in PROVIDERS:
        await register_provider(connection, name, (), ceilings)
    await seed.settle(connection)
    return jobs


async def _time(deed: Deed) -> float:
    began = time.perf_counter()
    await deed()
    return 1e3 * (time.perf_counter() - began)


async def measure(bench: Bench) -> list[Row]:
    """Measure both databases side by side, statement by statement in turns."""
    large = LARGE_QUICKLY if bench.quick else LARGE
    async with database(bench.server) as few_url, database(bench.server) as many_url:
        sides: list[Side] = []
        for url, count in ((few_url, SMALL), (many_url, large)):
            async with connected(url) as connection:
                await fill(connection, count, bench.say)
                jobs = await _outstanding(connection)
            sides.append(Side(await open_pool(url, name="bench", size=4), jobs))
        try:
            times = await _measure(sides, bench.rounds)
            over_time = await pages.over_time(sides[1].pool, large)
            async with connected(many_url) as connection, connected(many_url) as reader:
                rows = [over_time, await _prune(connection, reader, large)]
                rows.append(await retry_many(sides[1].pool, reader, POLICY, large))
        finally:
            await asyncio.gather(*(close_pool(side.pool) for side in sides))
    for name, (few, many) in times.items():
        ratios = [m / f for f, m in zip(few, many, strict=True)]
        ratio = median(many) / median(few)
        bench.say(f"  {name:18} {median(few):8.2f} ms  {median(many):8.2f} ms  {ratio:5.2f}")
        rows.append(
            Row(
                name=f"{name} among {large:,} finished",
                unit="ms",
                ours=median(many),
                limit=median(few),
                ratio=ratio,
                reach=f"≤ {REACH} x as long as among {SMALL:,}",
                reached=ratio <= REACH,
                spread={"ours": (min(many), max(many)), "limit": (min(few), max(few))},
                note=f"{DUE:,} due of each kind; {PART} taken at a time; {len(ratios)} repeats",
            )
        )
    return rows


async def _prune(connection: asyncpg.Connection[Any], reader: asyncpg.Connection[Any], large: int) -> Row:
    """Drop the newest month that `ringback prune --older-than 30` drops; measure how long readers wait meanwhile."""
    cutoff = datetime.now(UTC) - timedelta(days=30)
    month = (await months_before(connection, cutoff))[-1]
    began = time.perf_counter()
    found = await look_at(connection, month, cutoff)
    looked = time.perf_counter()
    async with _reading(reader) as waits:
        assert await drop_month(connection, found), found.needed
        took = 1e3 * (time.perf_counter() - looked)
    size = f"{found.lookups:,} lookups, {found.bytes / 1e6:,.0f} MB"
    return Row(
        name=f"drop of a month among {large:,} finished",
        unit="ms",
        ours=max(waits),
        reach="milliseconds",
        reached=None,
        note=f"the longest that a reader waited; {size}, gone after {took:.0f} ms, looked through for "
        f"{looked - began:.1f} s before",
    )


@asynccontextmanager
async def _reading(connection: asyncpg.Connection[Any]) -> AsyncIterator[list[float]]:
    """Look up a lookup again and again inside the block; yield the times that it took, in ms."""
    waits: list[float] = []

    async def read() -> None:
        while True:
            waits.append(await _time(partial(connection.fetch, "SELECT FROM lookups WHERE id = $1", uuid7())))

    reading = asyncio.create_task(read())
    try:
        yield waits
    finally:
        reading.cancel()
        await asyncio.wait([reading])


async def _measure(sides: list[Side], rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    few, many = (side.deeds() for side in sides)
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in few}
    for name in few:
        for deed in (few[name], many[name]) * 3:
            await deed()  # what it reads is in memory, its statements are prepared
        order = [(few[name], times[name][0]), (many[name], times[name][1])]
        for _ in range(REPEATS * rounds):
            for deed, taken in order:
                taken.append(await _time(deed))
            order.reverse()  # neither is always the first
    return times
