"""`ringback resume`: which pauses it ends, what it prints, and how it exits."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from store import providers
from tests.commands import ringback

if TYPE_CHECKING:
    from tests.wishes import Pool


async def test_a_pause_is_let_go_by_hand(db: Pool, database_url: str, tmp_path: Path) -> None:
    """A free endpoint that is wrong about the account need not be waited for; the second time nothing is paused."""
    await providers.pause(db, "nyne", "out of credits", timedelta(hours=1))

    first = await ringback("resume", "--provider", "nyne", cwd=tmp_path, DATABASE_URL=database_url)
    again = await ringback("resume", "--provider", "nyne", "--json", cwd=tmp_path, DATABASE_URL=database_url)

    assert (first.code, first.out) == (0, "nyne is asked again. It was paused: out of credits\n")
    assert again.code == 1
    assert json.loads(again.out) == {"provider": "nyne", "resumed": False, "paused_because": None}
    assert await db.fetchval("SELECT paused_at FROM providers WHERE name = 'nyne'") is None


async def test_an_unknown_provider_is_named_with_those_there_are(db: Pool, database_url: str, tmp_path: Path) -> None:
    """One message, exit code 2."""
    told = await ringback("resume", "--provider", "acme", cwd=tmp_path, DATABASE_URL=database_url)

    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("No provider is called 'acme'. Remedy: --provider with one of: leadmagic, nyne")


async def test_without_a_database_nothing_is_paused(tmp_path: Path) -> None:
    """No server is started to find that out."""
    told = await ringback("resume", "--provider", "nyne", cwd=tmp_path)

    assert (told.code, told.out) == (1, "nyne was not paused.\n")
    assert list(tmp_path.iterdir()) == []


async def test_an_unknown_provider_is_named_without_a_database_too(tmp_path: Path) -> None:
    """A misspelled name is reported as unknown, not as not paused."""
    told = await ringback("resume", "--provider", "acme", cwd=tmp_path)

    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("No provider is called 'acme'. Remedy: --provider with one of: leadmagic, nyne")
    assert list(tmp_path.iterdir()) == []
