"""Build indexes while everybody reads and writes, and repair those that an interrupted build left invalid.

PostgreSQL builds no index concurrently on a partitioned table. There, an invalid index of the parent alone comes first;
then every partition gets its index, concurrently, which is attached; the last one makes the parent's valid.
https://www.postgresql.org/docs/current/sql-createindex.html
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import structlog

from store.lock_waits import BRIEFLY, Beside, Blockers, retried
from store.steps import SchemaError, statements

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]

CREATE_INDEX = re.compile(
    r"CREATE (?P<unique>UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (?P<name>\w+)\s+ON (?P<table>\w+)"
)
CONCURRENTLY_WITHIN = 6 * 3600.0  # seconds for one statement, which waits for every transaction that is older than it
LOOK_EVERY = 1.0  # seconds between two looks at an index that another session builds

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Index:
    """An invalid index. Queries do not use it; every write pays for it."""

    name: str
    is_partitioned: bool
    is_remnant: bool  # of an interrupted REINDEX CONCURRENTLY, which left the index itself as it was
    is_under_way: bool  # another session is building it


async def run_concurrently(sql: str, beside: Beside) -> None:
    """Carry out the statements of *sql*, each by itself; again after a crash does no harm.

    Return when no index is invalid. Raise SchemaError.
    """
    async with beside() as connection:
        for statement in statements(sql):
            created = CREATE_INDEX.match(statement)
            if created and await _is_partitioned(connection, created["table"]):
                await _briefly(connection, CREATE_INDEX.sub(_on_only, statement), beside)
            else:
                await _unhurried(connection, statement, beside)
    await repair_indexes(beside)


async def invalid_indexes(db: Connection) -> list[Index]:
    """Return the invalid indexes of our tables, those of partitioned tables last."""
    rows = await db.fetch(
        """
        SELECT index.relname AS name, index.relkind = 'I' AS is_partitioned,
               index.relname ~ '_cc(new|old)\\d*$' AS is_remnant,
               EXISTS (SELECT FROM pg_stat_progress_create_index AS progress
                        WHERE progress.datname = current_database()
                          AND COALESCE(progress.relid, pg_index.indrelid) = pg_index.indrelid) AS is_under_way
          FROM pg_index
          JOIN pg_class AS index ON index.oid = pg_index.indexrelid
         WHERE NOT pg_index.indisvalid
           AND index.relnamespace = quote_ident(current_schema())::regnamespace
         ORDER BY index.relkind = 'I', index.relname !~ '_cc(new|old)\\d*$', index.relname
        """
    )
    return [Index(**row) for row in rows]


async def repair_indexes(beside: Beside) -> list[str]:
    """Make every index valid; return the names of the invalid ones. Raise SchemaError for one that stays so."""
    repaired: list[str] = []
    async with beside() as connection:
        while invalid := await invalid_indexes(connection):
            index = invalid[0]
            if index.is_under_way:
                log.warning("index_awaited", index=index.name)
                await asyncio.sleep(LOOK_EVERY)
                continue
            if repaired.count(index.name) > 1:
                raise SchemaError(
                    f"Index {index.name} stays invalid. Remedy: drop it, and run `ringback migrate` again."
                )
            await _repair(connection, index, beside)
            repaired.append(index.name)
    return list(dict.fromkeys(repaired))


async def _repair(connection: Connection, index: Index, beside: Beside) -> None:
    if index.is_partitioned:
        await _complete(connection, index.name, beside)
        return
    statement = await connection.fetchval(
        "SELECT format('%s INDEX CONCURRENTLY %I', $1::text, $2::text)",
        "DROP" if index.is_remnant else "REINDEX",
        index.name,
    )
    await _unhurried(connection, statement, beside)


async def _complete(connection: Connection, name: str, beside: Beside) -> None:
    """Give every partition its part of the partitioned index *name*."""
    parts = await connection.fetch(
        """
        WITH parts AS (
            SELECT part.relname AS partition,
                   part.relname || CASE WHEN starts_with($1, whole.relname || '_')
                                        THEN substr($1, length(whole.relname) + 1)
                                        ELSE '_' || $1 END AS name,
                   pg_get_indexdef(pg_index.indexrelid) AS definition
              FROM pg_index
              JOIN pg_class AS whole ON whole.oid = pg_index.indrelid
              JOIN pg_inherits ON pg_inherits.inhparent = whole.oid
              JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid
             WHERE pg_index.indexrelid = to_regclass(quote_ident($1))
               AND NOT EXISTS (SELECT FROM pg_inherits AS attached
                                 JOIN pg_index AS theirs ON theirs.indexrelid = attached.inhrelid
                                WHERE attached.inhparent = pg_index.indexrelid
                                  AND theirs.indrelid = part.oid)
        )
        SELECT name,
               regexp_replace(definition, '^CREATE (UNIQUE )?INDEX .* ON ONLY \\S+ USING ',
                              format('CREATE \\1INDEX CONCURRENTLY IF NOT EXISTS %I ON %I USING ', name, partition))
                   AS creates,
               format('ALTER INDEX %I ATTACH PARTITION %I', $1, name) AS attaches
          FROM parts
         ORDER BY partition
        """,
        name,
    )
    for part in parts:
        await _unhurried(connection, part["creates"], beside)
        if part["name"] not in {index.name for index in await invalid_indexes(connection)}:
            await _briefly(connection, part["attaches"], beside)


def _on_only(created: re.Match[str]) -> str:
    return f"CREATE {created['unique'] or ''}INDEX IF NOT EXISTS {created['name']} ON ONLY {created['table']}"


async def _is_partitioned(connection: Connection, table: str) -> bool:
    found: bool = await connection.fetchval("SELECT relkind = 'p' FROM pg_class WHERE oid = $1::text::regclass", table)
    return found


async def _unhurried(connection: Connection, statement: str, beside: Beside) -> None:
    """Execute a statement that may wait for long, because no caller waits for it."""
    blockers = Blockers(beside)

    async def attempt() -> None:
        async with blockers.watched(connection):
            await connection.execute(statement, timeout=CONCURRENTLY_WITHIN)

    try:
        await retried(attempt, blockers)
    except asyncpg.QueryCanceledError as error:
        raise SchemaError(
            f"PostgreSQL cancelled `{statement.partition(' ON ')[0]}`: {error}. It is built again by the next run. "
            "Remedy: behind PgBouncer, set DATABASE_DIRECT_URL; run `ringback migrate` again."
        ) from error


async def _briefly(connection: Connection, statement: str, beside: Beside) -> None:
    """Execute a statement that others wait for."""
    blockers = Blockers(beside)

    async def attempt() -> None:
        async with connection.transaction():
            await connection.execute(BRIEFLY)
            async with blockers.watched(connection):
                await connection.execute(statement)

    await retried(attempt, blockers)
