"""The steps of schema.sql: released ones never change, and none holds up a large table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from store.plan import Frozen, read_frozen
from store.steps import MARKS, Step, needed_step, read_steps, statements
from tests.commands import empty_database
from tests.freezing import measure

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]

# What may stand in a step that is `(concurrently)`: each takes SHARE UPDATE EXCLUSIVE, and may be repeated.
CONCURRENT = (
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS ",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS ",
    "DROP INDEX CONCURRENTLY IF EXISTS ",
    "ALTER TABLE ",
)


@pytest.fixture
async def db(server_url: str) -> AsyncIterator[Connection]:
    """A connection to an empty database."""
    async with empty_database(server_url) as url:
        connection = await asyncpg.connect(url)
        yield connection
        await connection.close()


def test_a_released_step_never_changes() -> None:
    """An edit is refused here, before a database refuses it."""
    frozen = read_frozen()
    edited = [step.number for step in read_steps() if frozen.get(step.number, step).checksum != step.checksum]
    new = [step.number for step in read_steps() if step.number not in frozen]

    assert not edited, (
        f"Step {edited} of schema.sql differs from store/steps.json: databases that have it would be refused. "
        "Restore it, and put the change in a new step at the end. If it was never released, "
        "take it out of store/steps.json and run `make freeze`."
    )
    assert not new, f"Step {new} of schema.sql is not in store/steps.json. Run `make freeze`, and commit the file."


async def test_the_locks_in_the_plan_are_those_that_postgresql_takes(db: Connection) -> None:
    """They are measured again, statement by statement."""
    measured = {step.number: await measure(db, step) for step in read_steps()}

    assert measured == read_frozen()


def objections(step: Step, frozen: Frozen) -> list[str]:
    """What makes a step unfit to run while everybody works."""
    texts = statements(step.sql)
    if step.is_concurrent:
        return [
            f"step {step.number}: it does not belong into a concurrent step: {text}"
            for text in texts
            if not text.startswith(CONCURRENT)
            or (text.startswith("ALTER TABLE ") and " VALIDATE CONSTRAINT " not in text)
        ]
    new = {text.split()[2] for text in texts if text.startswith("CREATE TABLE ")}  # not in use yet
    return [
        f"step {step.number}: it {'rewrites' if lock.rewrites_it else 'reads'} all of {lock.table}: {text}"
        for text, locks in zip(texts, frozen.locks, strict=True)
        for lock in locks
        if lock.table not in new and (lock.reads_it or lock.rewrites_it)
    ]


def test_no_step_holds_up_a_table_for_longer_than_a_moment() -> None:
    """What reads a table from end to end belongs into a step that is `(concurrently)`."""
    frozen = read_frozen()

    assert [words for step in read_steps()[1:] for words in objections(step, frozen[step.number])] == []


async def test_a_step_that_holds_up_a_table_is_noticed(db: Connection) -> None:
    """An index, a checked constraint and a rewrite; not a new column, a new table, or an unchecked constraint."""
    (first, *_) = read_steps()
    await measure(db, first)
    sql = """
        ALTER TABLE jobs ADD COLUMN one text;  -- a semicolon; here
        ALTER TABLE jobs ADD CONSTRAINT two CHECK (one <> ';') NOT VALID;
        CREATE TABLE three (id uuid PRIMARY KEY);
        CREATE INDEX seven ON three (id);
        CREATE INDEX four ON lookups (record_id);
        ALTER TABLE jobs ADD CONSTRAINT five CHECK (one <> 'none');
        ALTER TABLE jobs ADD COLUMN six uuid DEFAULT gen_random_uuid();
    """
    step = Step(2, "too much at once", sql)

    noticed = objections(step, await measure(db, step))

    assert [words.partition(": ")[2].partition(":")[0] for words in noticed] == [
        "it reads all of lookups", "it reads all of jobs", "it rewrites all of jobs",
    ]  # fmt: skip


def test_a_concurrent_step_has_only_what_can_be_repeated() -> None:
    """After a crash its statements run again from the first one on."""
    step = Step(
        2,
        "of all kinds (concurrently)",
        """
        CREATE INDEX CONCURRENTLY IF NOT EXISTS one ON jobs (id);
        ALTER TABLE jobs VALIDATE CONSTRAINT two;
        DROP INDEX CONCURRENTLY IF EXISTS three;
        CREATE INDEX CONCURRENTLY four ON jobs (id);
        ALTER TABLE jobs ADD COLUMN five text;
        """,
    )

    noticed = objections(step, Frozen("", ()))

    assert [words.rpartition(": ")[2] for words in noticed] == [
        "CREATE INDEX CONCURRENTLY four ON jobs (id)", "ALTER TABLE jobs ADD COLUMN five text",
    ]  # fmt: skip


def test_brackets_at_the_end_of_a_title_are_marks() -> None:
    """A mark that is misspelt would be overlooked by older programs."""
    assert [step.title for step in read_steps() if step.title.endswith(")") and not MARKS.search(step.title)] == []


@pytest.mark.parametrize(
    ("title", "is_concurrent", "needs"),
    [
        ("a column", False, 1),
        ("an index (concurrently)", True, 1),
        ("no column (needs step 7)", False, 7),
        ("no index (concurrently, needs step 12)", True, 12),
    ],
)
def test_the_marks_of_a_title(title: str, is_concurrent: bool, needs: int) -> None:
    """They say how a step runs, and which programs can no longer work with the database."""
    assert (Step(2, title, "").is_concurrent, needed_step(title)) == (is_concurrent, needs)


def test_statements_end_where_postgresql_ends_them() -> None:
    """Not at a semicolon in a string, a name, a comment or a function's body."""
    sql = """
        -- First; of all
        CREATE TABLE "odd;name" (a text DEFAULT 'it''s; so');  -- then; a comment
        /* one; more */ CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $body$ SELECT 1; SELECT $$;$$::int; $body$;
        SELECT 1
    """

    assert [statement.split()[:2] for statement in statements(sql)] == [
        ["CREATE", "TABLE"], ["CREATE", "FUNCTION"], ["SELECT", "1"],
    ]  # fmt: skip
