"""An unreachable database: every wait for it ends in time, and the work goes on when it is back."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from rig.processes import environment
from rig.proxy import proxied
from store import database
from store.database import UNREACHABLE, DatabaseDown, WrongDatabase, close_pool, connect, database_down, open_pool
from tests.commands import Running, running, until
from tests.factories import job
from tests.fake_provider import FakeProvider, found, playing
from tests.wishes import read, status, take_one

if TYPE_CHECKING:
    from tests.wishes import Pool

SHORT = 0.3  # seconds: the bounds of the database, where a test waits for them to be reached
SOON = 10.0  # seconds, until a test is stuck


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's bounds are so short that a test may wait for them."""
    for name in ("CONNECT_TIMEOUT", "ACQUIRE_TIMEOUT", "COMMAND_TIMEOUT"):
        monkeypatch.setattr(database, name, SHORT)


def test_a_certificate_that_is_wrong_is_not_waited_for() -> None:
    """A server that goes away in the middle of a handshake is."""
    failed = database_down(ssl.SSLError(1, "[X509: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:4149)"))
    cut_off = database_down(ssl.SSLEOFError(8, "EOF occurred in violation of protocol (_ssl.c:1000)"))

    assert isinstance(failed, WrongDatabase)
    assert "sslrootcert" in str(failed)
    assert not isinstance(cut_off, WrongDatabase)


async def elapsed(awaitable: Any) -> float:
    """The seconds that it took to find out that the database is away."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(UNREACHABLE):
        await awaitable
    return loop.time() - begun


@pytest.mark.usefixtures("short")
async def test_a_silent_network_is_noticed_in_time_and_the_pool_recovers(database_url: str) -> None:
    """A statement on a connection that went dead, and one that needs a new connection, fail within their bounds."""
    async with proxied(database_url) as proxy:
        pool = await open_pool(proxy.url, name="tests", size=2)
        assert await pool.fetchval("SELECT 1") == 1

        proxy.fall_silent()
        # The statement, then its cancellation, which needs a connection of its own; or a connection at once.
        took = [await elapsed(pool.fetchval("SELECT 1")) for _ in range(4)]
        proxy.mend()

        async def answered() -> int | None:
            with suppress(*UNREACHABLE):
                return int(await pool.fetchval("SELECT 1"))
            return None

        assert await until(answered) == 1
        await close_pool(pool)
    assert max(took) < 10 * SHORT


@pytest.mark.usefixtures("short")
async def test_a_silent_network_is_noticed_while_connecting(database_url: str) -> None:
    """A start does not wait for ever for a database that accepts connections and says nothing."""
    async with proxied(database_url) as proxy:
        proxy.fall_silent()

        async with asyncio.timeout(SOON):
            with pytest.raises(DatabaseDown):
                await connect(proxy.url, name="tests")


@pytest.mark.usefixtures("short")
async def test_an_exhausted_pool_is_not_waited_for_for_ever(database_url: str) -> None:
    """A pool's own fetch takes a connection as well: it fails when there is none in time."""
    pool = await open_pool(database_url, name="tests", size=1)
    async with pool.acquire(timeout=SOON):
        took = await elapsed(pool.fetchval("SELECT 1"))

    assert SHORT / 2 < took < 10 * SHORT
    assert await pool.fetchval("SELECT 1") == 1
    await close_pool(pool)


async def test_a_server_that_became_read_only_is_left(database_url: str) -> None:
    """After a failover the old primary refuses to write (25006): the connection is dropped, the next one is new."""
    pool = await open_pool(database_url, name="tests", size=1)
    before = await pool.fetchval("SELECT pg_backend_pid()")
    await pool.execute("SET default_transaction_read_only = on")

    with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as refused:
        await pool.execute("DELETE FROM events")

    assert isinstance(refused.value, UNREACHABLE)
    assert await pool.fetchval("SELECT pg_backend_pid()") != before
    assert await pool.execute("DELETE FROM events") == "DELETE 0"
    await close_pool(pool)


async def test_a_transaction_on_a_read_only_server_leaves_it_as_well(database_url: str) -> None:
    """An event that could not be stored is a 503 to its sender, and is stored when it comes again."""
    pool = await open_pool(database_url, name="tests", size=1)
    await pool.execute("SET default_transaction_read_only = on")

    with pytest.raises(UNREACHABLE):
        await take_one(pool, work_email="jane@acme.co")

    assert (await take_one(pool, work_email="jane@acme.co")).duplicate is False
    await close_pool(pool)


async def test_only_a_server_that_can_be_written_to_is_connected_to(database_url: str, server_url: str) -> None:
    """Of several hosts, the first may be the old primary; and alone, it is worth a message that says so."""
    name = urlsplit(database_url).path.strip("/")
    admin = await asyncpg.connect(server_url)
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        with pytest.raises(DatabaseDown, match="read-only"):
            await connect(database_url, name="tests")
        reader = await connect(_asking_for("any", database_url), name="tests")
        assert await reader.fetchval("SELECT count(*) FROM events") == 0
        await reader.close(timeout=SOON)
    finally:
        await admin.close(timeout=SOON)


def _asking_for(attributes: str, url: str) -> str:
    """Return the URL of a client that demands such a server."""
    return f"{url}{'&' if '?' in url else '?'}target_session_attrs={attributes}"


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    """Both providers."""
    async with playing() as vendor:
        vendor.questions.append(found())
        yield vendor


async def often(process: Running, text: str) -> bool | None:
    """The process has said this again and again."""
    return sum(text in line for line in process.lines) >= 5 or None


@pytest.mark.parametrize("module", ["submitter", "submitter.reconciler"])
async def test_a_process_outlives_an_outage(module: str, fake: FakeProvider, database_url: str, pool: Pool) -> None:
    """While the database is away, the process tries again, later each time; then it works without a restart."""
    async with proxied(database_url) as proxy:
        settings = {
            "DATABASE_URL": proxy.url, "LEADMAGIC_BASE_URL": fake.url, "NYNE_BASE_URL": fake.url,
            "LEADMAGIC_API_KEY": "lm", "NYNE_API_KEY": "ny", "NYNE_API_SECRET": "secret",
        }  # fmt: skip
        async with running([sys.executable, "-m", module], environment(**settings)) as process:
            await process.says('"event": "started"')

            proxy.cut()
            await process.until(partial(often, process, "database_away"))
            proxy.mend()

            if module == "submitter":
                lookup_id, end = (await take_one(pool, work_email="jane@acme.co")).id, "found"
            else:
                silent = await job(pool, "submitting", provider="leadmagic", todo=[], lease_expires_at=await past(pool))
                lookup_id, end = silent["lookup_id"], "unresolved"

            async def ended() -> bool | None:
                return await status(pool, lookup_id) == end or None

            assert await process.until(ended)
            assert await process.ends(signal.SIGTERM) == 0
    assert (await read(pool, lookup_id))["finished_at"] is not None


async def past(pool: Pool) -> Any:
    """A moment that is over."""
    return await pool.fetchval("SELECT now() - $1::interval", timedelta(seconds=1))


async def test_a_host_that_is_gone_is_noticed(database_url: str) -> None:
    """The kernel asks after a silent server: a commit without an answer has no other deadline for minutes."""
    async with proxied(database_url) as proxy:
        pool = await open_pool(proxy.url, name="tests", size=1)
        async with pool.acquire(timeout=SOON) as proxied_connection:
            single = await connect(proxy.url, name="tests")
            connections: tuple[Any, ...] = (proxied_connection, single)
            for one in connections:
                plug = one._transport.get_extra_info("socket")
                assert plug.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 10
            await single.close(timeout=SOON)
        await close_pool(pool)
