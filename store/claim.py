"""Claim jobs: commit the intent to ask, within the shared limits and the budgets, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.contact import Contact
from enrichment.guards import Budget
from enrichment.money import cents
from enrichment.pacing import Meter, permits, spend, wait
from store.budgets import lock_room
from store.database import Db, transaction
from store.lookups import drop_unneeded
from store.pauses import Brake

HELD_AT_ONCE = 5000  # jobs that one statement holds for a provider's budget or the brake, at most, of either kind
WINDOW, ROUNDS = 50, 40  # due jobs that a claim looks further through for sources that can pay: at least; how often


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job for this submitter to ask, *after* so many seconds, as attempt number *attempt*.

    *is_probe*: the breaker is open, and this one question tests whether it can close.
    """

    id: UUID
    search_id: UUID
    lookup_id: UUID
    attempt: int
    tries: int
    contact: Contact
    after: float
    is_probe: bool = False
    source: str = ""  # who pays


@dataclass(frozen=True, slots=True)
class Claim:
    """The claimed jobs, and what to do next: *wait* so many seconds for a permit, claim *more* at once, or rest."""

    jobs: Sequence[ClaimedJob]
    wait: float = 0.0
    more: bool = False  # every permit was used: more jobs may be due
    idle: bool = False  # nothing is queued at this provider, due or not
    paused: bool = False
    held: int = 0  # jobs that now wait for a budget
    braked: int = 0  # jobs that now wait for the brake
    failing: bool = False  # the provider's last answers were failures
    brake: Brake | None = None  # the pauses when the claim began


@dataclass(frozen=True, slots=True)
class Gate:
    """The state that decides whether a provider may be asked now, read under the lock of its meters."""

    now: float  # by the database's clock
    paused: bool
    shut_for: float  # seconds: resting after a 429, or the breaker is open
    tripped: bool  # the breaker was open: allow one probe
    failing: bool  # its last answers were failures
    queued: bool  # a job waits to be asked, now or later
    meters: Sequence[Meter]
    brake: Brake
    read_at: float = field(default_factory=time.monotonic)

    def until(self, at: float) -> float:
        """Return the seconds until *at*, less the time that the claim has taken since it read *now*."""
        return max(0.0, at - self.now - (time.monotonic() - self.read_at))


async def claim(
    pool: asyncpg.Pool[Any],
    provider: str,
    *,
    most: int,
    price: Decimal,
    lease: timedelta,
    callback_expected: bool,
    claim_id: UUID,
    budgets: Sequence[Budget] = (),
) -> Claim:
    """Claim up to *most* due jobs of *provider* (queued -> submitting), with permits and credits for each.

    Hold the jobs that the budgets do not allow. When this raises, the claim may have been committed nevertheless:
    `undo_claim` finds its jobs by *claim_id*.
    """
    price = cents(price)
    async with transaction(pool) as connection:
        gate = await read_gate(connection, provider, "any")
        if gate.brake.stops(provider):
            braked = await _hold(connection, provider, "brake") if gate.queued else 0
            return Claim((), braked=braked, more=braked >= HELD_AT_ONCE, idle=not gate.queued, brake=gate.brake)
        if gate.paused or gate.shut_for > 0:
            return Claim((), wait=gate.shut_for, paused=gate.paused)
        if not gate.queued:
            return Claim((), idle=True)
        times = permits(gate.meters, gate.now, 1 if gate.tripped else most)
        if not times:
            return Claim((), wait=max(0.001, wait(gate.meters, gate.now)))
        room = await lock_room(connection, provider, price, budgets)
        times = times[: room.questions]
        if not times:
            return Claim((), held=await _hold(connection, provider, "budget"))
        shares = _Shares(room.sources, gate.brake.sources)
        terms = _Terms(provider, price, lease, callback_expected, claim_id)
        due = await _take_within(connection, terms, len(times), shares)
        rows = [row for row in due if row["attempt"] is not None]
        if unneeded := [row["search_id"] for row in due if row["attempt"] is None and row["held"] is None]:
            await drop_unneeded(connection, unneeded)
        await save_meters(connection, provider, spend(gate.meters, gate.now, times[: len(rows)]))
        if gate.tripped and rows:
            await _shut_behind(connection, provider, lease)
    jobs = [
        ClaimedJob(
            row["id"], row["search_id"], row["lookup_id"], row["attempt"], row["tries"],
            Contact(
                profile_url=row["profile_url"], work_email=row["work_email"], personal_email=row["personal_email"],
                name=row["name"], company=row["company"], region=row["region_hint"],
            ),
            gate.until(at), gate.tripped, row["source"],
        )
        for row, at in zip(rows, times, strict=False)
    ]  # fmt: skip
    held = [row["held"] for row in due if row["held"]]
    return Claim(
        jobs, more=bool(held) or len(due) >= len(times), failing=gate.failing, brake=gate.brake,
        held=held.count("budget"), braked=held.count("brake"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Terms:
    """What every claimed job gets."""

    provider: str
    price: Decimal
    lease: timedelta
    callback_expected: bool
    claim_id: UUID


@dataclass(frozen=True, slots=True)
class _Shares:
    """How many questions each source may pay for; none while it is *braked*. The others have no limit."""

    sources: Mapping[str, int]
    braked: frozenset[str]

    @property
    def are_limited(self) -> bool:
        """Tell whether any source has a limit."""
        return bool(self.sources or self.braked)

    def columns(self) -> list[list[Any]]:
        """Return the sources, how many jobs of each may be claimed, and why the others are held."""
        rows = [(name, most, "budget") for name, most in self.sources.items() if name not in self.braked]
        rows += [(name, 0, "brake") for name in sorted(self.braked)]
        return [list(column) for column in zip(*rows, strict=True)]

    def without(self, due: Sequence[asyncpg.Record]) -> _Shares:
        """Return what is left after these jobs."""
        used = [row["source"] for row in due if row["attempt"] is not None]
        return _Shares({name: most - used.count(name) for name, most in self.sources.items()}, self.braked)


def _asked(due: Sequence[asyncpg.Record]) -> int:
    return sum(row["attempt"] is not None for row in due)


async def read_gate(db: Db, provider: str, *purposes: str) -> Gate:
    """Return the provider's gate; lock its meters until the transaction ends. Raise LookupError if unregistered."""
    rows = await db.fetch(
        """
        SELECT limits.purpose, limits."window", limits.allowance, limits.spent, limits.spent_at,
               EXTRACT(epoch FROM limits.next_at)::float8 AS next_at,
               EXTRACT(epoch FROM clock_timestamp())::float8 AS now,
               providers.paused_at IS NOT NULL AS paused,
               providers.trips > 0 AS tripped,
               providers.failures > 0 AS failing,
               -- The first in each index; for EXISTS, all jobs of another provider might be read.
               COALESCE((SELECT min(due_at) FROM jobs
                          WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries = 0),
                        (SELECT min(due_at) FROM jobs
                          WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries > 0)) IS NOT NULL
                   AS queued,
               EXTRACT(epoch FROM GREATEST(providers.rest_until, providers.open_until) - clock_timestamp())::float8
                   AS shut_for,
               ARRAY(SELECT provider FROM pauses WHERE source IS NULL) AS braked,   -- NULL: all of them
               ARRAY(SELECT source FROM pauses WHERE source IS NOT NULL) AS braked_sources
          FROM limits
          JOIN providers ON providers.name = limits.provider
         WHERE limits.provider = $1
           AND limits.purpose = ANY($2::text[])
         ORDER BY limits.purpose, limits."window"
           FOR UPDATE OF limits
        """,
        provider,
        list(purposes),
    )
    if not rows:
        raise LookupError(f"provider {provider!r} is not registered: register_provider comes first")
    meters = [
        Meter(r["purpose"], r["window"], r["allowance"], r["next_at"], tuple(r["spent"]), r["spent_at"]) for r in rows
    ]
    return Gate(
        rows[0]["now"],
        rows[0]["paused"],
        rows[0]["shut_for"] or 0.0,
        rows[0]["tripped"],
        rows[0]["failing"],
        rows[0]["queued"],
        meters,
        Brake.of(rows[0]["braked"], rows[0]["braked_sources"]),
    )


async def save_meters(db: Db, provider: str, meters: Sequence[Meter]) -> None:
    """Store what the meters have spent, for all processes."""
    await db.executemany(
        """
        UPDATE limits
           SET next_at = to_timestamp($4), spent = $5::int[], spent_at = $6
         WHERE provider = $1 AND purpose = $2 AND "window" = $3
        """,
        [(provider, m.purpose, m.window, m.next_at, list(m.spent), m.spent_at) for m in meters],
    )


async def _take_within(db: Db, terms: _Terms, most: int, shares: _Shares) -> list[asyncpg.Record]:
    """Claim up to *most* due jobs, also if jobs that their source may not pay for stand before those of others."""
    due = taken = await _take_due(db, terms, most, most, shares)
    for _ in range(ROUNDS):
        left = most - _asked(due)
        if left == 0 or not any(row["held"] for row in taken):
            break
        taken = await _take_due(db, terms, left, max(WINDOW, most), shares.without(due))
        due = [*due, *taken]
    return due


async def _take_due(db: Db, terms: _Terms, most: int, window: int, shares: _Shares) -> list[asyncpg.Record]:
    """Claim up to *most* of the first due jobs, *window* of each kind; hold those that their source may not pay for.

    Return also those that were held, and those whose search has no open lookup; these are not claimed, and have no
    attempt.
    """
    rows: list[asyncpg.Record] = await db.fetch(
        f"WITH {_QUEUE}, {_SHARED if shares.are_limited else _NOT_SHARED}, {_CLAIMED}",
        terms.provider,
        most,
        terms.price,
        terms.lease,
        terms.callback_expected,
        terms.claim_id,
        window,
        *(shares.columns() if shares.are_limited else ()),
    )
    return rows


_QUEUE = """
        fresh AS MATERIALIZED (
            SELECT id, search_id, lookup_id, source, due_at, 1 AS turn
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries = 0 AND due_at <= now()
             ORDER BY due_at, id
             LIMIT $7
               FOR UPDATE SKIP LOCKED   -- a second submitter takes the next ones
        ), again AS MATERIALIZED (
            SELECT id, search_id, lookup_id, source, due_at, 3 AS turn
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries > 0 AND due_at <= now()
             ORDER BY due_at, id
             LIMIT $7
               FOR UPDATE SKIP LOCKED
        ), queue AS MATERIALIZED (
            -- Three fresh ones, then one that failed before: neither kind can starve the other.
            SELECT id, search_id, lookup_id, source, place
              FROM (SELECT *, turn * row_number() OVER (PARTITION BY turn ORDER BY due_at, id) AS place
                      FROM (SELECT * FROM fresh UNION ALL SELECT * FROM again) AS both_kinds) AS queue
             ORDER BY place
             LIMIT $7
        )
"""
_NOT_SHARED = "shared AS MATERIALIZED (SELECT queue.*, NULL::text AS held FROM queue)"
# What is beyond the share of its source is held.
_SHARED = """
        shared AS MATERIALIZED (
            SELECT queue.*,
                   CASE WHEN row_number() OVER (PARTITION BY queue.source ORDER BY place) > share.most
                        THEN share.held END AS held
              FROM queue
              LEFT JOIN unnest($8::text[], $9::int[], $10::text[]) AS share (source, most, held) USING (source)
        )
"""
_CLAIMED = """
        due AS MATERIALIZED (
            SELECT id, search_id, lookup_id
              FROM shared
             WHERE held IS NULL
             ORDER BY place
             LIMIT $2
        ), needed AS MATERIALIZED (
            SELECT due.id, due.search_id, lookups.profile_url, lookups.work_email, lookups.personal_email,
                   lookups.name, lookups.company, lookups.region_hint,
                   CASE WHEN lookups.final_status IS NULL AND lookups.search_id = due.search_id THEN true
                        ELSE (SELECT true   -- one that joined
                                FROM lookups AS other
                               WHERE other.search_id = due.search_id
                                 AND other.final_status IS NULL
                               LIMIT 1) END AS is_needed
              FROM due
              JOIN lookups ON lookups.id = due.lookup_id
        ), claimed AS (
            UPDATE jobs
               SET state = 'submitting',
                   attempt = attempt + 1,
                   -- Not now(), when the transaction began: the wait for the budgets' lock must not shorten the lease.
                   lease_expires_at = clock_timestamp() + $4,
                   submitted_at = clock_timestamp(),
                   claimed_by = $6,
                   callback_expected = $5,
                   reserved = $3,
                   reserved_on = (now() AT TIME ZONE 'UTC')::date
              FROM needed
             WHERE jobs.id = needed.id
               AND needed.is_needed
            RETURNING jobs.id, jobs.source, jobs.lookup_id, jobs.attempt, jobs.tries, jobs.reserved_on
        ), counted AS (
            INSERT INTO usage (provider, source, day, slot, reserved)
            SELECT $1, source, reserved_on, pg_backend_pid() % 16, count(*) * $3
              FROM claimed
             GROUP BY source, reserved_on
             ORDER BY source, reserved_on
                ON CONFLICT (provider, source, day, slot) DO UPDATE SET reserved = usage.reserved + excluded.reserved
        ), held AS (
            UPDATE jobs
               SET held = stopped.held
              -- As arrays the planner takes them for few, and finds each job by its id.
              FROM unnest(ARRAY(SELECT id FROM shared WHERE held IS NOT NULL ORDER BY id),
                          ARRAY(SELECT held FROM shared WHERE held IS NOT NULL ORDER BY id)) AS stopped (id, held)
             WHERE jobs.id = stopped.id
            RETURNING jobs.id, jobs.search_id, jobs.source, jobs.held
        )
        SELECT needed.*, claimed.source, claimed.lookup_id, claimed.attempt, claimed.tries, NULL AS held
          FROM needed
          LEFT JOIN claimed USING (id)
        UNION ALL
        SELECT id, search_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, source, NULL, NULL, NULL, held
          FROM held
"""


async def _hold(db: Db, provider: str, held: str) -> int:
    """Hold the provider's due jobs (queued -> held), because of its budget or the brake. Return how many."""
    rows = await db.fetch(
        """
        WITH fresh AS MATERIALIZED (
            SELECT id
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries = 0 AND due_at <= now()
             ORDER BY due_at, id
             LIMIT $3
               FOR UPDATE SKIP LOCKED
        ), again AS MATERIALIZED (
            SELECT id
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries > 0 AND due_at <= now()
             ORDER BY due_at, id
             LIMIT $3
               FOR UPDATE SKIP LOCKED
        )
        UPDATE jobs
           SET held = $2
         WHERE id IN (SELECT id FROM fresh UNION ALL SELECT id FROM again)
        RETURNING id
        """,
        provider,
        held,
        HELD_AT_ONCE,
    )
    return len(rows)


async def _shut_behind(db: Db, provider: str, lease: timedelta) -> None:
    """Keep the breaker open for all other questions while the probe runs, for *lease* at most."""
    await db.execute("UPDATE providers SET open_until = now() + $2 WHERE name = $1", provider, lease)
