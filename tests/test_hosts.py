"""Several hosts in DATABASE_URL: the one that takes writes is found, whatever became of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from rig.ports import HOST, free_port
from rig.proxy import DatabaseProxy, proxied
from store import database
from store.connection import COMMIT_TIMEOUT, KEEPALIVE, WritingConnection
from store.database import UNREACHABLE, DatabaseDown, close_pool, connect, open_pool
from store.hosts import hosts_of
from tests.commands import until

SOON = 10.0  # seconds, until a test is stuck


@pytest.fixture
async def roads(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[DatabaseProxy, DatabaseProxy]]:
    """Two hosts that lead to the same database; a test can wait until one is given up."""
    monkeypatch.setattr(database, "CONNECT_TIMEOUT", 2.0)
    async with proxied(database_url) as first, proxied(database_url) as second:
        yield first, second


def both(first: int, second: int, url: str) -> str:
    """A URL that names these ports, in this order."""
    parts = urlsplit(url)
    hosts = f"{HOST}:{first},{HOST}:{second}"
    return parts._replace(netloc=f"{parts.username}@{hosts}").geturl()


def test_the_hosts_of_a_url_are_read_as_asyncpg_reads_them() -> None:
    """Names, addresses and the folders of sockets, with ports and without."""
    assert hosts_of("postgresql://u:p%40@a:1,b/d?sslmode=disable") == [("a", 1), ("b", None)]
    assert hosts_of("postgresql://[::1]:5,c:6/d") == [("::1", 5), ("c", 6)]
    assert hosts_of("postgresql:///d?host=%2Ftmp%2Fx,%2Ftmp%2Fy&port=1,2") == [("/tmp/x", 1), ("/tmp/y", 2)]  # noqa: S108
    assert hosts_of("postgresql:///d") == []


@pytest.mark.parametrize("lost", ["silent", "hangs-up", "refuses"])
async def test_a_host_that_is_lost_does_not_hide_the_next_one(
    roads: tuple[DatabaseProxy, DatabaseProxy], lost: str
) -> None:
    """A host without power says nothing, a forwarder without a server hangs up, a host without a server refuses."""
    first, second = roads
    url = both(first.port if lost != "refuses" else free_port(), second.port, first.url)
    if lost == "silent":
        first.fall_silent()
    elif lost == "hangs-up":
        first.cut()
    pool = await open_pool(url, name="tests", size=1)

    async with asyncio.timeout(SOON):
        single = await connect(url, name="tests")
        assert await single.fetchval("SELECT 1") == 1
        assert await pool.fetchval("SELECT 1") == 1

    first.mend()
    await single.close(timeout=SOON)
    await close_pool(pool)


async def test_the_host_that_worked_last_is_tried_first(roads: tuple[DatabaseProxy, DatabaseProxy]) -> None:
    """A silent host costs its share of the patience once, and not for each connection of the pool."""
    first, second = roads
    first.fall_silent()
    pool = await open_pool(both(first.port, second.port, first.url), name="tests", size=2)
    async with pool.acquire(timeout=SOON):
        first.knocked.clear()
        async with pool.acquire(timeout=SOON):
            assert not first.knocked.is_set()

    first.mend()
    await close_pool(pool)


async def test_what_a_server_said_is_told_before_what_another_did_not(database_url: str) -> None:
    """A wrong database's name is the operator's error: waiting for the host that refuses would not mend it."""
    async with proxied(database_url) as proxy:
        url = urlsplit(both(proxy.port, free_port(), proxy.url))._replace(path="/no_such_database").geturl()

        with pytest.raises(DatabaseDown, match="no_such_database"):
            await connect(url, name="tests")


async def test_a_host_on_which_commits_hang_is_left(
    roads: tuple[DatabaseProxy, DatabaseProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A primary that was replaced may live on, and take connections: its commits wait for a standby that has left."""
    monkeypatch.setattr("store.connection.COMMIT_TIMEOUT", 0.2)
    first, second = roads
    pool = await open_pool(both(first.port, second.port, first.url), name="tests", size=2)
    async with pool.acquire(timeout=SOON), pool.acquire(timeout=SOON):  # both lead to the first host
        assert not second.knocked.is_set()

    async def commit() -> None:
        async with database.transaction(pool) as connection:
            await connection.execute("DELETE FROM events")
            first.fall_silent()

    with pytest.raises(UNREACHABLE):
        await commit()
    async with asyncio.timeout(SOON), pool.acquire() as connection:
        assert await connection.fetchval("SELECT 1") == 1

    assert second.knocked.is_set()
    first.mend()

    async def settled() -> bool | None:
        return not getattr(pool, "stuck", ()) or None

    assert await until(settled)
    await close_pool(pool)


async def test_one_host_alone_is_kept(roads: tuple[DatabaseProxy, DatabaseProxy]) -> None:
    """There is nowhere else to go: asyncpg connects as ever."""
    connection: Any = await connect(roads[0].url, name="tests")

    assert isinstance(connection, WritingConnection)
    assert isinstance(connection, asyncpg.Connection)
    assert connection.host is None
    await connection.close(timeout=SOON)


def test_a_host_without_power_is_noticed_before_a_statement_is_given_up() -> None:
    """Then the kernel ends all connections to it at once; else each would be found dead by a statement of its own."""
    silent = KEEPALIVE["TCP_KEEPIDLE"] + KEEPALIVE["TCP_KEEPINTVL"] * KEEPALIVE["TCP_KEEPCNT"]

    assert silent * 1000 == KEEPALIVE["TCP_USER_TIMEOUT"] < 1000 * min(COMMIT_TIMEOUT, database.COMMAND_TIMEOUT)
