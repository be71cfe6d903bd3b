"""The circuit breaker of each provider, shared by all processes: failures in a row stop its questions for a while.

It opens for one second at first, then for twice as long each time, up to a minute. Then one question probes.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from store.database import Db

FAILURES_TO_TRIP = 10
# A firewall that refuses one question again and again may object to that question; refusing so many, it blocks us.
BLOCKED_JOBS_TO_TRIP = 5


async def note_failures(db: Db, name: str, failures: int, *, probed: bool) -> bool:
    """Add *failures* in a row and open the breaker at FAILURES_TO_TRIP. Return True when it opened now.

    An open breaker opens for longer only when the probe failed (*probed*): the others were asked before it opened.
    """
    opens: bool | None = await db.fetchval(
        """
        WITH before AS (
            SELECT name, failures + $2 >= $3 AND (trips = 0 OR $4) AS opens
              FROM providers
             WHERE name = $1
               FOR UPDATE
        )
        UPDATE providers
           SET failures = failures + $2,
               trips = trips + opens::int,
               open_until = CASE WHEN opens THEN now() + LEAST(interval '1 second' * power(2, LEAST(trips, 10)),
                                                               interval '1 minute')
                                 ELSE open_until END
          FROM before
         WHERE providers.name = before.name
        RETURNING opens
        """,
        name,
        failures,
        FAILURES_TO_TRIP,
        probed,
    )
    return bool(opens)


async def note_blocked(db: Db, name: str, jobs: Sequence[UUID], *, probed: bool) -> bool:
    """Note that a firewall refused these jobs' questions, and open the breaker at BLOCKED_JOBS_TO_TRIP different ones.

    Return True when it opened now. It counts as a failure, so that the next success of any process is noted.
    """
    opens: bool | None = await db.fetchval(
        """
        WITH before AS (
            SELECT name, trips = 0 OR $4 AS may_open,
                   ARRAY(SELECT DISTINCT unnest(blocked_jobs || $2::uuid[]) LIMIT $3) AS jobs
              FROM providers
             WHERE name = $1
               FOR UPDATE
        ), decided AS (
            SELECT name, jobs, may_open AND cardinality(jobs) >= $3 AS opens
              FROM before
        )
        UPDATE providers
           SET blocked_jobs = decided.jobs,
               failures = GREATEST(failures, 1),
               trips = trips + opens::int,
               open_until = CASE WHEN opens THEN now() + LEAST(interval '1 second' * power(2, LEAST(trips, 10)),
                                                               interval '1 minute')
                                 ELSE open_until END
          FROM decided
         WHERE providers.name = decided.name
        RETURNING opens
        """,
        name,
        list(jobs),
        BLOCKED_JOBS_TO_TRIP,
        probed,
    )
    return bool(opens)


async def note_success(db: Db, name: str) -> int:
    """Close the breaker and reset the failures. Return how often in a row it had opened."""
    trips: int | None = await db.fetchval(
        """
        WITH before AS (
            SELECT name, trips
              FROM providers
             WHERE name = $1
               AND (failures > 0 OR trips > 0)
               FOR UPDATE
        )
        UPDATE providers
           SET failures = 0, trips = 0, open_until = NULL, blocked_jobs = '{}'
          FROM before
         WHERE providers.name = before.name
        RETURNING before.trips
        """,
        name,
    )
    return trips or 0
