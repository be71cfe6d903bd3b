"""Claim jobs: commit the intent to ask, within the shared limits and the budgets, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.contact import Contact
from enrichment.money import cents
from enrichment.pacing import Meter, permits, spend, wait
from store.database import Db, transaction
from store.lookups import drop_unneeded
from store.suppressed import drop_questions

BUDGET_LOCK = 7_243_391_102_002  # any number, but always this one: budgets are reserved one claim at a time


@dataclass(frozen=True, slots=True)
class Budget:
    """At most *credits* in a UTC *period* (day or month): of *provider*, of *source*, or of all when both are None."""

    provider: str | None
    period: str
    credits: Decimal
    source: str | None = None


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


@dataclass(frozen=True, slots=True)
class Claim:
    """The claimed jobs, and what to do next: *wait* so many seconds for a permit, claim *more* at once, or rest."""

    jobs: Sequence[ClaimedJob]
    wait: float = 0.0
    more: bool = False  # every permit was used: more jobs may be due
    idle: bool = False  # nothing is queued at this provider, due or not
    paused: bool = False
    held: int = 0  # jobs that now wait for a budget
    failing: bool = False  # the provider's last answers were failures
    unswept: Sequence[UUID] = ()  # searches whose questions were dropped: their people are suppressed


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
        if gate.paused or gate.shut_for > 0:
            return Claim((), wait=gate.shut_for, paused=gate.paused)
        if not gate.queued:
            return Claim((), idle=True)
        times = permits(gate.meters, gate.now, 1 if gate.tripped else most)
        if not times:
            return Claim((), wait=max(0.001, wait(gate.meters, gate.now)))
        affordable = await affordable_questions(connection, provider, price, budgets)
        if affordable < len(times):
            times = times[:affordable]
            if not times:
                return Claim((), held=await _hold(connection, provider))
        due = await _take_due(connection, provider, len(times), price, lease, callback_expected, claim_id)
        rows = [row for row in due if row["attempt"] is not None]
        unswept: list[UUID] = []
        if len(rows) < len(due):
            if suppressed := [row["search_id"] for row in due if row["is_suppressed"]]:
                unswept = await drop_questions(connection, suppressed)
            await drop_unneeded(connection, [row["search_id"] for row in due if row["attempt"] is None])
        await save_meters(connection, provider, spend(gate.meters, gate.now, times[: len(rows)]))
        if gate.tripped and rows:
            await shut_behind(connection, provider, lease)
    jobs = [
        ClaimedJob(
            row["id"], row["search_id"], row["lookup_id"], row["attempt"], row["tries"],
            Contact(
                profile_url=row["profile_url"], work_email=row["work_email"], personal_email=row["personal_email"],
                name=row["name"], company=row["company"], region=row["region_hint"],
            ),
            gate.until(at), gate.tripped,
        )
        for row, at in zip(rows, times, strict=False)
    ]  # fmt: skip
    return Claim(jobs, more=len(due) == len(times), failing=gate.failing, unswept=unswept)


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
                   AS shut_for
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


async def affordable_questions(db: Db, provider: str, price: Decimal, budgets: Sequence[Budget]) -> int:
    """Return how many questions at *price* the budgets allow; lock the budgets until the transaction ends."""
    concerned = [budget for budget in budgets if budget.provider in (None, provider)]
    if not concerned or price == 0:
        return 1_000_000
    await db.execute("SELECT pg_advisory_xact_lock($1)", BUDGET_LOCK)
    left = []
    for budget in concerned:
        used = await db.fetchval(
            """
            SELECT COALESCE(sum(reserved + charged + possible), 0)
              FROM usage
             WHERE day >= date_trunc($1, now() AT TIME ZONE 'UTC')::date
               AND ($2::text IS NULL OR provider = $2)
            """,
            budget.period,
            budget.provider,
        )
        left.append(int((budget.credits - used) // price))
    return max(0, min(left))


async def _take_due(
    db: Db, provider: str, most: int, price: Decimal, lease: timedelta, callback_expected: bool, claim_id: UUID
) -> list[asyncpg.Record]:
    """Claim due jobs. Return also those that are not claimed, without an attempt.

    Their search has no open lookup, or their question is about a suppressed person.
    """
    rows: list[asyncpg.Record] = await db.fetch(
        """
        WITH fresh AS MATERIALIZED (
            SELECT id, search_id, lookup_id, due_at, 1 AS turn
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries = 0 AND due_at <= now()
             ORDER BY due_at, id
             LIMIT $2
               FOR UPDATE SKIP LOCKED   -- a second submitter takes the next ones
        ), again AS MATERIALIZED (
            SELECT id, search_id, lookup_id, due_at, 3 AS turn
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries > 0 AND due_at <= now()
             ORDER BY due_at, id
             LIMIT $2
               FOR UPDATE SKIP LOCKED
        ), due AS MATERIALIZED (
            -- Three fresh ones, then one that failed before: neither kind can starve the other.
            SELECT id, search_id, lookup_id
              FROM (SELECT *, turn * row_number() OVER (PARTITION BY turn ORDER BY due_at, id) AS place
                      FROM (SELECT * FROM fresh UNION ALL SELECT * FROM again) AS both_kinds) AS queue
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
                               LIMIT 1) END AS is_needed,
                   CASE WHEN (SELECT EXISTS (SELECT FROM suppressions))   -- usually there are none
                        THEN EXISTS (SELECT
                                       FROM searches
                                       JOIN suppressions ON suppressions.hash = ANY (searches.asked)
                                      WHERE searches.id = due.search_id)
                        ELSE false END AS is_suppressed
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
               AND NOT needed.is_suppressed
            RETURNING jobs.id, jobs.source, jobs.lookup_id, jobs.attempt, jobs.tries, jobs.reserved_on
        ), counted AS (
            INSERT INTO usage (provider, source, day, slot, reserved)
            SELECT $1, source, reserved_on, pg_backend_pid() % 16, count(*) * $3
              FROM claimed
             GROUP BY source, reserved_on
             ORDER BY source, reserved_on
                ON CONFLICT (provider, source, day, slot) DO UPDATE SET reserved = usage.reserved + excluded.reserved
        )
        SELECT needed.*, claimed.lookup_id, claimed.attempt, claimed.tries
          FROM needed
          LEFT JOIN claimed USING (id)
        """,
        provider,
        most,
        price,
        lease,
        callback_expected,
        claim_id,
    )
    return rows


async def _hold(db: Db, provider: str) -> int:
    """Hold the provider's due jobs (queued -> held), because the budget is used up. Return how many."""
    held = await db.fetch(
        """
        WITH fresh AS MATERIALIZED (
            SELECT id
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries = 0 AND due_at <= now()
             ORDER BY due_at, id
             LIMIT 5000
               FOR UPDATE SKIP LOCKED
        ), again AS MATERIALIZED (
            SELECT id
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries > 0 AND due_at <= now()
             ORDER BY due_at, id
             LIMIT 5000
               FOR UPDATE SKIP LOCKED
        )
        UPDATE jobs
           SET held = 'budget'
         WHERE id IN (SELECT id FROM fresh UNION ALL SELECT id FROM again)
        RETURNING id
        """,
        provider,
    )
    return len(held)


async def shut_behind(db: Db, provider: str, lease: timedelta) -> None:
    """Keep the breaker open for all other questions while the probe runs, for *lease* at most."""
    await db.execute("UPDATE providers SET open_until = now() + $2 WHERE name = $1", provider, lease)
