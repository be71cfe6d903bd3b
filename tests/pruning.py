"""What tests of `ringback prune` share: a database of some months' age, a run, and a count of what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from console import prune as command
from console.prune import Pruned
from enrichment.settings import Settings
from store.partitions import HISTORY
from tests.old_history import DAYS, make_months

if TYPE_CHECKING:
    from tests.wishes import Pool


@pytest.fixture
async def history(pool: Pool) -> Pool:
    """Return a database of some months' age."""
    await make_months(pool)
    return pool


async def prune(settings: Settings, *, days: int = DAYS, dry_run: bool = False) -> tuple[dict[str, str], list[str]]:
    """Prune; return the fate of each month, and what was printed about it."""
    said: list[str] = []
    pruned = Pruned(days, dry_run)
    await command._prune(settings, pruned, said.append)
    return {str(month["month"]): str(month["fate"]) for month in pruned.months}, said


async def left(pool: Pool) -> dict[str, int]:
    """Count the rows of each table of the history, the keys and the fingerprints."""
    return {
        table: await pool.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
        for table in (*HISTORY, "keys", "fingerprints")
    }
