"""A process that starts while PostgreSQL is away waits for it; one with wrong settings ends with a message."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import pytest

from receiver.__main__ import CannotStart, _listen
from rig.processes import environment
from rig.proxy import DatabaseProxy, proxied
from tests.commands import Running, empty_database, running
from tests.conftest import TOKEN, MakeSettings

if TYPE_CHECKING:
    from tests.wishes import Pool

MODULES = ("receiver", "submitter", "submitter.reconciler")
KEYS = {
    "API_TOKENS": TOKEN, "CALLBACK_KEYS": "key", "HOST": "127.0.0.1", "PORT": "0", "LEADMAGIC_API_KEY": "key",
    "NYNE_API_KEY": "key", "NYNE_API_SECRET": "secret",
}  # fmt: skip
EVENT = {"event_id": "evt-1", "work_email": "jane@acme.co"}


@asynccontextmanager
async def receiving(proxy: DatabaseProxy) -> AsyncIterator[tuple[Running, aiohttp.ClientSession]]:
    """Run a receiver behind *proxy* inside the block; a client of it."""
    command = [sys.executable, "-m", "receiver"]
    async with running(command, environment(DATABASE_URL=proxy.url, **KEYS)) as process:
        port = json.loads(await process.says('"event": "listening"'))["port"]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session:
            yield process, session


async def status(session: aiohttp.ClientSession, path: str) -> tuple[int, str | None]:
    """Ask a receiver how it is: its status, and when to ask again."""
    async with session.get(path) as answer:
        return answer.status, answer.headers.get("Retry-After")


async def sent(session: aiohttp.ClientSession) -> tuple[int, str | None]:
    """Send an event: the status, and when to send it again."""
    async with session.post("/events/generic", json=EVENT) as answer:
        return answer.status, answer.headers.get("Retry-After")


async def test_a_receiver_listens_before_its_database_is_there(database_url: str, pool: Pool) -> None:
    """It is alive and not ready, refuses events with a Retry-After, and takes them once the database is there."""
    async with proxied(database_url) as proxy:
        proxy.cut()
        async with receiving(proxy) as (process, session):
            assert await status(session, "/healthz") == (200, None)
            assert (await status(session, "/readyz"))[0] == 503
            code, again = await sent(session)
            assert (code, again is not None) == (503, True)
            assert sum("database_awaited" in line for line in process.lines) == 1

            proxy.mend()
            await process.says("database_found")
            assert await status(session, "/readyz") == (200, None)
            assert await sent(session) == (202, None)
            assert await process.ends(signal.SIGTERM) == 0
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 1


async def test_an_event_is_held_for_a_database_that_comes_in_time(database_url: str) -> None:
    """A CRM that takes a 503 as final does not lose an event to a restart of PostgreSQL."""
    async with proxied(database_url) as proxy:
        proxy.cut()
        async with receiving(proxy) as (process, session):
            event = asyncio.create_task(sent(session))
            await process.says("database_awaited")
            proxy.mend()

            assert await event == (202, None)


@pytest.mark.parametrize("module", MODULES[1:])
async def test_a_process_that_calls_out_waits_for_its_database(module: str, database_url: str) -> None:
    """It says so once, and starts when the database is there."""
    async with proxied(database_url) as proxy:
        proxy.cut()
        command = [sys.executable, "-m", module]
        async with running(command, environment(DATABASE_URL=proxy.url, **KEYS)) as process:
            await process.says("database_awaited")
            proxy.mend()
            await process.says('"event": "started"')
            said = sum("database_awaited" in line for line in process.lines)
            assert await process.ends(signal.SIGTERM) == 0
    assert said == 1


@pytest.mark.parametrize("module", MODULES)
async def test_a_process_that_waits_can_be_stopped(module: str, database_url: str) -> None:
    """SIGTERM ends the wait, and nothing went wrong."""
    async with proxied(database_url) as proxy:
        proxy.cut()
        command = [sys.executable, "-m", module]
        async with running(command, environment(DATABASE_URL=proxy.url, **KEYS)) as process:
            await process.says("database_awaited")
            assert await process.ends(signal.SIGTERM) == 0


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("wrong", ["no such database", "no such user", "no schema"])
async def test_what_waiting_does_not_mend_ends_a_process(module: str, wrong: str, server_url: str) -> None:
    """One message with its remedy, without the password; exit code 2."""
    async with empty_database(server_url) as empty:
        parts = urlsplit(empty)
        url = {
            "no such database": parts._replace(path="/nothing").geturl(),
            "no such user": f"postgres://nobody:s3cret@{parts.netloc.rpartition('@')[2]}{parts.path}?{parts.query}",
            "no schema": empty,
        }[wrong]
        async with running([sys.executable, "-m", module], environment(DATABASE_URL=url, **KEYS)) as process:
            assert await process.ends() == 2

    said = "\n".join(process.lines)
    assert said.count("Remedy") == 1
    assert "Traceback" not in said
    assert "s3cret" not in said


async def test_a_receiver_whose_database_comes_without_the_schema_ends(server_url: str) -> None:
    """It waited, took nothing, and says what to run."""
    async with empty_database(server_url) as empty, proxied(empty) as proxy:
        proxy.cut()
        async with receiving(proxy) as (process, session):
            event = asyncio.create_task(sent(session))
            await process.says("database_awaited")
            proxy.mend()
            assert await process.ends() == 2
            with pytest.raises((aiohttp.ClientError, AssertionError)):
                assert (await event)[0] != 503

    assert "ringback migrate" in "\n".join(process.lines)


@pytest.mark.parametrize("module", MODULES)
async def test_parameters_without_a_use_are_told_once(module: str, database_url: str) -> None:
    """The log names parameters in DATABASE_URL that are for libpq only, and no process stops because of them."""
    url = f"{database_url}&channel_binding=require&connect_timeout=10"
    async with running([sys.executable, "-m", module], environment(DATABASE_URL=url, **KEYS)) as process:
        line = await process.says("database_url_parameters_ignored")
        await process.says('"event": "listening"' if module == "receiver" else '"event": "started"')
        assert await process.ends(signal.SIGTERM) == 0

    assert json.loads(line)["names"] == ["channel_binding", "connect_timeout"]


@pytest.mark.parametrize("host", ["x..y", f"{'x' * 64}.test", "no such host"])
def test_an_address_that_is_none_is_named(make_settings: MakeSettings, host: str) -> None:
    """Python has several errors for it; each is one message."""
    with pytest.raises(CannotStart, match=r"cannot be used: .*Remedy: .*HOST"):
        _listen(make_settings(host=host))
