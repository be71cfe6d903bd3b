"""`ringback`: what it prints, what it starts, and how it exits."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from console.__main__ import cli
from console.status import duration
from rig.ports import free_port
from rig.processes import environment
from store.steps import read_steps
from tests import factories
from tests.commands import ROOT, Running, empty_database, ringback, running, until

COMMANDS = sorted(command.callback.__name__ for command in cli.registered_commands if command.callback)
NOBODY = "postgresql://nobody@127.0.0.1:1/nothing"
KEYS = {"LEADMAGIC_API_KEY": "key", "NYNE_API_KEY": "key", "NYNE_API_SECRET": "secret", "API_TOKENS": "token"}


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """A database without a table."""
    async with empty_database(server_url) as url:
        yield url


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    """--help has a sentence and an example that can be typed."""
    told = await ringback(command, "--help", cwd=tmp_path)

    assert told.code == 0
    assert f"\n    ringback {command}" in told.out or f" ringback {command} " in told.out


async def test_help_is_quick(tmp_path: Path) -> None:
    """--help does not load a database driver."""
    heavy = "{'aiohttp', 'asyncpg', 'pydantic', 'uvloop', 'rich.console'}"
    program = f"import sys; import console.__main__; print(*{heavy} & sys.modules.keys())"

    async with running([sys.executable, "-c", program], environment(), ROOT) as python:
        assert await python.ends() == 0

    assert python.lines == [""]


async def test_the_version_is_told(tmp_path: Path) -> None:
    """--version prints the version and the newest schema step, without a database."""
    told = await ringback("--version", cwd=tmp_path, DATABASE_URL=NOBODY)

    assert re.fullmatch(rf"ringback \d+\.\d+\.\d+, schema step {read_steps()[-1].number}\n", told.out)


async def test_an_unknown_command_cannot_start(tmp_path: Path) -> None:
    """A typing error has another exit code than a failure."""
    told = await ringback("reconsile", cwd=tmp_path)

    assert told.code == 2


async def test_migrate_says_what_it_did(empty_database_url: str, tmp_path: Path) -> None:
    """The command lists the missing steps, the applied ones, and that none is missing any more."""
    answers = [
        await ringback("migrate", *option, cwd=tmp_path, DATABASE_URL=empty_database_url)
        for option in (["--dry-run"], [], [])
    ]

    assert [told.code for told in answers] == [0, 0, 0]
    assert answers[0].out.startswith("Missing: step 1, ")
    assert answers[1].out == answers[0].out.replace("Missing", "Applied")
    assert answers[2].out == "Nothing was missing: the schema is current.\n"


async def test_a_database_that_is_away_is_named_with_its_remedy(tmp_path: Path) -> None:
    """One message, no traceback, exit code 2."""
    told = await ringback("migrate", cwd=tmp_path, DATABASE_URL=NOBODY)

    assert told.code == 2
    assert told.err.startswith("PostgreSQL cannot be used: ")
    assert "Remedy: " in told.err
    assert "Traceback" not in told.err


async def test_all_settings_that_are_missing_or_wrong_are_named_at_once(tmp_path: Path) -> None:
    """The settings of every process are checked together, so that a person can mend them all at once."""
    told = await ringback("up", cwd=tmp_path, DATABASE_URL=NOBODY, PORT="99999", UNKNOWN_POLICY="guess")

    assert told.code == 2
    named = {line.strip().partition(":")[0] for line in told.err.splitlines()[1:]}
    assert named == {"API_TOKENS", "LEADMAGIC_API_KEY", "NYNE_API_KEY", "NYNE_API_SECRET", "PORT", "UNKNOWN_POLICY"}
    assert "Traceback" not in told.err


async def test_status_without_a_database_says_what_to_do_first(tmp_path: Path) -> None:
    """A newcomer is shown the way, and no server is started for nothing."""
    told = await ringback("status", cwd=tmp_path)

    assert told.code == 0
    assert "What to do first" in told.out
    assert list(tmp_path.iterdir()) == []


async def test_status_without_a_database_is_an_empty_report(tmp_path: Path) -> None:
    """A program finds the same names as later."""
    told = await ringback("status", "--json", cwd=tmp_path)

    assert told.code == 0
    assert json.loads(told.out) == {
        "outstanding": [], "providers": [], "connections": [], "usage_today": [], "lookups_24h": {}, "readings": [],
        "pauses": [], "floods": [], "restored": [], "budgets": [],
    }  # fmt: skip


async def test_a_dry_run_makes_no_database(tmp_path: Path) -> None:
    """It names the steps that the first migrate would apply."""
    told = await ringback("migrate", "--dry-run", cwd=tmp_path)

    assert told.code == 0
    assert "Missing: step 1" in told.out
    assert list(tmp_path.iterdir()) == []


async def test_migrate_refuses_another_identity_key(empty_database_url: str, tmp_path: Path) -> None:
    """With or without a step to apply, and before any process starts with it."""
    runs = [
        await ringback("migrate", *options, cwd=tmp_path, DATABASE_URL=empty_database_url, **key)
        for options, key in (
            ([], {"IDENTITY_KEY": "first"}), ([], {"IDENTITY_KEY": "first"}), ([], {"IDENTITY_KEY": "second"}),
            (["--dry-run"], {"IDENTITY_KEY": "second"}), ([], {}),
        )
    ]  # fmt: skip

    assert [told.code for told in runs] == [0, 0, 2, 2, 2]
    assert all(told.err.count("Remedy") == 1 and "Traceback" not in told.err for told in runs[2:])


@pytest.mark.parametrize("parameter", ["sslrootcert=/nowhere.crt", "sslmode=require&sslcert=~/nowhere.crt"])
async def test_a_missing_certificate_is_named_at_once(parameter: str, tmp_path: Path) -> None:
    """Waiting for PostgreSQL would not mend it."""
    told = await ringback("status", cwd=tmp_path, DATABASE_URL=f"postgres://me@127.0.0.1:1/name?{parameter}")

    assert told.code == 2
    assert f"its {parameter.rpartition('=')[0].rpartition('&')[2]} names no file" in told.err


async def test_status_of_an_old_schema_says_migrate(empty_database_url: str, tmp_path: Path) -> None:
    """One message with the remedy, exit code 2."""
    told = await ringback("status", cwd=tmp_path, DATABASE_URL=empty_database_url)

    assert (told.code, told.out) == (2, "")
    assert "ringback migrate" in told.err


async def test_status_shows_what_is_outstanding(database_url: str, pool: asyncpg.Pool[Any], tmp_path: Path) -> None:
    """By provider and state, with the age of the oldest; and how lookups of today ended."""
    await factories.job(pool, "awaiting")
    await factories.job(pool, "queued", provider="leadmagic", held="budget")
    await factories.lookup(pool, final_status="not_found")

    told = await ringback("status", "--json", cwd=tmp_path, DATABASE_URL=database_url)
    for_people = await ringback("status", cwd=tmp_path, DATABASE_URL=database_url)

    report = json.loads(told.out)
    shown = {(row["provider"], row["state"], row["jobs"]) for row in report["outstanding"]}
    assert shown == {("nyne", "awaiting", 1), ("leadmagic", "held: budget", 1)}
    assert report["lookups_24h"] == {"not_found": 1, "open": 2}
    assert report["usage_today"] == [{"provider": "nyne", "reserved": 3, "charged": 0, "possibly_charged": 0}]
    assert "held: budget" in for_people.out


async def test_status_names_the_reason_of_a_pause(database_url: str, pool: asyncpg.Pool[Any], tmp_path: Path) -> None:
    """The status of a paused provider shows the provider's own words."""
    await pool.execute(
        "INSERT INTO providers (name, paused_reason, paused_at, check_at) VALUES ('nyne', 'no credits', now(), now())"
    )

    told = await ringback("status", "--json", cwd=tmp_path, DATABASE_URL=database_url)

    (nyne,) = json.loads(told.out)["providers"]
    assert (nyne["state"], nyne["reason"]) == ("paused", "no credits")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0.4 s"), (59, "59 s"), (61, "1 min 1 s"), (3 * 3600 + 60, "3 h 1 min"), (9e5, "10 d 10 h")],
)
def test_ages_are_written_for_people(seconds: float, text: str) -> None:
    """Two units are enough."""
    assert duration(seconds) == text


async def up(machine: Running) -> str:
    """The receiver answers; its address."""
    line = await machine.says("listening on ")
    url = line.partition("listening on ")[2].partition(";")[0]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:

        async def ready() -> bool | None:
            try:
                async with session.get(f"{url}/readyz") as response:
                    return response.status == 200 or None
            except aiohttp.ClientError:
                return None

        await machine.until(ready)
    return url


async def test_up_restarts_who_dies_and_stops_in_order(empty_database_url: str, tmp_path: Path) -> None:
    """It migrates, starts all three, reports one that died and restarts it; at SIGTERM the submitter stops first."""
    env = environment(DATABASE_URL=empty_database_url, HOST="127.0.0.1", **KEYS)
    command = [sys.executable, "-m", "console", "up", "--port", str(free_port())]

    async with running(command, env, tmp_path) as machine:
        await up(machine)
        first = await machine.says("the submitter runs as process")
        await machine.says('"event": "started", "process": "submitter"')
        os.kill(int(first.rpartition(" ")[2]), signal.SIGKILL)
        await machine.says("the submitter ended with -9; it starts again")
        second = await machine.says("the submitter runs as process", after=machine.lines.index(first) + 1)
        await machine.says('"event": "started", "process": "submitter"', after=machine.lines.index(second))
        code = await machine.ends(signal.SIGTERM)

    assert code == 0
    stopped = [line.partition(" ")[0] for line in machine.lines if '"event": "stopped"' in line]
    assert sorted(stopped[:2]) == ["reconciler", "submitter"]
    assert stopped[2:] == ["receiver"]


async def test_up_does_not_go_on_without_a_receiver_that_can_start(database_url: str, tmp_path: Path) -> None:
    """A port that is taken is said once, and the others are stopped."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = await ringback(
            "up", "--host", "127.0.0.1", "--port", port, cwd=tmp_path, DATABASE_URL=database_url, **KEYS
        )

    assert told.code == 2
    assert f"port {port} on 127.0.0.1 cannot be used" in told.out
    assert told.err == "The receiver cannot start; its lines above say why.\n"


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not tell children")
async def test_children_do_not_outlive_a_parent_that_was_killed(database_url: str, tmp_path: Path) -> None:
    """After a SIGKILL of `ringback up`, the kernel tells its children to drain."""
    env = environment(DATABASE_URL=database_url, HOST="127.0.0.1", **KEYS)
    command = [sys.executable, "-m", "console", "up", "--port", str(free_port())]
    children: list[int] = []

    async def all_gone() -> bool | None:
        return None if any(Path(f"/proc/{pid}").exists() for pid in children) else True

    async with running(command, env, tmp_path) as machine:
        await up(machine)
        for name in ("receiver", "submitter", "reconciler"):
            line = await machine.says(f"the {name} runs as process")
            children.append(int(line.rpartition(" ")[2]))
        machine.process.send(signal.SIGKILL)
        assert await until(all_gone)
