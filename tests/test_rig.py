"""The means to start things: processes that end with us, a network that breaks, a PostgreSQL to throw away."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from rig.kept import Kept
from rig.ports import HOST, free_port, is_listening
from rig.postgres import PREFIX, Postgres
from rig.processes import NotRunning, environment, output_of, running, start
from rig.proxy import Proxy, database_target, through
from rig.weather import Weather
from tests.commands import until
from tests.conftest import memory

PATIENT = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
time.sleep(60)
"""


def code(text: str) -> list[str]:
    """Return the command that runs this Python."""
    return [sys.executable, "-c", text]


async def test_a_process_is_listened_to_line_by_line_to_its_end() -> None:
    """When the exit code is known, the whole output was read, and an overlong line stops nothing."""
    lines: list[str] = []

    process = await start(code("print('x' * 3_000_000); print('last'); raise SystemExit(3)"), output=lines.append)

    assert await process.wait() == 3
    assert lines[-1] == "last"


async def test_what_ignores_a_sigterm_is_killed() -> None:
    """Stopping takes no longer than the patience that is given."""
    lines: list[str] = []
    process = await start(code(PATIENT), output=lines.append)

    async def ready() -> bool | None:
        return bool(lines) or None

    await until(ready)

    assert await process.stop(patience=0.1) == -signal.SIGKILL


async def test_an_environment_has_no_setting_that_happens_to_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of a real vendor in a developer's shell never reaches a process of a test, the demo or the bench."""
    monkeypatch.setenv("LEADMAGIC_API_KEY", "real")
    monkeypatch.setenv("LC_TIME", "C")

    given = environment(PORT="1")

    assert "LEADMAGIC_API_KEY" not in given
    assert (given["PORT"], given["LC_TIME"]) == ("1", "C")


async def test_what_ends_too_early_is_an_error_with_its_last_words() -> None:
    """A block whose process failed does not go on as if nothing had been."""
    with pytest.raises(NotRunning, match="nobody-knows-this"):
        async with running("nobody-knows-this", port=free_port()):
            pytest.fail("the block must not begin")
    with pytest.raises(NotRunning, match="ended with 4"):
        await output_of(code("raise SystemExit(4)"), within=10)


async def test_a_kept_process_is_started_again_until_it_is_stopped(tmp_path: Path) -> None:
    """An end by a kill is ours, one by itself is not; after `stop` nothing runs."""
    said: list[str] = []
    kept = Kept("sleeper", code("import time; time.sleep(60)"), tmp_path / "log", first_pause=0.01, report=said.append)
    await kept.start()

    assert kept.kill()

    async def runs_again() -> bool | None:
        return (len(said) == 3 and kept.running) or None

    await until(runs_again)
    await kept.stop()

    assert [(end.code, end.ours) for end in kept.ends] == [(-signal.SIGKILL, True), (-signal.SIGTERM, True)]
    assert not kept.running


async def test_a_hopeless_process_is_not_started_again(tmp_path: Path) -> None:
    """Wrong settings stay wrong: the exit code that says so ends the keeping."""
    kept = Kept("refuser", code("raise SystemExit(2)"), tmp_path / "log", hopeless={2})
    await kept.start()

    with pytest.raises(NotRunning, match="The refuser cannot start"):
        await kept.wait()
    await kept.stop()
    assert [end.code for end in kept.ends] == [2]


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """Run a server inside the block that sends back every byte; yield its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(port: int, *, patience: float = 10.0) -> str:
    """Return what becomes of one question: its answer, or in which way there is none."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(b"question")
                return (await reader.read(100)).decode() or "closed"
            finally:
                writer.close()
    except TimeoutError:
        return "silence"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "reset"


WEATHERS = {
    "fair": (Weather(), "question"),
    "refused": (Weather(refuse=True), "refused"),
    "cut": (Weather(cut=True), "reset"),
    "swallowed": (Weather(black_hole=True), "silence"),
    "silent": (Weather(silent=True), "silence"),
    "cut off after the request": (Weather(reset=1.0), "reset"),
    "slow": (Weather(slow=True), "question"),
}


@pytest.mark.parametrize("name", WEATHERS)
async def test_weather_befalls_a_connection_and_passes(name: str) -> None:
    """Each kind looks to the client as in a real network, and ends with its block."""
    weather, seen = WEATHERS[name]
    async with echoing() as target:
        proxy = Proxy([target])
        await proxy.open()
        async with proxy.under(weather):
            during = await ask(proxy.port, patience=0.5 if seen == "silence" else 10.0)
        after = await ask(proxy.port)
        await proxy.close()

    assert (during, after) == (seen, "question")


async def test_what_a_silent_network_held_back_arrives_later() -> None:
    """Connections survive a silence; a cut ends existing ones."""
    async with echoing() as target:
        proxy = Proxy([target])
        await proxy.open()
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        proxy.fall_silent()
        writer.write(b"late")
        proxy.mend()
        heard = await reader.read(100)
        proxy.cut()
        with suppress(ConnectionResetError):
            assert await reader.read(100) == b""
        writer.close()
        await proxy.close()

    assert heard == b"late"


async def test_a_database_has_a_target_and_a_way_through() -> None:
    """A socket's folder, a host with a port, and credentials are all kept."""
    assert database_target("postgresql://postgres@/db?host=/run/pg") == "/run/pg/.s.PGSQL.5432"
    assert database_target("postgresql://me:secret@db.test:6000/db") == ("db.test", 6000)
    assert (
        through("postgresql://me:secret@db.test/db", HOST, 1) == f"postgresql://me:secret@{HOST}:1/db?sslmode=disable"
    )


async def test_a_postgres_survives_a_crash_and_is_gone_when_it_is_removed(tmp_path: Path) -> None:
    """Commits survive a power cut; after `remove` there is no server and no file."""
    port, log = free_port(), tmp_path / "log"
    postgres = Postgres({"max_connections": "20"}, port=port, log=log, folder=memory())
    try:
        url = await asyncio.to_thread(postgres.create)
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept (id int)")
        await asyncio.to_thread(postgres.crash)
        assert not await is_listening(port)
        await asyncio.to_thread(postgres.start)
        connection = await postgres.connect()
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0
        assert await connection.fetchval("SHOW max_connections") == "20"
        await connection.close()
    finally:
        await asyncio.to_thread(postgres.remove)

    assert not await is_listening(port)
    assert "database system was interrupted" in log.read_text()


async def test_what_a_killed_process_left_behind_is_swept_up(tmp_path: Path) -> None:
    """The next server in the same folder removes leftovers of killed processes, and nothing else."""
    dead = await start(code("pass"), output=tmp_path / "log")
    await dead.wait()
    left, others = tmp_path / f"{PREFIX}{dead.pid}-x", tmp_path / "somebody-else-s"
    for folder in (left, others):
        folder.mkdir()

    Postgres(folder=tmp_path).remove()

    assert (left.exists(), others.exists()) == (False, True)


def test_a_free_port_is_given_once() -> None:
    """Two servers that are started one after the other never meet, even before they listen."""
    ports = [free_port() for _ in range(50)]

    assert len(set(ports)) == len(ports)
    for port in ports[:3]:
        socket.create_server((HOST, port)).close()
