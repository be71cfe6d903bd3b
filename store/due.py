"""Take the due jobs of a provider: claim those that may be asked, hold the others.

Held are those whose source has no credits or is paused, and those that may repeat a question after a restore.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from store.database import Db
from store.restores import REPEATING

HELD_AT_ONCE = 5000  # jobs that one statement holds for a provider's budget or the brake, at most, of either kind
WINDOW, ROUNDS = 50, 40  # due jobs that a claim looks further through for sources that can pay: at least; how often


@dataclass(frozen=True, slots=True)
class Terms:
    """What every claimed job gets."""

    provider: str
    price: Decimal
    lease: timedelta
    callback_expected: bool
    claim_id: UUID


@dataclass(frozen=True, slots=True)
class Shares:
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

    def without(self, due: Sequence[asyncpg.Record]) -> Shares:
        """Return what is left after these jobs."""
        used = [row["source"] for row in due if row["attempt"] is not None]
        return Shares({name: most - used.count(name) for name, most in self.sources.items()}, self.braked)


async def take_due(db: Db, terms: Terms, most: int, shares: Shares) -> list[asyncpg.Record]:
    """Claim up to *most* due jobs; look further where jobs that may not be asked stand before others."""
    due = taken = await _take_some(db, terms, most, most, shares)
    for _ in range(ROUNDS):
        left = most - _asked(due)
        if left == 0 or not any(row["held"] for row in taken):
            break
        taken = await _take_some(db, terms, left, max(WINDOW, most), shares.without(due))
        due = [*due, *taken]
    return due


def _asked(due: Sequence[asyncpg.Record]) -> int:
    return sum(row["attempt"] is not None for row in due)


async def _take_some(db: Db, terms: Terms, most: int, window: int, shares: Shares) -> list[asyncpg.Record]:
    """Claim up to *most* of the first due jobs, *window* of each kind; hold those that may not be asked.

    Return also those that are not claimed, without an attempt: those that were held, those whose search has no open
    lookup, and those whose question is about a suppressed person.
    """
    rows: list[asyncpg.Record] = await db.fetch(
        f"WITH {_QUEUE}, {REPEATING}, {_SHARED if shares.are_limited else _NOT_SHARED}, {_CLAIMED}",
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
_NOT_SHARED = """
        shared AS MATERIALIZED (
            SELECT queue.*, CASE WHEN repeating.id IS NOT NULL THEN 'restored' END AS held
              FROM queue
              LEFT JOIN repeating USING (id)
        )
"""
# What is beyond the share of its source is held.
_SHARED = """
        shared AS MATERIALIZED (
            SELECT queue.*,
                   CASE WHEN repeating.id IS NOT NULL THEN 'restored'
                        WHEN row_number() OVER (PARTITION BY queue.source, repeating.id IS NULL ORDER BY place)
                             > share.most THEN share.held END AS held
              FROM queue
              LEFT JOIN repeating USING (id)
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
                               LIMIT 1) END AS is_needed,
                   CASE WHEN (SELECT EXISTS (SELECT FROM suppressions))   -- usually there are none
                        THEN EXISTS (SELECT
                                       FROM searches
                                       -- A lookup that was handed the search holds more than it asked about.
                                       JOIN suppressions ON suppressions.hash = ANY (searches.asked || lookups.keys)
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
        SELECT id, search_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, source, NULL, NULL, NULL, held
          FROM held
"""


async def hold(db: Db, provider: str, held: str) -> int:
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
