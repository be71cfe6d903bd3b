"""`ringback up` as the one process of a small platform: signalled as a group, more than once, at any moment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from enrichment.settings import setting_fields
from rig.ports import HOST, free_port
from rig.processes import environment, python
from rig.settings import TOKEN, sandboxed
from store.migrations import LOCK
from tests.commands import ROOT, Running, empty_database, running, until
from tests.deployed import PROCFILE
from tests.sandbox_server import playing

PROCESSES = ("receiver", "submitter", "reconciler")
KILLED_AFTER = 30.0  # seconds that Heroku gives


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """A database without a table."""
    async with empty_database(server_url) as url:
        yield url


@pytest.fixture
def vendors() -> Iterator[dict[str, str]]:
    """The pretend vendors' addresses; LeadMagic is slow."""
    with ExitStack() as stack:
        yield {
            "leadmagic": stack.enter_context(playing("leadmagic", "--slow-seconds", "1.5")),
            "nyne": stack.enter_context(playing("nyne")),
        }


async def pid_of(machine: Running, name: str) -> int:
    """Return the process id of one of the machine's processes."""
    return int((await machine.says(f"the {name} runs as process")).rpartition(" ")[2])


def terminate(*pids: int) -> None:
    """Send a SIGTERM to each."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


async def test_a_group_that_is_signalled_twice_still_drains(
    database_url: str, vendors: dict[str, str], tmp_path: Path
) -> None:
    """A paid question in flight is answered and stored; none is killed or started again; all end within 30 seconds."""
    port = free_port()
    url = f"http://{HOST}:{port}"
    settings = sandboxed(database=database_url, public_url=url, **vendors, HOST=HOST, PORT=str(port))
    async with running(python("console", "up"), environment(**settings), tmp_path) as machine:
        await machine.says('"event": "listening"')
        await machine.says('"event": "started", "process": "submitter"')
        pids = [machine.process.pid, *[await pid_of(machine, name) for name in PROCESSES]]
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
            event = {"event_id": "1", "profile_url": "linkedin.com/in/lm-slow--kim"}
            async with session.post(f"{url}/events/generic", json=event) as answer:
                assert answer.status == 202

            async def asked() -> bool | None:
                async with session.get(f"{vendors['leadmagic']}/sandbox/stats") as stats:
                    return (await stats.json())["charges"] == 1 or None

            await machine.until(asked)
        terminate(*pids)
        await machine.says("stopping: ")
        terminate(*pids)
        async with asyncio.timeout(KILLED_AFTER):
            code = await machine.ends()

    assert code == 0, machine.lines
    assert not [line for line in machine.lines if "starts again" in line or "killed" in line]
    assert sum('"event": "stopped"' in line for line in machine.lines) == 3
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT status FROM searches") == "found"
    finally:
        await connection.close()


async def test_a_signal_while_another_migrates_is_obeyed(empty_database_url: str, tmp_path: Path) -> None:
    """It waits for its turn; SIGTERM ends the wait, and nothing is started."""
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        keys = {"LEADMAGIC_API_KEY": "k", "NYNE_API_KEY": "k", "NYNE_API_SECRET": "s", "API_TOKENS": TOKEN}
        env = environment(DATABASE_URL=empty_database_url, HOST=HOST, PORT=str(free_port()), **keys)
        async with running(python("console", "up"), env, tmp_path) as machine:

            async def waits() -> bool | None:
                waiting = await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                return waiting > 0 or None

            assert await until(waits)
            code = await machine.ends(signal.SIGTERM, within=5)
        assert await connection.fetchval("SELECT to_regclass('jobs')") is None
    finally:
        await connection.close()

    assert code == 0
    assert not [line for line in machine.lines if "runs as process" in line]


def test_app_json_has_what_heroku_needs() -> None:
    """Every variable is a setting, the platform makes the secrets, and each process of the Procfile is counted."""
    app = json.loads((ROOT / "app.json").read_text(encoding="utf-8"))
    names = {name.upper() for name in setting_fields()}

    assert set(app["env"]) <= names
    assert {name for name, one in app["env"].items() if one.get("generator") == "secret"} == {
        "API_TOKENS", "CALLBACK_KEYS",
    }  # fmt: skip
    assert set(app["formation"]) == set(PROCFILE) - {"release"}
    assert "DATABASE_URL" not in app["env"]  # the add-on's
