"""What `ringback migrate` would do: each missing statement, the locks that it takes, and how large their tables are.

PostgreSQL says which locks a statement takes only while it runs. So they are measured when a step is written
(tests/freezing.py), and kept in steps.json with the step's checksum. No step changes after that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from store.indexes import invalid_indexes
from store.migrations import missing_steps
from store.steps import PACKAGE, SchemaError, Step, statements

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]

FROZEN = PACKAGE / "steps.json"


@dataclass(frozen=True, slots=True, order=True)
class Lock:
    """A lock that a statement takes on a table that was there before it."""

    table: str
    mode: str  # as in PostgreSQL's manual: ACCESS EXCLUSIVE, SHARE ...
    reads_it: bool  # from the first row to the last
    rewrites_it: bool


@dataclass(frozen=True, slots=True)
class Frozen:
    """What is known of a released step."""

    checksum: str
    locks: tuple[
        tuple[Lock, ...], ...
    ]  # of each statement; of the first step none, because no table is there before it


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a table with its indexes and all its partitions; *rows* is PostgreSQL's estimate."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is missing in a database."""

    steps: Sequence[Step]
    locks: Mapping[int, Sequence[tuple[str, Sequence[Lock]]]]  # by step: each statement with its locks
    sizes: dict[str, Size]  # by table
    invalid_indexes: Sequence[str]


def read_frozen() -> dict[int, Frozen]:
    """Read what is known of the released steps, by number."""
    known = json.loads(FROZEN.read_text(encoding="utf-8"))
    return {
        int(number): Frozen(step["checksum"], tuple(tuple(Lock(**lock) for lock in locks) for locks in step["locks"]))
        for number, step in known.items()
    }


async def plan(db: Connection) -> Plan:
    """Return what `migrate` would do to this database now; change nothing. Raise SchemaError as it would."""
    steps = await missing_steps(db)
    frozen = read_frozen()
    if unmeasured := [step.number for step in steps if step.number not in frozen]:
        raise SchemaError(f"The locks of steps {unmeasured} were never measured. Remedy: run `make freeze`.")
    # An empty database has no table to lock.
    locks = {
        step.number: list(zip(statements(step.sql), frozen[step.number].locks, strict=True))
        for step in steps
        if steps[0].number > 1
    }
    tables = {lock.table for step in locks.values() for _, of_statement in step for lock in of_statement}
    return Plan(steps, locks, await _sizes(db, tables), [index.name for index in await invalid_indexes(db)])


async def _sizes(db: Connection, tables: set[str]) -> dict[str, Size]:
    rows = await db.fetch(
        """
        SELECT name, sum(GREATEST(reltuples, 0))::bigint AS rows,
               sum(pg_total_relation_size(pg_class.oid))::bigint AS bytes
          FROM unnest($1::text[]) AS name
          LEFT JOIN LATERAL pg_partition_tree(to_regclass(quote_ident(name))) AS part ON part.isleaf
          JOIN pg_class ON pg_class.oid = COALESCE(part.relid, to_regclass(quote_ident(name)))
         GROUP BY name
        """,
        sorted(tables),
    )
    return {row["name"]: Size(row["rows"], row["bytes"]) for row in rows}
