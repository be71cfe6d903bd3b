"""A schema.sql with steps of a test after its last one: what the next release may look like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from store import plan, steps
from store.database import connect
from store.lock_waits import Beside

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]

NEXT = steps.read_steps()[-1].number + 1


def with_steps(*added: tuple[str, str]) -> str:
    """Return the text of schema.sql with these steps, each a title and its SQL, after the last one."""
    text = steps.SCHEMA.read_text(encoding="utf-8")
    return text + "".join(f"\n-- step {NEXT + i}: {title}\n\n{sql}\n" for i, (title, sql) in enumerate(added))


@contextmanager
def released(folder: Path, *added: tuple[str, str]) -> Iterator[None]:
    """Let this process be the release that added these steps, inside the block."""
    schema, frozen = folder / "schema.sql", folder / "steps.json"
    schema.write_text(with_steps(*added), encoding="utf-8")
    frozen.write_text(plan.FROZEN.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "SCHEMA", schema)
        patch.setattr(plan, "FROZEN", frozen)
        yield


def beside(url: str) -> Beside:
    """Return what opens another connection for a migration, as the command does."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Connection]:
        connection = await connect(url, name="migrate", hurries=False)
        try:
            yield connection
        finally:
            connection.terminate()

    return opened


async def waits(watcher: Any, statement: str) -> int:
    """Return the process id of the session that waits for a lock in a statement which begins like this."""
    async with asyncio.timeout(10):
        while True:
            pid: int | None = await watcher.fetchval(
                """
                SELECT pid
                  FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock' AND starts_with(query, $1)
                """,
                statement,
            )
            if pid is not None:
                return pid
