"""Apply schema.sql step by step, each step once.

A step begins at a line `-- step N: title`. The row of an applied step keeps its checksum, so that an edit of a released
step is noticed.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from store.database import UNREACHABLE, DatabaseDown, WrongDatabase, connect, database_down
from store.installation import create_identity_key, read_identity_key
from store.partitions import ensure_partitions

log = structlog.get_logger()

STEP = re.compile(r"^-- step (\d+): (.+)$", re.MULTILINE)
LOCK = 7_243_391_102_001  # any number, but always this one: only one process migrates at a time
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between two tries to reach the database at the start
SAY_EVERY = 60.0  # seconds between two log lines about it


class SchemaError(Exception):
    """The database is not at the version of this program; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of schema.sql."""

    number: int
    title: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.strip().encode()).hexdigest()


def read_steps() -> list[Step]:
    """Read the steps of schema.sql, in order, from the package or from the root of the repository."""
    package = Path(__file__).parent
    installed = package / "schema.sql"
    text = (installed if installed.exists() else package.parent / "schema.sql").read_text(encoding="utf-8")
    marks = list(STEP.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [Step(int(mark[1]), mark[2], text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]


async def migrate(
    connection: asyncpg.Connection[Any], *, identity_key: str | None = None, dry_run: bool = False
) -> list[Step]:
    """Apply the missing steps and make the partitions of the coming months; return those steps, oldest first.

    *identity_key* is IDENTITY_KEY; without it, the first migrate makes a random key. Several processes may run this
    at once: they take turns, and the later ones find nothing to do. Raise SchemaError when an applied step differs
    from the file, IdentityKeyError when the database was filled with another *identity_key*.
    """
    missing = await _apply(connection, dry_run=dry_run)
    if dry_run and missing:
        return missing
    if not dry_run:
        await create_identity_key(connection, identity_key)
    await read_identity_key(connection, identity_key)  # here, so that a wrong one ends the deployment
    if not dry_run:
        await ensure_partitions(connection)
    return missing


async def _apply(connection: asyncpg.Connection[Any], *, dry_run: bool) -> list[Step]:
    """Apply all missing steps, or none, and return them, oldest first."""
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '600s'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK, timeout=70)
        applied = await _applied(connection)
        missing = [step for step in read_steps() if step.number not in applied]
        _compare(applied)
        if dry_run or not missing:
            return missing
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
        for step in missing:
            await connection.execute(step.sql, timeout=600)
            await connection.execute(
                "INSERT INTO schema_steps (number, title, checksum) VALUES ($1, $2, $3)",
                step.number, step.title, step.checksum,
            )  # fmt: skip
        return missing


async def wait_until_current(url: str, *, name: str, stop: asyncio.Event | None = None) -> bool:
    """Wait until PostgreSQL can be used, and check that its schema is current; return False if *stop* is set first.

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


async def require_current(db: asyncpg.Pool[Any] | asyncpg.Connection[Any]) -> None:
    """Check that the database is at the newest step. Raise SchemaError, which says what to do, if it is not."""
    applied = await _applied(db)
    missing = [step for step in read_steps() if step.number not in applied]
    if missing:
        raise SchemaError(
            f"The database lacks {len(missing)} of {len(read_steps())} schema steps. Remedy: run `ringback migrate`."
        )
    _compare(applied)


async def _applied(db: asyncpg.Pool[Any] | asyncpg.Connection[Any]) -> dict[int, str]:
    if await db.fetchval("SELECT to_regclass('schema_steps') IS NULL"):
        return {}
    return {row["number"]: row["checksum"] for row in await db.fetch("SELECT number, checksum FROM schema_steps")}


def _compare(applied: dict[int, str]) -> None:
    known = {step.number: step for step in read_steps()}
    if newer := sorted(set(applied) - set(known)):
        raise SchemaError(
            f"The database has step {newer[-1]}, newer than this program. Remedy: deploy the newer program."
        )
    for number, checksum in applied.items():
        if known[number].checksum != checksum:
            raise SchemaError(
                f"Step {number} of schema.sql differs from the one that was applied. "
                "Remedy: restore the step, and put the change in a new one."
            )
