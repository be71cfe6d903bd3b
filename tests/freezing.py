"""Measure the locks of the steps of schema.sql, and write store/steps.json: `make freeze`, after a step was added.

A step that is in the file already is released: it is never measured or written again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from rig.postgres import Postgres
from store import plan
from store.plan import Frozen, Lock, read_frozen
from store.steps import Step, read_steps, statements

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]

# From weak to strong. Everything up to SHARE UPDATE EXCLUSIVE lets others read and write.
# https://www.postgresql.org/docs/current/explicit-locking.html
MODES = {
    "RowShareLock": "ROW SHARE",
    "RowExclusiveLock": "ROW EXCLUSIVE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}
STRENGTH = {mode: strength for strength, mode in enumerate(MODES.values())}
CONCURRENT = "SHARE UPDATE EXCLUSIVE"  # what CONCURRENTLY and VALIDATE take

TABLES = """
    SELECT pg_class.oid, COALESCE(parent.relname, pg_class.relname) AS name,
           pg_relation_filenode(pg_class.oid) AS filenode, COALESCE(seq_scan, 0) AS scans
      FROM pg_class
      LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
      LEFT JOIN pg_class AS parent ON parent.oid = inhparent
      LEFT JOIN pg_stat_xact_user_tables ON relid = pg_class.oid
     WHERE pg_class.relkind IN ('r', 'p') AND pg_class.relnamespace = 'public'::regnamespace
"""
LOCKS = "SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'"


async def measure(db: Connection, step: Step) -> Frozen:
    """Apply *step* to *db*, which has all the steps before it; return what its statements lock."""
    locks = []
    for statement in statements(step.sql_in_a_transaction):
        async with db.transaction():
            locks.append(await _locks_of(db, statement, is_concurrent=step.is_concurrent))
    return Frozen(step.checksum, () if step.number == 1 else tuple(locks))


async def _locks_of(db: Connection, statement: str, *, is_concurrent: bool) -> tuple[Lock, ...]:
    before = {row["oid"]: row for row in await db.fetch(TABLES)}
    await db.execute(statement)
    held = await db.fetch(LOCKS)
    after = {row["oid"]: row for row in await db.fetch(TABLES)}
    modes: defaultdict[str, set[str]] = defaultdict(set)
    read, rewritten = set(), set()
    for oid in before.keys() & {row["relation"] for row in held}:
        name = before[oid]["name"]
        modes[name] |= {MODES[row["mode"]] for row in held if row["relation"] == oid and row["mode"] in MODES}
        if oid in after and after[oid]["scans"] > before[oid]["scans"]:
            read.add(name)
        if oid in after and after[oid]["filenode"] != before[oid]["filenode"]:
            rewritten.add(name)
    return tuple(
        Lock(
            name,
            CONCURRENT if is_concurrent else max(of_table, key=STRENGTH.__getitem__),
            name in read,
            name in rewritten,
        )
        for name, of_table in sorted(modes.items())
        if of_table
    )


async def freeze(db: Connection) -> list[int]:
    """Measure in the empty *db* the steps that are not in the file, and add them to it; return their numbers."""
    frozen, added = read_frozen() if plan.FROZEN.exists() else {}, []
    for step in read_steps():
        measured = await measure(db, step)
        if step.number not in frozen:
            frozen[step.number] = measured
            added.append(step.number)
    plan.FROZEN.write_text(as_json(frozen), encoding="utf-8")
    return added


def as_json(frozen: dict[int, Frozen]) -> str:
    """Return the text of steps.json: a line for each statement."""
    steps = [
        f'  "{number}": {{\n    "checksum": "{step.checksum}",\n    "locks": ['
        + ",".join("\n      " + json.dumps([asdict(lock) for lock in locks]) for locks in step.locks)
        + ("\n    " if step.locks else "")
        + "]\n  }"
        for number, step in sorted(frozen.items())
    ]
    return "{\n" + ",\n".join(steps) + "\n}\n"


async def _main(url: str) -> None:
    db = await asyncpg.connect(url)
    added = await freeze(db)
    await db.close()
    sys.stdout.write(f"Frozen: {', '.join(map(str, added)) or 'nothing new'}.\n")


if __name__ == "__main__":
    postgres = Postgres({"fsync": "off"})
    try:
        asyncio.run(_main(postgres.create()))
    finally:
        postgres.remove()
