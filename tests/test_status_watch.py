"""`ringback status --watch`: each look is shown, the database may be away meanwhile, and Ctrl-C is the way out."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import select
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from console.status_watch import Snapshot, drawn, look, shown
from rig.processes import environment
from rig.proxy import proxied
from store.database import DatabaseDown, WrongDatabase
from tests.commands import DEADLINE, RINGBACK, ROOT, ringback, running
from tests.factories import job

if TYPE_CHECKING:
    from console.status import Report
    from tests.wishes import Pool

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


async def test_a_database_that_is_away_for_a_while_is_survived(pool: Pool, database_url: str) -> None:
    """Programs read a line for each look: the report, since when there is none, and the report again; exit code 0."""
    await job(pool)
    async with proxied(database_url) as proxy:
        env = environment(DATABASE_URL=proxy.url)
        async with running([*RINGBACK, "status", "--watch", "0.1", "--json"], env, ROOT) as watching:
            before = json.loads(await watching.says('"outstanding"'))
            proxy.cut()
            away = json.loads(await watching.says('"why"'))
            seen = len(watching.lines)
            proxy.mend()
            after = json.loads(await watching.says('"outstanding"', after=seen))
            code = await watching.ends(signal.SIGINT)

    assert [one["provider"] for one in before["outstanding"]] == ["nyne"]
    assert (before["away_since"], after["away_since"]) == (None, None)
    assert after["outstanding"][0]["jobs"] == 1
    assert away["at"] >= away["away_since"]
    assert away["why"].startswith("PostgreSQL cannot be used: ")
    assert "outstanding" not in away
    assert (code, [line for line in watching.lines if "Traceback" in line]) == (0, [])


async def test_it_is_refreshed_in_place_on_a_terminal(pool: Pool, database_url: str) -> None:
    """The second look moves up over the first, and Ctrl-C ends it with 0."""
    await job(pool)
    ours, theirs = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *RINGBACK, "status", "--watch", "0.1", stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT,
            env=environment(DATABASE_URL=database_url, TERM="xterm"),
        )  # fmt: skip
        told = b""
        while told.count(b"Outstanding") < 2:
            assert select.select([ours], [], [], DEADLINE)[0]
            told += os.read(ours, 1 << 16)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(DEADLINE):
            await process.wait()
        pending = os.read(ours, 1 << 16) if select.select([ours], [], [], 0)[0] else b""
    finally:
        os.close(ours)
        os.close(theirs)

    assert b"\x1b[1A" in told
    assert (process.returncode, b"Traceback" in pending) == (0, False)


async def test_it_is_said_since_when_the_database_is_away() -> None:
    """The first failure counts, not the last, and the last report stays in sight."""

    async def read() -> Report:
        raise DatabaseDown("PostgreSQL cannot be used: gone. Remedy: start it.")

    first = await look(Snapshot(NOW, None), read)
    again = await look(Snapshot(NOW, None, NOW - timedelta(minutes=2), "gone"), read)
    screen = Console(width=200, record=True, file=io.StringIO())
    screen.print(drawn(Snapshot(NOW, None, NOW - timedelta(minutes=2), "gone")))

    assert first.away_since == first.at
    assert again.away_since == NOW - timedelta(minutes=2)
    assert shown(first)["why"] == "PostgreSQL cannot be used: gone. Remedy: start it."
    assert "The database is away: 2 min 0 s, since 11:58:00 UTC. gone" in screen.export_text()


async def test_a_wrong_database_is_not_waited_for() -> None:
    """It is no outage, unless the same address was right before."""

    async def read() -> Report:
        raise WrongDatabase("wrong password")

    with pytest.raises(WrongDatabase):
        await look(Snapshot(NOW, None), read)


async def test_seconds_are_for_watching(tmp_path: Path) -> None:
    """Without --watch they would silently do nothing."""
    told = await ringback("status", "5", cwd=tmp_path)

    assert told.code == 2
    assert "only with --watch" in told.err
