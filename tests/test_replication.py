"""A synchronous standby that is away: an acknowledgement means replicated, and a commit is never cancelled."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from rig.postgres import execute
from store import connection as connections
from store import database, embedded
from store.connection import NotReplicated
from store.database import (
    UNREACHABLE,
    close_pool,
    connect,
    open_pool,
    replication_is_stuck,
    transaction,
)
from tests.commands import until

SHORT = 0.3  # seconds that a caller waits for a commit


@pytest.fixture(scope="module")
def own_server() -> Iterator[str]:
    """A server whose settings may be changed: the others' is shared."""
    with tempfile.TemporaryDirectory(prefix="ringback-") as home:
        yield embedded.start(Path(home))
        embedded.stop(Path(home))


@pytest.fixture
async def pool(own_server: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Pool[Any]]:
    """A pool on that server, impatient with commits, and an empty table."""
    monkeypatch.setattr(connections, "COMMIT_TIMEOUT", SHORT)
    monkeypatch.setattr(database, "ACQUIRE_TIMEOUT", SHORT)
    await execute(own_server, "DROP TABLE IF EXISTS messages", "CREATE TABLE messages (id int PRIMARY KEY)")
    opened = await open_pool(own_server, name="tests", size=3)
    await opened.fetchval("SELECT 1")  # connected: on a busy machine that takes longer than the callers wait
    yield opened
    await close_pool(opened)


@asynccontextmanager
async def standby_away(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Wait for a standby that does not exist inside the block; yield a connection beside the pool."""
    await _wait_for_standby(url, "x")
    beside = await asyncpg.connect(url)
    try:
        yield beside
    finally:
        await beside.close()
        await _wait_for_standby(url, "")


async def _wait_for_standby(url: str, name: str) -> None:
    await execute(url, f"ALTER SYSTEM SET synchronous_standby_names = '{name}'", "SELECT pg_reload_conf()")
    beside = await asyncpg.connect(url)

    async def in_force() -> bool | None:
        return await beside.fetchval("SHOW synchronous_standby_names") == name or None

    await until(in_force)
    await beside.close()


async def store(pool: asyncpg.Pool[Any], number: int, *, acknowledge: bool = True) -> None:
    """Store a message once, as the receiver does."""
    async with transaction(pool, acknowledge=acknowledge) as connection:
        await connection.execute("INSERT INTO messages VALUES ($1) ON CONFLICT DO NOTHING", number)


async def stored(db: asyncpg.Connection[Any]) -> int | None:
    """Count the messages that are committed here; None for none."""
    return await db.fetchval("SELECT count(*) FROM messages") or None


async def cancelled(beside: asyncpg.Connection[Any], writing: Awaitable[Any]) -> None:
    """Cancel what *writing* commits, as an administrator does, once it waits for the standby."""
    task = asyncio.ensure_future(writing)

    async def cancel() -> bool | None:
        query = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        return await beside.fetchval(query) or None

    await until(cancel)
    await task


async def test_a_commit_that_waits_is_not_acknowledged(pool: asyncpg.Pool[Any], own_server: str) -> None:
    """The caller hears in time; the commit is not cancelled: it is still waiting, and ends when the standby is back."""
    async with standby_away(own_server) as beside:
        with pytest.raises(UNREACHABLE):
            await store(pool, 1)
        assert await stored(beside) is None

    async with asyncio.timeout(10):
        await store(pool, 2)
    assert await pool.fetchval("SELECT count(*) FROM messages") == 2


async def test_a_caller_that_is_cancelled_does_not_cancel_its_commit(pool: asyncpg.Pool[Any], own_server: str) -> None:
    """A cancelled commit might not be replicated."""
    async with standby_away(own_server) as beside:
        task = asyncio.create_task(store(pool, 1))

        async def waits() -> bool | None:
            waiting = await beside.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            return waiting > 0 or None

        await until(waits)
        task.cancel()
        await asyncio.wait([task])
        assert await waits()
        assert await stored(beside) is None


async def test_a_repeated_message_waits_for_the_first(pool: asyncpg.Pool[Any], own_server: str) -> None:
    """A message that is committed here, and nowhere else, is not acknowledged when it comes again."""
    async with standby_away(own_server) as beside:
        with pytest.raises(NotReplicated):
            await cancelled(beside, store(pool, 1))
        assert await stored(beside) == 1

        with pytest.raises(UNREACHABLE):
            await store(pool, 1)


async def test_the_servers_warning_is_a_failure_of_a_single_statement_as_well(
    pool: asyncpg.Pool[Any], own_server: str
) -> None:
    """A statement that is its own transaction is not reported as done either."""
    async with standby_away(own_server) as beside:
        with pytest.raises(NotReplicated):
            await cancelled(beside, pool.execute("INSERT INTO messages VALUES (1)"))

    assert await pool.execute("INSERT INTO messages VALUES (2)") == "INSERT 0 1"


async def test_commits_that_wait_never_hold_more_than_the_pool(pool: asyncpg.Pool[Any], own_server: str) -> None:
    """Tries do not pile up sessions on the server, each with its locks."""
    async with standby_away(own_server) as beside:
        for number in range(10):
            with pytest.raises(UNREACHABLE):
                await store(pool, number)
        waiting = await beside.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")

    assert waiting == pool.get_max_size()


async def test_a_session_that_dies_while_its_commit_waits_leaves_nothing_behind(
    pool: asyncpg.Pool[Any], own_server: str
) -> None:
    """The server may crash in the middle of a commit whose caller is gone: no error is left unhandled."""
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    assert isinstance(pool, database.PatientPool)
    async with standby_away(own_server) as beside:
        for number in range(pool.get_max_size()):
            with pytest.raises(UNREACHABLE):
                await store(pool, number)
        await beside.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")

        async def let_go() -> bool | None:
            return not pool.stuck or None

        assert await until(let_go)
    gc.collect()  # an unhandled error is reported when its task is collected

    await store(pool, 10)
    assert await pool.fetchval("SELECT count(*) FROM messages WHERE id = 10") == 1
    assert unheard == []


async def test_stuck_replication_is_told(
    pool: asyncpg.Pool[Any], own_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that waits itself, and one that sees others wait, each log it; and no more once the standby is back."""
    monkeypatch.setattr(database, "STUCK_AFTER", SHORT)
    other = await open_pool(own_server, name="other", size=2)
    assert not await replication_is_stuck(pool)
    async with standby_away(own_server):
        with pytest.raises(UNREACHABLE):
            await store(pool, 1)

        async def told() -> bool | None:
            return (await replication_is_stuck(pool) and await replication_is_stuck(other)) or None

        assert await until(told)

    async def well() -> bool | None:
        return not (await replication_is_stuck(pool) or await replication_is_stuck(other)) or None

    assert await until(well)
    await close_pool(other)


async def test_a_transaction_that_had_to_be_rolled_back_is_no_commit(pool: asyncpg.Pool[Any]) -> None:
    """PostgreSQL answers COMMIT after a failed statement with a rollback, and without an error."""

    async def swallowing() -> None:
        async with transaction(pool) as connection:
            await connection.execute("INSERT INTO messages VALUES (1)")
            with pytest.raises(asyncpg.UniqueViolationError):
                await connection.execute("INSERT INTO messages VALUES (1)")

    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await swallowing()

    assert await pool.fetchval("SELECT count(*) FROM messages") == 0


async def test_a_part_of_a_transaction_may_fail_alone(pool: asyncpg.Pool[Any]) -> None:
    """A savepoint inside is rolled back, and the rest is committed."""
    async with transaction(pool, acknowledge=True) as connection:
        await connection.execute("INSERT INTO messages VALUES (1)")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute("INSERT INTO messages VALUES (1)")

    assert await pool.fetchval("SELECT count(*) FROM messages") == 1


async def test_any_role_may_wait_for_replication(own_server: str, pool: asyncpg.Pool[Any]) -> None:
    """What makes an empty transaction wait needs no privilege."""
    await execute(own_server, "DROP ROLE IF EXISTS plain", "CREATE ROLE plain")
    connection: Any = await connect(own_server, name="tests")
    await connection.execute("SET ROLE plain")
    async with connection.transaction():
        connection.acknowledge()

    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
