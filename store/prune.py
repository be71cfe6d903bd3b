"""Months that are over for good: whether anything in one is still needed, and how it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from store.partitions import HISTORY, Connection, Month, first_id, partitions

LOOK_TIMEOUT = 600.0  # seconds, for reading through a month
CHUNK = 10_000  # keys that are looked at in one statement
CLOCKS_APART = timedelta(minutes=1)  # at most, between two machines that make ids


@dataclass(frozen=True, slots=True)
class Needed:
    """How much of a month somebody may still ask for; each number says of what."""

    open: int  # lookups that have not ended
    asked: int  # questions that are open, of this month or of its lookups
    followed: int  # open lookups, of any month, that follow one of this month
    recent: int  # lookups, and jobs, that ended too short a time ago
    to_check: int  # jobs whose doubted answer is still to be verified
    of_others: int  # jobs of this month, of lookups before it that are still needed

    def __bool__(self) -> bool:
        return any((self.open, self.asked, self.followed, self.recent, self.to_check, self.of_others))


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a month."""

    month: Month
    lookups: int
    bytes: int
    needed: Needed
    looked_at: datetime


async def months_before(connection: Connection, cutoff: datetime) -> list[Month]:
    """The months that were over at *cutoff*, the oldest first."""
    return sorted({month for _, month in await partitions(connection) if month.next.begin <= cutoff})


async def oldest_month(connection: Connection) -> Month | None:
    """The oldest month that there is."""
    return min((month for _, month in await partitions(connection)), default=None)


async def without_month(connection: Connection, cutoff: datetime) -> int:
    """How many lookups from before *cutoff* lie in the default partition: their month was not there when they came."""
    count: int = await connection.fetchval("SELECT count(*) FROM lookups_default WHERE id < $1", first_id(cutoff))
    return count


async def look_at(connection: Connection, month: Month, cutoff: datetime) -> Found:
    """What there is of *month*, and what of it is needed by somebody when all that ended before *cutoff* is not."""
    looked_at = datetime.now(UTC)
    async with connection.transaction(readonly=True):
        await connection.execute("SET LOCAL statement_timeout = '600s'")
        row = await connection.fetchrow(
            """
            SELECT lookup.*, job.*,
                   (SELECT count(*)
                      FROM jobs
                     WHERE id >= $1 AND id < $2
                        OR lookup_id >= $1 AND lookup_id < $2) AS asked,
                   (SELECT count(*)
                      FROM lookups
                     WHERE reused_from >= $1 AND reused_from < $2 AND final_status IS NULL) AS followed,
                   (SELECT count(*)
                      FROM finished_jobs AS theirs
                      JOIN lookups AS older ON older.id = theirs.lookup_id
                     WHERE theirs.id >= $1 AND theirs.id < $2
                       AND theirs.lookup_id < $1
                       AND (older.final_status IS NULL OR older.finished_at >= $3)) AS of_others,
                   (SELECT COALESCE(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint
                      FROM unnest($4::text[]) AS names (name)) AS bytes
              FROM (SELECT count(*) AS lookups,
                           count(*) FILTER (WHERE final_status IS NULL) AS open,
                           count(*) FILTER (WHERE finished_at >= $3) AS ended_recently
                      FROM lookups
                     WHERE id >= $1 AND id < $2) AS lookup
             CROSS JOIN
                   (SELECT count(*) FILTER (WHERE finished_at >= $3) AS answered_recently,
                           count(*) FILTER (WHERE check_at IS NOT NULL) AS to_check
                      FROM finished_jobs
                     WHERE id >= $1 AND id < $2) AS job
            """,
            *month.ids,
            cutoff,
            [month.partition_of(table) for table in HISTORY],
            timeout=LOOK_TIMEOUT,
        )
    assert row is not None  # noqa: S101  it counts
    recent = max(row["ended_recently"], row["answered_recently"])
    needed = Needed(row["open"], row["asked"], row["followed"], recent, row["to_check"], row["of_others"])
    return Found(month, row["lookups"], row["bytes"], needed, looked_at)


async def drop_month(connection: Connection, found: Found) -> bool:
    """This month's part of every table is gone; False when something of it has come to be needed since the look.

    Everybody waits while it happens, which takes milliseconds.  Raises LockNotAvailableError when somebody uses one
    of the tables for longer than that.
    """
    async with connection.transaction():
        # Shorter than PostgreSQL waits before it looks for a deadlock: of us and somebody at work, we give way.
        await connection.execute("SET LOCAL lock_timeout = '150ms'; SET LOCAL statement_timeout = '2s'")
        await connection.execute(
            "LOCK TABLE ONLY events, ONLY lookups, ONLY finished_jobs, ONLY callbacks, ONLY ledger"
        )
        if await _has_come_to_be_needed(connection, found):
            return False
        there = [table for table, month in await partitions(connection) if month == found.month]
        if there:
            statement = await connection.fetchval(
                """
                SELECT 'DROP TABLE ' || string_agg(quote_ident(name), ', ')
                  FROM unnest($1::text[]) AS names (name)
                """,
                [found.month.partition_of(table) for table in there],
            )
            await connection.execute(statement)
    return True


async def _has_come_to_be_needed(connection: Connection, found: Found) -> bool:
    """Whether one of its lookups, or an older one, was asked again since the look; it may have ended since, too."""
    needed: bool = await connection.fetchval(
        """
        SELECT EXISTS (SELECT FROM lookups WHERE id >= $1 AND id < $2 AND final_status IS NULL)
            OR EXISTS (SELECT FROM jobs WHERE lookup_id < $2 AND (lookup_id >= $1 OR id >= $3))
            OR EXISTS (SELECT FROM finished_jobs WHERE id >= $3 AND lookup_id < $2)
        """,
        *found.month.ids,
        first_id(found.looked_at - CLOCKS_APART),
    )
    return needed


async def drop_keys(connection: Connection, cutoff: datetime) -> AsyncIterator[int]:
    """No key leads to a lookup from before *cutoff* that is gone; how many were deleted, chunk by chunk of all keys.

    What somebody has locked at this moment is about to lead elsewhere.  A key stays while whoever spoke before the
    lost one is there: a late answer may have made that one worth hearing.
    """
    last: bytes | None = b""
    while last is not None:
        row = await connection.fetchrow(
            """
            WITH chunk AS MATERIALIZED (
                SELECT key, lookup_id, before
                  FROM keys
                 WHERE key > $1
                 ORDER BY key
                 LIMIT $2
            ), stray AS MATERIALIZED (
                SELECT keys.key
                  FROM chunk
                  JOIN keys ON keys.key = chunk.key AND keys.lookup_id = chunk.lookup_id
                 WHERE chunk.lookup_id < $3
                   AND NOT EXISTS (SELECT FROM lookups WHERE lookups.id = chunk.lookup_id)
                   AND NOT EXISTS (SELECT FROM lookups WHERE lookups.id = chunk.before)
                   FOR UPDATE OF keys SKIP LOCKED
            ), gone AS (
                DELETE FROM keys
                 USING stray
                 WHERE keys.key = stray.key
                RETURNING keys.key
            )
            SELECT (SELECT key FROM chunk ORDER BY key DESC LIMIT 1) AS last,
                   (SELECT count(*) FROM gone) AS gone
            """,
            last,
            CHUNK,
            first_id(cutoff),
        )
        assert row is not None  # noqa: S101  it counts
        last = row["last"]
        if row["gone"]:
            yield row["gone"]
