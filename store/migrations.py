"""Apply schema.sql step by step, each step once.

The row of an applied step keeps its checksum, so that an edit of a released step is noticed, and its title, whose marks
tell older programs whether they can go on (store/steps.py).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import structlog

from store.database import UNREACHABLE, DatabaseDown, WrongDatabase, connect, database_down
from store.indexes import repair_indexes, run_concurrently
from store.installation import create_identity_key, read_identity_key
from store.lock_waits import BRIEFLY, Beside, Blockers, retried
from store.partitions import ensure_partitions
from store.steps import SchemaError, Step, needed_step, read_steps

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]
    Pool: TypeAlias = asyncpg.Pool[Any]

LOCK = 7_243_391_102_001  # any number, but always this one: only one process migrates at a time
TURN_WITHIN = 6 * 3600.0  # seconds; another process may be building the indexes of large tables
STEP_WITHIN = 600.0  # seconds, for a step in one transaction
LOOK_EVERY = 0.2  # seconds between two looks whether it is our turn
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between two tries to reach the database at the start
SAY_EVERY = 60.0  # seconds between two log lines about it

log = structlog.get_logger()


class _NotOurTurn(Exception):
    """Another process is migrating."""


async def migrate(
    connection: Connection, *, identity_key: str | None = None, beside: Beside | None = None
) -> list[Step]:
    """Apply the missing steps, repair invalid indexes, and make the partitions of the coming months.

    Return the missing steps, oldest first. *identity_key* is IDENTITY_KEY; without it, the first migrate makes a random
    key. *beside* opens more connections, without timeouts: for what runs outside a transaction, and to see who
    is in the way. An empty database needs none.

    Several processes may run this at once: they take turns, and the later ones find nothing to do. It may be killed at
    any moment and run again. Raise SchemaError when an applied step differs from the file, or a table stays in use;
    IdentityKeyError when the database was filled with another *identity_key*.
    """
    missing: list[Step] = []
    blockers = Blockers(beside)
    while steps := await retried(lambda: _apply_next(connection, beside, blockers), blockers):
        missing += steps
    await create_identity_key(connection, identity_key)
    await read_identity_key(connection, identity_key)  # here, so that a wrong one ends the deployment
    await ensure_partitions(connection)
    return missing


async def missing_steps(db: Pool | Connection) -> list[Step]:
    """Return the steps that `migrate` would apply, oldest first. Raise SchemaError as it would."""
    applied = await _applied(db)
    _compare(applied)
    return [step for step in read_steps() if step.number not in applied]


async def newest_applied(connection: Connection) -> int:
    """Return the number of the newest step in the database; 0 in an empty one."""
    return max(await _applied(connection), default=0)


async def _apply_next(connection: Connection, beside: Beside | None, blockers: Blockers) -> list[Step]:
    """Apply the next missing step when it is our turn: to an empty database all of them, or none. Return those applied.

    When none is missing, repair the invalid indexes.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + TURN_WITHIN
    while clock() < deadline:
        # In a transaction of READ COMMITTED, which holds no snapshot between its statements: an index that is built
        # concurrently meanwhile would wait for its end. For the same reason each look is a transaction of its own.
        with suppress(_NotOurTurn):
            async with connection.transaction(isolation="read_committed"):
                await _take_turn(connection)
                missing = await missing_steps(connection)
                if not missing:
                    await _repair(connection, beside)
                elif missing == read_steps():
                    await _apply_all(connection, missing)
                else:
                    del missing[1:]
                    await _apply(connection, missing[0], beside, blockers)
                return missing
        await asyncio.sleep(LOOK_EVERY)
    raise SchemaError("Another `ringback migrate` is still running. Remedy: wait until it has ended.")


async def _take_turn(connection: Connection) -> None:
    await connection.execute(BRIEFLY)
    if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK):
        raise _NotOurTurn


async def _apply_all(connection: Connection, steps: list[Step]) -> None:
    await connection.execute(
        """
        CREATE TABLE IF NOT EXISTS schema_steps (
            number      integer     NOT NULL PRIMARY KEY,
            title       text        NOT NULL,
            checksum    text        NOT NULL,
            applied_at  timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    for step in steps:
        await connection.execute(step.sql_in_a_transaction, timeout=STEP_WITHIN)
        await _record(connection, step)


async def _apply(connection: Connection, step: Step, beside: Beside | None, blockers: Blockers) -> None:
    if step.is_concurrent:
        if beside is None:
            raise SchemaError(f"Step {step.number} needs a second connection. Remedy: run `ringback migrate`.")
        await _let_go_of_snapshot(connection)
        await run_concurrently(step.sql, beside)
    else:
        async with blockers.watched(connection):
            await connection.execute(step.sql, timeout=STEP_WITHIN)
    await _record(connection, step)  # fails if our turn ended meanwhile, because that was this transaction


async def _record(connection: Connection, step: Step) -> None:
    await connection.execute(
        "INSERT INTO schema_steps (number, title, checksum) VALUES ($1, $2, $3)",
        step.number, step.title, step.checksum,
    )  # fmt: skip


async def _repair(connection: Connection, beside: Beside | None) -> None:
    if beside is not None:
        await _let_go_of_snapshot(connection)
        if repaired := await repair_indexes(beside):
            log.info("indexes_repaired", indexes=repaired)


async def _let_go_of_snapshot(connection: Connection) -> None:
    # asyncpg leaves the cursor of its last query open, and with it a snapshot: an index that is built concurrently
    # would wait for it.
    await connection.execute("CLOSE ALL")


async def wait_until_current(url: str, *, name: str, stop: asyncio.Event | None = None) -> bool:
    """Wait until PostgreSQL can be used, and check its schema; return False if *stop* is set first.

    Raise WrongDatabase or SchemaError, which waiting does not mend.
    """
    loop = asyncio.get_running_loop()
    stop = stop or asyncio.Event()
    pause, waited, said_at = SHORTEST_PAUSE, False, -SAY_EVERY
    while not stop.is_set():
        try:
            await _check(url, name)
        except (WrongDatabase, SchemaError):
            raise
        except DatabaseDown as error:
            if loop.time() - said_at >= SAY_EVERY:
                log.warning("database_awaited", why=str(error))
                said_at = loop.time()
        else:
            if waited:
                log.info("database_found")
            return True
        waited = True
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
        pause = min(2 * pause, LONGEST_PAUSE)
    return False


async def _check(url: str, name: str) -> None:
    connection = await connect(url, name=name)
    try:
        await require_current(connection)
    except (asyncpg.PostgresError, *UNREACHABLE) as error:
        raise database_down(error) from error
    finally:
        connection.terminate()


async def require_current(db: Pool | Connection) -> None:
    """Check that this program can work with the database. Raise SchemaError, which says what to do, if it cannot."""
    if missing := await missing_steps(db):
        raise SchemaError(
            f"The database lacks {len(missing)} of {len(read_steps())} schema steps. Remedy: run `ringback migrate`."
        )


async def _applied(db: Pool | Connection) -> dict[int, asyncpg.Record]:
    if await db.fetchval("SELECT to_regclass('schema_steps') IS NULL"):
        return {}
    return {row["number"]: row for row in await db.fetch("SELECT number, title, checksum FROM schema_steps")}


def _compare(applied: dict[int, asyncpg.Record]) -> None:
    """Check that this program can work with these steps: those it knows are the same, the others do not need more."""
    known = {step.number: step for step in read_steps()}
    newest = max(known)
    for number, row in sorted(applied.items()):
        if number in known and known[number].checksum != row["checksum"]:
            raise SchemaError(
                f"Step {number} of schema.sql differs from the one that was applied. "
                "Remedy: restore the step, and put the change in a new one."
            )
        if number not in known and needed_step(row["title"]) > newest:
            raise SchemaError(
                f"The database has step {number}, newer than this program, which knows {newest} and would have to know "
                f"{needed_step(row['title'])}. Remedy: deploy the newer program."
            )
