"""History lies in months: each table of it has a partition for every month, made ahead of time.

A UUIDv7 begins with the milliseconds of its making, so that a month is a range of ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID

import asyncpg
import structlog

Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

# What is written once or twice and then only read, each table with the id that says which month a row is of.
HISTORY = {
    "events": "id",
    "lookups": "id",
    "searches": "id",
    "finished_jobs": "id",
    "callbacks": "job_id",
    "ledger": "job_id",
}
AHEAD = 2  # months that are there before they begin: whoever makes them may be away for so long
LOCK = 7_243_391_102_003  # any number, but always this one: only one process makes partitions at a time

# Why a partition could not be made now; its rows go to the default one meanwhile, and nothing is lost.
OBSTACLES = {
    asyncpg.LockNotAvailableError: "somebody uses the table for long; it is tried again",
    asyncpg.QueryCanceledError: "the default partition is too large to be looked through while everybody waits",
    asyncpg.CheckViolationError: "the default partition has rows of that month, and keeps them",
    asyncpg.DuplicateTableError: "a table of that name is there, and is no partition",
    asyncpg.InvalidObjectDefinitionError: "another partition has part of that month",
}
IMPATIENT = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)  # everybody has waited: enough for now

log = structlog.get_logger()


def first_id(moment: datetime) -> UUID:
    """The least UUIDv7 of that *moment*: an id begins with the milliseconds of its making."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """One month, UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        """The month in which *moment* lies."""
        return cls(*moment.astimezone(UTC).timetuple()[:2])

    @property
    def begin(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def next(self) -> Month:
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def ids(self) -> tuple[UUID, UUID]:
        """Its ids: from the first of these on, and before the second."""
        return first_id(self.begin), first_id(self.next.begin)

    def partition_of(self, table: str) -> str:
        """The name of this month's part of *table*."""
        return f"{table}_{self.year:04}_{self.number:02}"

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


async def ensure_partitions(connection: Connection, *, since: datetime | None = None) -> list[str]:
    """This month and the next two have their partitions, and so have those from *since* on; the new ones are returned.

    Safe when several processes do so at once.  Nobody waits long for it: what cannot be made at once is logged, and
    left for the next time.
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
    """The months of each table of the history that are there, the oldest first."""
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
    """This month's part of *table* is there; False when somebody else has made it meanwhile."""
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '5s'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if (table, month) in await partitions(connection):
            return False
        # The names are quoted by PostgreSQL. The options are those of the default partition.
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
        # Everybody who uses the table waits while we wait for its lock, and while the default partition is searched
        # for rows of this month. Usually it is empty, and all of it takes milliseconds.
        await connection.execute("SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '2s'")
        await connection.execute(statement)
    return True
