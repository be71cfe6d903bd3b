"""One connection for a command. An embedded server that the command started is stopped again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from enrichment.settings import Settings
from store import embedded
from store.database import UNREACHABLE, DatabaseDown, close_pool, connect, database_url, direct_url, open_pool
from store.migrations import require_current

POOL = 4  # connections of a command that does several things at once


def embedded_exists(settings: Settings) -> bool:
    """Tell whether there is a database to open: a DATABASE_URL, or an embedded one that exists already."""
    return settings.database_url is not None or (_data(settings.ringback_home) / "PG_VERSION").exists()


@asynccontextmanager
async def connected(settings: Settings, *, leave_running: bool = False) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Hold a connection inside the block; stop an embedded server that was started for it afterwards.

    *leave_running*: do not stop it, because `ringback up` is about to need it. Raises DatabaseDown.
    """
    ours = settings.database_url is None and not embedded.runs(settings.ringback_home)
    url = database_url(settings)
    try:
        connection = await connect(url, name="console")
        try:
            yield connection
        except (asyncpg.PostgresError, *UNREACHABLE) as error:
            what = str(error).partition("\n")[0] or type(error).__name__
            raise DatabaseDown(
                f"PostgreSQL rejected a statement: {what}. "
                'Remedy: check DATABASE_URL; behind PgBouncer, read "Deploy" in the README.'
            ) from error
        finally:
            connection.terminate()
    finally:
        if ours and not leave_running:
            embedded.stop(settings.ringback_home)


@asynccontextmanager
async def beside(settings: Settings) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Hold another connection inside the block, past any pooler and without timeouts. Raises DatabaseDown."""
    connection = await connect(direct_url(settings, database_url(settings)), name="migrate", hurries=False)
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def pooled(settings: Settings) -> AsyncIterator[asyncpg.Pool[Any]]:
    """Hold a pool inside the block, on a database whose schema is current. Raises DatabaseDown and SchemaError."""
    async with connected(settings) as connection:
        await require_current(connection)
        pool = await open_pool(database_url(settings), name="console", size=POOL)
        try:
            yield pool
        finally:
            await close_pool(pool)


def _data(home: Path) -> Path:
    return home.resolve() / "postgres"
