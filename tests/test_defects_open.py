"""Defects that were found where parts meet which were written apart."""

from __future__ import annotations

import asyncio
import json
import select
import signal
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import structlog
from uuid_utils.compat import uuid7

from enrichment.log_limit import OnceASecond
from store import lock_waits
from store.migrations import LOCK, migrate, require_current
from store.plan import plan
from tests.asgi import Client
from tests.called_back import path_for
from tests.commands import empty_database
from tests.echoed import LAST, Echo, answers, echoing, received, until

if TYPE_CHECKING:
    from tests.conftest import ClientWith
    from tests.wishes import Pool

FORGED = b"POST /callbacks/nyne/x/y HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Echo]:
    """Provide a server with the limits as they are."""
    with echoing() as running:
        yield running


def test_bodies_that_nobody_asks_for_take_no_memory() -> None:
    """While their requests wait for something else, they wait in the kernel."""
    with echoing() as server, ExitStack() as stack:
        before = server.memory()
        clients = [stack.enter_context(server.connect()) for _ in range(400)]
        for client in clients:
            client.sendall(b"POST /slow/3 HTTP/1.1\r\nHost: a\r\nContent-Length: 60001\r\n\r\n")
        for _ in range(12):
            server.ask(LAST)  # meanwhile all others are read as well
            for client in clients:
                client.sendall(b"x" * 5000)
        server.ask(LAST)

        assert server.memory() - before < 24 * 1024 * len(clients)


def test_an_answered_body_is_not_kept() -> None:
    """Connections that idle after an early answer do not hold the bodies that came with their requests."""
    with echoing() as server, ExitStack() as stack:
        before = server.memory()
        clients = [stack.enter_context(server.connect()) for _ in range(400)]
        for client in clients:  # one by one: the allocator keeps what many took at once
            client.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")

        assert server.memory() - before < 24 * 1024 * len(clients)


def test_a_body_without_room_is_refused_at_once() -> None:
    """While others hold what all connections may keep, a sender hears so, and does not wait for a false 408."""
    with echoing() as server, ExitStack() as stack:
        for _ in range(700):
            client = stack.enter_context(server.connect())
            client.sendall(b"GET /slow/20 HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" * 2000)
        began = time.monotonic()
        with server.connect() as client:
            client.sendall(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 250_000)

            (answer,) = answers(received(client))

        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert time.monotonic() - began < 5


def test_a_forged_callback_that_is_refused_while_it_waits_breaks_nothing() -> None:
    """Its answer, which is late in a flood, is not written behind the end of the connection, and nothing is logged."""
    with echoing() as server:
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(10)]
            for client in clients:
                client.sendall((FORGED + CHUNKED + LAST_CHUNK) * 300 + FORGED + CHUNKED + b"no size\r\n")
            for client in clients:
                assert {answer.status for answer in answers(received(client))} <= {404, 400}
        server.process.send_signal(signal.SIGTERM)

        assert server.process.wait(15) == 0
        assert "Exception" not in server.words()


def test_a_forged_callback_that_is_still_being_sent_is_not_cut_off(server: Echo) -> None:
    """The sender finds its 404, as everybody finds an answer that comes before the end of the body."""
    with server.connect() as client:
        client.sendall(FORGED + b"Connection: close\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000)
        until(lambda: select.select([client], [], [], 0)[0])
        for _ in range(4):
            client.sendall(b"x" * 100_000)
            server.ask(LAST)

        assert answers(received(client))[0].status == 404


def test_a_body_behind_a_forged_callback_arrives_whole(server: Echo) -> None:
    """What ends the one request does not touch the next, which may have begun before."""
    body = b"0123456789" * 300
    genuine = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)

    found = server.ask(*[FORGED + b"Content-Length: 2\r\n\r\n{}" + genuine + body] * 20, LAST)

    assert [one.status for one in found] == [404, 200] * 20 + [200]
    assert all(one.echo["body"].encode() == body for one in found[1:-1:2])


async def test_a_schema_with_capitals_is_migrated(server_url: str) -> None:
    """The name of the schema in which our tables are may need quotes."""
    async with empty_database(server_url) as url:
        db = await asyncpg.connect(url, server_settings={"search_path": '"Ring-back"'})
        try:
            await db.execute('CREATE SCHEMA "Ring-back"')
            await migrate(db)
            await require_current(db)
            assert not (await plan(db)).invalid_indexes
        finally:
            await db.close()


async def test_lines_that_differ_in_an_address_are_of_one_kind() -> None:
    """asyncio names the object whose callback broke: a thousand connections write one line, and not a thousand."""
    write: list[MutableMapping[str, Any]] = []
    limit = OnceASecond(write.append)
    passed = 0
    for number in range(1000):
        text = f"Exception in callback <bound method Front.answer of <Front object at {number + 2**47:#x}>>"
        with suppress(structlog.DropEvent):
            limit(None, "error", {"event": text, "level": "error", "error": "RuntimeError"})
            passed += 1
    limit.say_the_rest()

    assert passed == 1
    assert [event["more"] for event in write] == [999]


async def test_one_body_of_an_unknown_job_is_kept_however_it_was_encoded(client: Client, pool: Pool) -> None:
    """The first callback for a job that a restore forgot is stored, though it is longer in UTF-8 than it came."""
    job_id = uuid7()
    text = json.dumps({"status": "completed", "note": "\u20ac" * 200_000}, ensure_ascii=False)

    answer = await client.post(
        path_for(job_id), text.encode("cp1252"), headers={"content-type": "application/json; charset=windows-1252"}
    )

    assert answer.status == 200
    assert await pool.fetchval("SELECT body FROM callbacks WHERE job_id = $1 AND body <> ''", job_id) == text.encode()


async def test_a_migration_that_waited_long_for_its_turn_tries_again(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is in use then, for a moment, does not end it: the wait for another process was no try."""
    monkeypatch.setattr(lock_waits, "TRY_FOR", 2.0)
    monkeypatch.setattr(lock_waits, "SHORTEST_PAUSE", 0.1)
    async with empty_database(server_url) as url:
        ours, first, reader = [await asyncpg.connect(url) for _ in range(3)]
        try:
            await migrate(ours)
            await ours.execute(
                "DELETE FROM schema_steps WHERE number IN (2, 3); DROP TABLE restores, released_searches"
            )
            await ours.execute("DROP TABLE marked_lookups, vendor_figures; ALTER TABLE readings DROP COLUMN may_repeat")
            its_turn, reading = first.transaction(), reader.transaction()
            await its_turn.start()
            await first.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            await reading.start()
            await reader.execute("SELECT FROM readings")
            migrating = asyncio.create_task(migrate(ours, beside=lambda: beside(url)))
            await asyncio.wait([migrating], timeout=2.5)
            await its_turn.rollback()
            await asyncio.wait([migrating], timeout=1.3)
            await reading.rollback()

            assert [step.number for step in await migrating] == [2, 3]
        finally:
            for connection in (ours, first, reader):
                connection.terminate()


@asynccontextmanager
async def beside(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Hold another connection inside the block."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


async def test_guesses_at_the_metrics_token_are_limited(client_with: ClientWith) -> None:
    """They count against their address, like guesses at any other token; the right one is let in all the same."""
    client = await client_with(metrics_token="metrics", address_requests_per_minute=3)

    wrong = [(await client.get("/metrics", {"authorization": f"Bearer {guess}"})).status for guess in range(5)]
    right = await client.get("/metrics", {"authorization": "Bearer metrics"})

    assert wrong == [401, 401, 401, 429, 429]
    assert right.status == 200
