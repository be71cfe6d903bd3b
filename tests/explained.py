"""The statements that a function sends, captured, and the rows that the server reads for each."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]

BIG = 1_000  # rows; a smaller table may be read as a whole
OWN = "/* the test's own */"  # marks what a test needs beside the statements under test
STATEMENTS = (OWN, "SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
SCANS = ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Sample Scan")

Db: TypeAlias = Any
Deed: TypeAlias = Callable[[Db], Awaitable[object]]


class OneConnection:
    """A pool of one connection, whose transaction is open already."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @asynccontextmanager
    async def acquire(self, **_: Any) -> AsyncIterator[Connection]:
        """Yield the connection."""
        yield self.connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


async def capture(db: Connection, deed: Deed) -> list[tuple[str, Any]]:
    """Return every statement that *deed* sent, with its arguments; undo what it did."""
    sent: list[tuple[str, Any]] = []
    transaction = db.transaction()
    await transaction.start()
    with db.query_logger(lambda record: sent.append((record.query, record.args))):
        await deed(OneConnection(db))
    await transaction.rollback()
    return [(query, args) for query, args in sent if query.lstrip(" \n(").startswith(STATEMENTS)]


async def explain(db: Connection, sent: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """Repeat the statements, one after the other; return the plan of each; undo what they did."""
    plans = []
    transaction = db.transaction()
    await transaction.start()
    for query, args in sent:
        if query.startswith(OWN):
            await db.execute(query, *args)
            continue
        values = args[0] if isinstance(args, list) else args  # of many executions, the first
        statement = await db.prepare(query)
        types = [f"{kind.schema}.{kind.name}" for kind in statement.get_parameters()]
        literals = [await literal(db, kind, value) for kind, value in zip(types, values, strict=True)]
        await db.execute(f"PREPARE hot AS {query}")
        call = f"hot({', '.join(literals)})" if literals else "hot"
        told = await db.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF, FORMAT JSON) EXECUTE {call}")
        await db.execute("DEALLOCATE hot")
        plans.append(json.loads(told)[0]["Plan"])
    await transaction.rollback()
    return plans


async def literal(db: Connection, kind: str, value: Any) -> str:
    """Write the value as a literal of SQL."""
    kind = kind.removeprefix("pg_catalog.")
    text: str = await db.fetchval(f"SELECT quote_nullable($1::{kind}::text)", value)
    return text


async def big_tables(db: Connection) -> set[str]:
    """Return the tables that no statement may read through."""
    found = await db.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= $1 AND oid > 16383", BIG)
    names = {row["relname"] for row in found} - {"usage"}  # a row per provider, day and slot: read by the thousand
    assert {"jobs", "keys"} < names
    assert len({name for name in names if name.startswith("lookups_")}) >= 4
    return names


class Node:
    """One node of a plan that has a table."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.kind: str = plan["Node Type"]
        self.table: str | None = plan.get("Relation Name") if self.kind in SCANS and plan["Actual Loops"] else None


def rows(node: Node) -> float:
    """Return how many rows it looked at."""
    looked_at = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return float(sum(node.plan.get(name, 0) for name in looked_at) * node.plan["Actual Loops"])


def walk(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the node and everything below it."""
    yield plan
    for child in plan.get("Plans", []):
        yield from walk(child)


def drawn(plan: dict[str, Any], depth: int = 0) -> str:
    """Write the plan for people."""
    parts = [
        plan.get(name) for name in ("Subplan Name", "Node Type", "Relation Name", "Index Name", "Index Cond", "Filter")
    ]
    line = "  " * depth + " | ".join(str(part) for part in parts if part)
    line += f"  ({plan['Actual Rows']} rows x {plan['Actual Loops']})"
    return "\n".join([line, *(drawn(child, depth + 1) for child in plan.get("Plans", []))])
