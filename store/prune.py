"""Look at months of history, and drop those that nothing needs any more."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

from store.partitions import HISTORY, Connection, Month, first_id, partitions

LOOK_TIMEOUT = 600.0  # seconds, for reading through a month
CLOCKS_APART = timedelta(minutes=1)  # at most, between two machines that make ids


@dataclass(frozen=True, slots=True)
class Needed:
    """Rows that keep a month, counted by reason."""

    open: int  # lookups of the month that have not ended
    asked: int  # open jobs: of the month, of its lookups or of its searches
    searching: int  # searches that are open, or whose lookups have not all followed their end
    awaited: int  # open lookups of other months that wait for a search of this one
    recent: int  # lookups, searches and jobs that ended after the cutoff
    to_check: int  # finished jobs whose doubted answer is still to be verified
    of_others: int  # finished jobs of older lookups that are still needed
    delivering: int  # deliveries that have not ended: of the month, or of its lookups

    def __bool__(self) -> bool:
        return any(astuple(self))


@dataclass(frozen=True, slots=True)
class Found:
    """The contents of a month, as `look_at` saw them."""

    month: Month
    lookups: int
    bytes: int
    needed: Needed
    looked_at: datetime


async def months_before(connection: Connection, cutoff: datetime) -> list[Month]:
    """List the months that ended before *cutoff*, the oldest first."""
    return sorted({month for _, month in await partitions(connection) if month.next.begin <= cutoff})


async def oldest_month(connection: Connection) -> Month | None:
    """Return the oldest month that has a partition."""
    return min((month for _, month in await partitions(connection)), default=None)


async def without_month(connection: Connection, cutoff: datetime) -> int:
    """Count the lookups from before *cutoff* in the default partition: they came before their month's was made."""
    count: int = await connection.fetchval("SELECT count(*) FROM lookups_default WHERE id < $1", first_id(cutoff))
    return count


async def look_at(connection: Connection, month: Month, cutoff: datetime) -> Found:
    """Count the rows of *month* and those still needed. A row that ended before *cutoff* is not needed for its age."""
    looked_at = datetime.now(UTC)
    async with connection.transaction(readonly=True):
        await connection.execute("SET LOCAL statement_timeout = '600s'")
        row = await connection.fetchrow(
            """
            SELECT lookup.*, search.*, job.*,
                   (SELECT count(*)
                      FROM jobs
                     WHERE id >= $1 AND id < $2
                        OR lookup_id >= $1 AND lookup_id < $2
                        OR search_id >= $1 AND search_id < $2) AS asked,
                   (SELECT count(*)
                      FROM lookups
                     WHERE search_id >= $1 AND search_id < $2
                       AND NOT (id >= $1 AND id < $2)
                       AND final_status IS NULL) AS awaited,
                   (SELECT count(*)
                      FROM finished_jobs AS theirs
                      JOIN lookups AS older ON older.id = theirs.lookup_id
                     WHERE theirs.id >= $1 AND theirs.id < $2
                       AND theirs.lookup_id < $1
                       AND (older.final_status IS NULL OR older.finished_at >= $3)) AS of_others,
                   (SELECT count(*)
                      FROM deliveries
                     WHERE state IN ('queued', 'sending')
                       AND (id >= $1 AND id < $2 OR lookup_id >= $1 AND lookup_id < $2)) AS delivering,
                   (SELECT COALESCE(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint
                      FROM unnest($4::text[]) AS names (name)) AS bytes
              FROM (SELECT count(*) AS lookups,
                           count(*) FILTER (WHERE final_status IS NULL) AS open,
                           count(*) FILTER (WHERE finished_at >= $3) AS finished_recently
                      FROM lookups
                     WHERE id >= $1 AND id < $2) AS lookup
             CROSS JOIN
                   (SELECT count(*) FILTER (WHERE ended_at IS NULL OR unswept) AS searching,
                           count(*) FILTER (WHERE ended_at >= $3) AS ended_recently
                      FROM searches
                     WHERE id >= $1 AND id < $2) AS search
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
    needed = Needed(
        open=row["open"],
        asked=row["asked"],
        searching=row["searching"],
        awaited=row["awaited"],
        recent=max(row["finished_recently"], row["ended_recently"], row["answered_recently"]),
        to_check=row["to_check"],
        of_others=row["of_others"],
        delivering=row["delivering"],
    )
    return Found(month, row["lookups"], row["bytes"], needed, looked_at)


async def drop_month(connection: Connection, found: Found) -> bool:
    """Drop this month of every table. Return False when one of its rows has become needed since the look.

    All processes wait meanwhile, for milliseconds. Raise LockNotAvailableError when a table is in use for longer.
    """
    async with connection.transaction():
        # Shorter than PostgreSQL's deadlock_timeout: other processes take precedence.
        await connection.execute("SET LOCAL lock_timeout = '150ms'; SET LOCAL statement_timeout = '2s'")
        await connection.execute(f"LOCK TABLE {', '.join(f'ONLY {table}' for table in HISTORY)}")
        if await _has_become_needed(connection, found):
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


async def _has_become_needed(connection: Connection, found: Found) -> bool:
    """Tell whether a row of the month has become needed since the look.

    One of its lookups, or an older one, was asked again, and may have ended since; or a late answer came; or lookups
    have yet to follow one of its searches, or wait for one; or a person replayed a delivery.
    """
    needed: bool = await connection.fetchval(
        """
        SELECT EXISTS (SELECT FROM lookups WHERE id >= $1 AND id < $2 AND final_status IS NULL)
            OR EXISTS (SELECT FROM lookups WHERE search_id >= $1 AND search_id < $2 AND final_status IS NULL)
            OR EXISTS (SELECT FROM jobs WHERE lookup_id < $2 AND (lookup_id >= $1 OR id >= $3))
            OR EXISTS (SELECT FROM jobs WHERE search_id >= $1 AND search_id < $2)
            OR EXISTS (SELECT FROM searches WHERE unswept AND id >= $1 AND id < $2)
            OR EXISTS (SELECT FROM finished_jobs WHERE id >= $3 AND lookup_id < $2)
            OR EXISTS (SELECT FROM finished_jobs WHERE id >= $1 AND id < $2 AND finished_at >= $4)
            OR EXISTS (SELECT FROM lookups WHERE id >= $1 AND id < $2 AND finished_at >= $4)
            OR EXISTS (SELECT FROM deliveries
                        WHERE state = 'queued' AND (id >= $1 AND id < $2 OR lookup_id >= $1 AND lookup_id < $2))
            OR EXISTS (SELECT FROM deliveries
                        WHERE state = 'sending' AND (id >= $1 AND id < $2 OR lookup_id >= $1 AND lookup_id < $2))
        """,
        *found.month.ids,
        first_id(found.looked_at - CLOCKS_APART),
        found.looked_at - CLOCKS_APART,
    )
    return needed
