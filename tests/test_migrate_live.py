"""`ringback migrate` on a database in use: no statement waits long, and an interrupted run is taken up again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from console.migrate import described
from store import lock_waits
from store.database import connect
from store.indexes import invalid_indexes, repair_indexes
from store.migrations import migrate, missing_steps
from store.partitions import HISTORY, Month
from store.plan import Lock, Size, plan
from store.steps import SchemaError
from tests.commands import empty_database, ringback
from tests.factories import job, lookup
from tests.freezing import freeze
from tests.next_schema import NEXT, beside, released, waits
from tests.order import Order

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]
    Pool: TypeAlias = asyncpg.Pool[Any]

COLUMN = ("a column of jobs", "ALTER TABLE jobs ADD COLUMN novel text;")
INDEXES = (
    "two indexes (concurrently)",
    """
    CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_by_source ON jobs (source);
    CREATE INDEX CONCURRENTLY IF NOT EXISTS lookups_by_region ON lookups (region, id);
    """,
)
PARTS = """
    SELECT part.relname
      FROM pg_inherits
      JOIN pg_class AS part ON part.oid = inhrelid
      JOIN pg_index ON indexrelid = part.oid AND indisvalid
     WHERE inhparent = 'lookups_by_region'::regclass
"""


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Connection]:
    """The connection that migrates."""
    connection = await connect(database_url, name="console")
    yield connection
    connection.terminate()


async def test_a_concurrent_step_builds_its_indexes_on_every_partition(
    db: Connection, database_url: str, tmp_path: Path
) -> None:
    """All are valid afterwards, and a month that is made later has its own."""
    with released(tmp_path, INDEXES):
        applied = await migrate(db, beside=beside(database_url))
    begin, end = Month(2099, 1).ids
    await db.execute(f"CREATE TABLE lookups_later PARTITION OF lookups FOR VALUES FROM ('{begin}') TO ('{end}')")

    assert [step.number for step in applied] == [NEXT]
    assert await invalid_indexes(db) == []
    parts = {row["relname"] for row in await db.fetch(PARTS)}
    assert {"lookups_default_by_region", "lookups_later_region_id_idx"} < parts
    assert len(parts) == await db.fetchval("SELECT count(*) FROM pg_inherits WHERE inhparent = 'lookups'::regclass")


async def test_an_empty_database_gets_concurrent_steps_too(server_url: str, tmp_path: Path) -> None:
    """In the one transaction of the first migrate, without another connection."""
    async with empty_database(server_url) as url:
        connection = await connect(url, name="console")
        with released(tmp_path, INDEXES):
            await migrate(connection)

        assert await connection.fetchval("SELECT to_regclass('lookups_by_region') IS NOT NULL")
        assert await invalid_indexes(connection) == []
        connection.terminate()


@pytest.mark.parametrize(
    ("table", "index"), [("jobs", "jobs_by_source"), ("lookups_default", "lookups_default_by_region")]
)
async def test_an_interrupted_build_is_taken_up_again(
    db: Connection, pool: Pool, database_url: str, order: Order, tmp_path: Path, table: str, index: str
) -> None:
    """The server ends the session in the middle: the step is still missing, and the next run mends the index."""
    with released(tmp_path, INDEXES):
        async with order.first() as writer:
            await writer.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
            run = asyncio.ensure_future(migrate(db, beside=beside(database_url)))
            builder = await waits(pool, f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ")
            await pool.execute("SELECT pg_terminate_backend($1)", builder)
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
                await run
        broken = await invalid_indexes(db)
        still = await missing_steps(db)
        applied = await migrate(db, beside=beside(database_url))

    assert broken
    assert [step.number for step in still] == [step.number for step in applied] == [NEXT]
    assert await invalid_indexes(db) == []
    assert len(await db.fetch(PARTS)) > 1


async def test_processes_that_build_indexes_at_once_take_turns(
    db: Connection, pool: Pool, database_url: str, order: Order, tmp_path: Path
) -> None:
    """The second waits without a snapshot, for which the first one's index would wait in turn."""
    second = await connect(database_url, name="console")
    with released(tmp_path, INDEXES):
        async with order.first() as writer:
            await writer.execute("LOCK TABLE jobs IN ROW EXCLUSIVE MODE")
            runs = [asyncio.ensure_future(migrate(db, beside=beside(database_url)))]
            await waits(pool, "CREATE INDEX CONCURRENTLY")
            runs.append(asyncio.ensure_future(migrate(second, beside=beside(database_url))))
        async with asyncio.timeout(10):
            applied = await asyncio.gather(*runs)

    assert [len(steps) for steps in applied] == [1, 0]
    second.terminate()


async def test_nobody_queues_for_long_behind_a_migration(
    db: Connection, pool: Pool, database_url: str, order: Order, tmp_path: Path
) -> None:
    """A long reader holds the table: a writer waits for a second at most, and the step is applied after the reader."""
    row = await lookup(pool)
    with released(tmp_path, COLUMN):
        async with order.first() as reader:
            await reader.fetch("SELECT FROM jobs")
            run = await order.waiting(migrate(db, beside=beside(database_url)))
            async with asyncio.timeout(5):
                await job(pool, lookup_id=row["id"])
            assert not run.done()
        (applied,) = await run

    assert applied.number == NEXT


async def test_the_session_in_the_way_is_named(
    db: Connection, database_url: str, order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command gives up after its time, says who holds the table, and has changed nothing."""
    monkeypatch.setattr(lock_waits, "TRY_FOR", 1.5)
    with released(tmp_path, COLUMN):
        async with order.first() as reader:
            await reader.execute("SET application_name = 'pg_dump'; LOCK TABLE jobs IN ACCESS SHARE MODE")
            with pytest.raises(
                SchemaError, match=r"session \d+ \(pg_dump, in a transaction for \d+ s\) holds it.*Remedy"
            ):
                await migrate(db, beside=beside(database_url))
        still = await missing_steps(db)

    assert [step.number for step in still] == [NEXT]


async def test_invalid_indexes_are_repaired_without_a_missing_step(
    db: Connection, pool: Pool, database_url: str, order: Order
) -> None:
    """One whose build was interrupted, one whose rebuild was, and one of a partitioned table without its parts."""
    for begun in ("CREATE INDEX CONCURRENTLY jobs_of_mine ON jobs (source)", "REINDEX INDEX CONCURRENTLY jobs_held"):
        async with order.first() as writer:
            await writer.execute("LOCK TABLE jobs IN ROW EXCLUSIVE MODE")
            run = asyncio.ensure_future(pool.execute(begun))
            await pool.execute("SELECT pg_cancel_backend($1)", await waits(pool, begun))
            with pytest.raises(asyncpg.QueryCanceledError):
                await run
    await db.execute("CREATE INDEX lookups_by_region ON ONLY lookups (region, id)")
    broken = [index.name for index in await invalid_indexes(db)]

    repaired = await repair_indexes(beside(database_url))

    assert broken == repaired == ["jobs_held_ccnew", "jobs_of_mine", "lookups_by_region"]
    assert await invalid_indexes(db) == []
    assert await migrate(db, beside=beside(database_url)) == []


async def test_the_plan_shows_statements_locks_and_sizes(
    db: Connection, pool: Pool, server_url: str, tmp_path: Path
) -> None:
    """It names the lock of each statement and the size of its table, and changes nothing."""
    await lookup(pool)
    with released(tmp_path, COLUMN, INDEXES):
        async with empty_database(server_url) as url:
            scratch = await asyncpg.connect(url)
            assert await freeze(scratch) == [NEXT, NEXT + 1]
            await scratch.close()
        await db.execute("ANALYZE lookups; CREATE INDEX lookups_by_name ON ONLY lookups (name)")
        planned = await plan(db)
        still = await missing_steps(db)

    shown = [
        (text.split()[0], lock.table, lock.mode, lock.reads_it)
        for step in planned.locks.values()
        for text, locks in step
        for lock in locks
    ]
    assert shown == [
        ("ALTER", "jobs", "ACCESS EXCLUSIVE", False),
        ("CREATE", "jobs", "SHARE UPDATE EXCLUSIVE", True),
        ("CREATE", "lookups", "SHARE UPDATE EXCLUSIVE", True),
    ]
    assert planned.sizes.keys() == {"jobs", "lookups"}
    assert planned.sizes["lookups"].rows == 1
    assert planned.sizes["lookups"].bytes > len(HISTORY) * 8192
    assert planned.invalid_indexes == ["lookups_by_name"]
    assert planned.steps == still


async def test_the_command_shows_the_plan_to_people_and_to_programs(database_url: str, tmp_path: Path) -> None:
    """The invalid index is named; exit code 0, and nothing is changed."""
    connection = await connect(database_url, name="tests")
    await connection.execute("CREATE INDEX lookups_by_name ON ONLY lookups (name)")

    told = [
        await ringback("migrate", *as_what, cwd=tmp_path, DATABASE_URL=database_url)
        for as_what in (["--plan"], ["--json"])
    ]
    left = await invalid_indexes(connection)
    connection.terminate()

    assert [one.code for one in told] == [0, 0]
    assert (
        told[0].out
        == "Nothing is missing: the schema is current.\nInvalid: index lookups_by_name would be built again.\n"
    )
    assert json.loads(told[1].out) == {"missing": [], "invalid_indexes": ["lookups_by_name"]}
    assert [index.name for index in left] == ["lookups_by_name"]


def test_a_lock_is_described_by_what_it_holds_up() -> None:
    """Who reads the plan need not know PostgreSQL's lock modes."""
    size = Size(12_000, 3_400_000)

    assert described(Lock("jobs", "ACCESS EXCLUSIVE", reads_it=False, rewrites_it=False), size) == (
        "ACCESS EXCLUSIVE on jobs (12,000 rows, 3.4 MB): for a moment; reads and writes wait"
    )
    assert described(Lock("jobs", "SHARE", reads_it=True, rewrites_it=False), None) == (
        "SHARE on jobs: reads the whole table; writes wait"
    )
    assert described(Lock("jobs", "SHARE UPDATE EXCLUSIVE", reads_it=True, rewrites_it=False), None) == (
        "SHARE UPDATE EXCLUSIVE on jobs: reads the whole table; reads and writes go on"
    )
