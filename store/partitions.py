"""Make the monthly partitions of the history tables, ahead of time.

A UUIDv7 begins with the milliseconds of its creation, so a month is a range of ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID

import asyncpg
import structlog

Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

# Tables that are written once or twice and then only read, each with the id that decides a row's month.
HISTORY = {
    "events": "id",
    "lookups": "id",
    "searches": "id",
    "finished_jobs": "id",
    "callbacks": "job_id",
    "ledger": "job_id",
    "deliveries": "id",
}
AHEAD = 2  # months made before they begin: the processes that make them may be down for that long
LOCK = 7_243_391_102_003  # any number, but always this one: only one process makes partitions at a time

# Why a partition could not be made now. Its rows go to the default partition meanwhile; nothing is lost.
OBSTACLES = {
    asyncpg.LockNotAvailableError: "another transaction holds the table; this is tried again",
    asyncpg.QueryCanceledError: "the default partition is too large to search while all processes wait",
    asyncpg.CheckViolationError: "the default partition has rows of that month, and keeps them",
    asyncpg.DuplicateTableError: "a table of that name exists, and is not a partition",
    asyncpg.InvalidObjectDefinitionError: "another partition covers part of that month",
}
IMPATIENT = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)  # every process had to wait: enough for now

log = structlog.get_logger()


NEWEST = UUID(int=2**128 - 1)  # no id is newer


def first_id(moment: datetime) -> UUID:
    """Return the smallest UUIDv7 of *moment*: an id begins with the milliseconds of its creation."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        """Return the month that contains *moment*."""
        return cls(*moment.astimezone(UTC).timetuple()[:2])

    @property
    def begin(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def next(self) -> Month:
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def ids(self) -> tuple[UUID, UUID]:
        """Return the month's range of ids: from the first (inclusive) to the second (exclusive)."""
        return first_id(self.begin), first_id(self.next.begin)

    def partition_of(self, table: str) -> str:
        """Return the name of this month's partition of *table*."""
        return f"{table}_{self.year:04}_{self.number:02}"

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


async def ensure_partitions(connection: Connection, *, since: datetime | None = None) -> list[str]:
    """Make the missing partitions from *since*, or else this month, to AHEAD months from now; return their names.

    Several processes may do this at once, and no process waits long for it: log a partition that cannot be made at
    once, and leave it for the next time.
    """
    there = set(await partitions(connection))
    made = []
    for month in _wanted(since):
        for table in HISTORY:
            if (table, month) in there:
                continue
            try:
                if await _make(connection, table, month):
                    made.append(month.partition_of(table))
            except tuple(OBSTACLES) as error:
                why = next(why for kind, why in OBSTACLES.items() if isinstance(error, kind))
                log.warning("partition_not_made", partition=month.partition_of(table), why=why)
                if isinstance(error, IMPATIENT):
                    return made
    return made


def _wanted(since: datetime | None) -> list[Month]:
    now = datetime.now(UTC)
    months = [Month.of(since or now)]
    while len(months) <= AHEAD or months[-AHEAD - 1] < Month.of(now):
        months.append(months[-1].next)
    return months


async def partitions(connection: Connection) -> list[tuple[str, Month]]:
    """Return the existing (table, month) partitions of the history, oldest first."""
    rows = await connection.fetch(
        """
        SELECT parent.relname AS of_table, substring(part.relname FROM '_(\\d{4})_\\d{2}$')::int AS year,
               substring(part.relname FROM '_\\d{4}_(\\d{2})$')::int AS number
          FROM pg_inherits
          JOIN pg_class AS parent ON parent.oid = pg_inherits.inhparent
          JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid
         WHERE pg_inherits.inhparent = ANY ($1::text[]::regclass[])
           AND part.relname ~ ('^' || parent.relname || '_\\d{4}_\\d{2}$')
         ORDER BY 2, 3
        """,
        list(HISTORY),
    )
    return [(row["of_table"], Month(row["year"], row["number"])) for row in rows]


async def _make(connection: Connection, table: str, month: Month) -> bool:
    """Make this month's partition of *table*; return False when another process has made it meanwhile."""
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '5s'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if (table, month) in await partitions(connection):
            return False
        # PostgreSQL quotes the names. The options are those of the default partition.
        begin, end = month.ids
        statement = await connection.fetchval(
            """
            SELECT format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)%s', $1::text, $2::text,
                          $3::uuid, $4::uuid, ' WITH (' || array_to_string(reloptions, ', ') || ')')
              FROM pg_class
             WHERE oid = ($2::text || '_default')::regclass
            """,
            month.partition_of(table),
            table,
            begin,
            end,
        )
        # Every user of the table waits while we wait for its lock, and while PostgreSQL searches the default partition
        # for rows of this month. Usually that is empty, and all of this takes milliseconds.
        await connection.execute("SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '2s'")
        await connection.execute(statement)
    return True
