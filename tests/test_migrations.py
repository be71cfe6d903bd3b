"""schema.sql is applied step by step, each step once, whichever process comes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from store.migrations import migrate, missing_steps, require_current
from store.steps import SchemaError, read_steps
from tests.commands import empty_database

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]


@pytest.fixture
async def empty_url(server_url: str) -> AsyncIterator[str]:
    """A database without anything in it."""
    async with empty_database(server_url) as url:
        yield url


@pytest.fixture
async def db(empty_url: str) -> AsyncIterator[Connection]:
    """A connection to the empty database."""
    connection = await asyncpg.connect(empty_url)
    yield connection
    await connection.close()


async def tables(db: Connection) -> set[str]:
    """The names of the tables that are there."""
    return {row[0] for row in await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_steps_are_numbered_from_one_without_a_gap() -> None:
    """A step that is forgotten, doubled or out of order is a mistake in the file."""
    numbers = [step.number for step in read_steps()]

    assert numbers == list(range(1, len(numbers) + 1))


async def test_an_empty_database_gets_every_step_once(db: Connection) -> None:
    """The first run applies all steps and says which; the second finds nothing to do."""
    first = await migrate(db)

    assert first == read_steps()
    assert await migrate(db) == []
    assert {"lookups", "jobs", "schema_steps"} <= await tables(db)


async def test_processes_that_migrate_at_once_take_turns(empty_url: str) -> None:
    """Of several processes one applies the steps, and the others wait and find nothing to do."""
    connections = [await asyncpg.connect(empty_url) for _ in range(4)]

    applied = await asyncio.gather(*(migrate(connection) for connection in connections))

    assert sorted(len(steps) for steps in applied) == [0, 0, 0, len(read_steps())]
    await asyncio.gather(*(connection.close() for connection in connections))


async def test_looking_at_what_is_missing_changes_nothing(db: Connection) -> None:
    """The missing steps are named, and the database stays as it was."""
    missing = await missing_steps(db)

    assert missing == read_steps()
    assert await tables(db) == set()


async def test_a_step_that_fails_leaves_nothing_behind(db: Connection) -> None:
    """All missing steps are applied, or none."""
    await db.execute("CREATE TABLE limits (mine text)")

    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(db)

    assert await tables(db) == {"limits"}


async def test_an_edited_step_is_refused(db: Connection) -> None:
    """A released step never changes: an edited one is refused by name."""
    await migrate(db)
    await db.execute("UPDATE schema_steps SET checksum = 'of something else' WHERE number = 1")

    with pytest.raises(SchemaError, match=r"Step 1 of schema\.sql differs"):
        await migrate(db)
    with pytest.raises(SchemaError, match=r"Step 1 of schema\.sql differs"):
        await require_current(db)


async def test_a_newer_database_is_worked_with(db: Connection) -> None:
    """An old program may restart while a newer one is deployed, or come back in its place."""
    await migrate(db)
    await db.execute("INSERT INTO schema_steps (number, title, checksum) VALUES (999, 'of tomorrow', '')")

    await require_current(db)
    assert await migrate(db) == []


async def test_a_step_that_needs_a_newer_program_refuses_the_older(db: Connection) -> None:
    """The step says which step a program must know; one that knows it goes on, the others say what to do."""
    newest = read_steps()[-1].number
    await migrate(db)
    insert = "INSERT INTO schema_steps (number, title, checksum) VALUES ($1, $2, '')"
    await db.execute(insert, 998, f"without a column (needs step {newest})")
    await require_current(db)
    await db.execute(insert, 999, f"without another (concurrently, needs step {newest + 1})")

    with pytest.raises(SchemaError, match="step 999, newer than this program"):
        await migrate(db)
    with pytest.raises(SchemaError, match="step 999, newer than this program"):
        await require_current(db)


async def test_a_process_does_not_start_on_an_old_database(db: Connection) -> None:
    """A process says what to run, until the database is at the newest step."""
    with pytest.raises(SchemaError, match="run `ringback migrate`"):
        await require_current(db)
    await migrate(db)

    await require_current(db)


async def test_white_space_around_a_step_is_not_a_change() -> None:
    """The text between two steps may be laid out anew."""
    (first, *_) = read_steps()
    spaced = type(first)(first.number, first.title, f"\n\n{first.sql}\n")

    assert spaced.checksum == first.checksum
