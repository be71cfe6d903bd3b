"""How the process starts, says how it is, and stops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
import asyncpg
import pytest

from enrichment.settings import without_settings
from receiver.app import create_app
from receiver.gate import Door
from rig.processes import Child
from store.database import connect
from tests import forked
from tests.asgi import Client, living
from tests.called_back import found, path_for
from tests.conftest import TOKEN, MakeSettings
from tests.factories import job
from tests.order import waiting_for_a_lock
from tests.receiving import EVENT
from tests.wishes import IDENTITY_KEY

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

ROOT = Path(__file__).parent.parent
PATIENCE = 20.0  # seconds for a process to react; it takes two
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}


class Receiver:
    """`python -m receiver` as a process of its own, and what it has said."""

    def __init__(self, process: Child, url: str, lines: list[str]) -> None:
        self.process = process
        self.url = url
        self.lines = lines

    async def log(self) -> str:
        """Return the log of the process, once it has ended."""
        assert self.process.stdout is not None
        self.lines += (await self.process.stdout.read()).decode().splitlines()
        return "\n".join(self.lines)


async def launch(**environment: str) -> Child:
    """The process, with these settings and no others."""
    kept = without_settings(os.environ)
    command = [sys.executable, "-m", "receiver"]
    return await forked.launch(
        command, cwd=ROOT, env=kept | environment, output=asyncio.subprocess.PIPE, orphaned=signal.SIGKILL
    )


@asynccontextmanager
async def receiving(database_url: str, **environment: str) -> AsyncIterator[Receiver]:
    """Inside the block it listens; it is gone afterwards."""
    given = {
        "DATABASE_URL": database_url, "API_TOKENS": TOKEN, "CALLBACK_KEYS": "key-of-the-tests",
        "HOST": "127.0.0.1", "PORT": "0", "IDENTITY_KEY": IDENTITY_KEY,
    }  # fmt: skip
    process = await launch(**given | environment)
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while not lines or json.loads(lines[-1])["event"] != "listening":
                line = (await process.stdout.readline()).decode()
                assert line, lines
                lines.append(line.strip())
        yield Receiver(process, f"http://127.0.0.1:{json.loads(lines[-1])['port']}", lines)
    finally:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
        await process.stdout.read()  # to the end, or its pipe would stay open
        await process.wait()


async def ended(process: Child) -> int:
    """The exit code."""
    async with asyncio.timeout(PATIENCE):
        return await process.wait()


async def message_of(process: Child) -> tuple[int, str]:
    """Return the exit code and the output of a process that cannot start."""
    async with asyncio.timeout(PATIENCE):
        assert process.stdout is not None
        said = await process.stdout.read()
        return await process.wait(), said.decode()


# How it is


async def test_a_process_that_runs_is_alive(client: Client) -> None:
    """/healthz is 200 while the process lives."""
    assert (await client.get("/healthz")).status == 200


async def test_a_process_with_a_database_is_ready(client: Client) -> None:
    """/readyz is 200 when events would be stored."""
    assert (await client.get("/readyz")).status == 200


async def test_without_a_database_it_is_alive_and_not_ready(offline: Client) -> None:
    """PostgreSQL unreachable is a 503 at /readyz, and no reason to restart us."""
    alive, ready = await offline.get("/healthz"), await offline.get("/readyz")

    assert alive.status == 200
    assert ready.status == 503
    assert ready.headers["content-type"] == "application/problem+json"


async def test_a_closed_door_refuses_work_and_answers_machines(
    make_settings: MakeSettings, pool: Pool, database_url: str
) -> None:
    """While it stops, /readyz says no before anything is refused; then new work is a 503 with Retry-After."""
    door = Door()
    app = create_app(make_settings(), pool, database_url, door)
    client = Client(app, AUTHORIZED)
    async with living(app):
        door.announce()
        ready, taken = await client.get("/readyz"), await client.post("/events/generic", EVENT)
        door.close()
        refused = await client.post("/events/generic", EVENT | {"event_id": "evt-2"})
        alive = await client.get("/healthz")

    assert (ready.status, taken.status, refused.status, alive.status) == (503, 202, 503, 200)
    assert int(refused.headers["retry-after"]) > 0
    assert await pool.fetchval("SELECT count(*) FROM events") == 1


async def test_metrics_count_by_route_and_name_nobody(client: Client, pool: Pool) -> None:
    """Requests are counted by route and status; no id, token or person becomes a label."""
    row = await job(pool, "awaiting")
    path = path_for(row["id"])
    await client.post("/events/generic", EVENT)
    await client.post(path, found(row["request_id"]))
    await client.get(f"/v1/lookups/{row['lookup_id']}")
    await client.get("/jane@acme.co")

    text = (await client.get("/metrics")).body.decode()

    assert 'ringback_http_requests_total{route="/events/{source}",status="202"} 1.0' in text
    assert 'ringback_http_requests_total{route="none",status="404"} 1.0' in text
    for secret in (str(row["id"]), str(row["lookup_id"]), path.rpartition("/")[2], "jane"):
        assert secret not in text


# How it starts


async def test_missing_settings_are_named_all_at_once() -> None:
    """Without settings it says which are missing, and exits with 2."""
    code, said = await message_of(await launch(PUBLIC_URL="https://x.test", PORT="seventy"))

    assert code == 2
    for name in ("API_TOKENS", "CALLBACK_KEYS", "PORT"):
        assert name in said
    assert "Traceback" not in said


async def test_a_taken_port_is_not_waited_for(tmp_path: Path) -> None:
    """It is said with its remedy, whether the database is there or not; exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = await launch(
            DATABASE_URL=f"postgresql://nobody@/nothing?host={tmp_path}", API_TOKENS="t", HOST="127.0.0.1", PORT=port
        )
        code, said = await message_of(process)

    assert code == 2
    assert f"port {port}" in said
    assert said.count("Remedy") == 1
    assert "Traceback" not in said


async def test_a_database_without_the_schema_says_what_to_run(server_url: str) -> None:
    """An empty database is not used: the message names the command, exit code 2."""
    code, said = await message_of(await launch(DATABASE_URL=server_url, API_TOKENS="t", HOST="127.0.0.1", PORT="0"))

    assert code == 2
    assert "ringback migrate" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("key", [{}, {"IDENTITY_KEY": "s3cret-of-elsewhere"}])
async def test_another_identity_key_than_the_database_was_filled_with_is_refused(
    database_url: str, pool: Pool, key: dict[str, str]
) -> None:
    """No person would be known again: one message names the setting, exit code 2."""
    await pool.execute("UPDATE installation SET identity_key = NULL")  # it was given, so it is not in the database

    code, said = await message_of(
        await launch(DATABASE_URL=database_url, API_TOKENS="t", HOST="127.0.0.1", PORT="0", **key)
    )

    assert code == 2
    assert "IDENTITY_KEY" in said
    assert "s3cret" not in said
    assert "Traceback" not in said


# How it serves and stops


async def test_the_process_takes_an_event_and_logs_no_person(database_url: str, pool: Pool) -> None:
    """Its log is JSON, one line per thing, without tokens, bodies or people."""
    row = await job(pool, "awaiting")
    path = path_for(row["id"])
    async with receiving(database_url) as receiver, aiohttp.ClientSession(receiver.url, headers=AUTHORIZED) as session:
        async with session.post("/events/generic", json=EVENT) as event:
            await event.read()
        async with session.post(path, json=found(row["request_id"])) as callback:
            await callback.read()
        async with session.post("/events/generic", json={"work_email": "jane.secret@"}) as refused:
            await refused.read()
        os.kill(receiver.process.pid, signal.SIGINT)
        code = await ended(receiver.process)
        log = await receiver.log()

    assert (event.status, callback.status, code) == (202, 200, 0)
    assert "server" not in event.headers
    assert "callbacks" in [json.loads(line)["event"] for line in log.splitlines()]
    for secret in ("jane", "Doe", path.rpartition("/")[2], TOKEN, "15551234567", row["request_id"]):
        assert secret not in log


async def test_sigterm_says_so_finishes_and_leaves(database_url: str, pool: Pool) -> None:
    """At SIGTERM /readyz turns to 503 first; requests in flight are committed and answered; the exit code is 0."""
    watcher, blocker = [await connect(database_url, name="tests") for _ in range(2)]
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE lookups IN SHARE MODE")
    async with receiving(database_url) as receiver, aiohttp.ClientSession(receiver.url, headers=AUTHORIZED) as session:
        posting = asyncio.create_task(session.post("/events/generic", json=EVENT))
        await waiting_for_a_lock(watcher)

        os.kill(receiver.process.pid, signal.SIGTERM)

        async with asyncio.timeout(PATIENCE):
            while await status_of(session, "/readyz") != 503:
                pass
            assert await status_of(session, "/healthz") == 200
            await no_longer_listening(receiver.url)
        await transaction.rollback()
        async with await posting as answer:
            await answer.read()
        code = await ended(receiver.process)
        events = [json.loads(line)["event"] for line in (await receiver.log()).splitlines()]

    assert answer.status == 202
    assert code == 0
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 1
    assert events == ["listening", "draining", "taken", "stopped"]
    await watcher.close()
    await blocker.close()


async def status_of(session: aiohttp.ClientSession, path: str) -> int:
    """Return the status of the answer to a GET."""
    async with session.get(path) as answer:
        await answer.read()
        return answer.status


async def no_longer_listening(url: str) -> None:
    """Wait until the port refuses connections."""
    port = int(url.rpartition(":")[2])
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        writer.close()
        await writer.wait_closed()


async def raw(url: str, *pieces: bytes) -> bytes:
    """Send these bytes; return the answer, once the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(PATIENCE):
        first = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return first


async def test_bodies_over_the_wire_are_limited_and_whole(database_url: str, pool: Pool) -> None:
    """Through real sockets: too much is a 413 while it streams; what breaks off is not stored."""
    head = (
        b"POST /events/generic HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
    )
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    half = b'Content-Length: 60\r\n\r\n{"event_id": "half", "name": "Half A Person"}'
    async with receiving(database_url) as receiver:
        declared = await raw(receiver.url, head + b"Content-Length: 1048577\r\n\r\n")
        streamed = await raw(receiver.url, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 17)
        _, writer = await asyncio.open_connection("127.0.0.1", int(receiver.url.rpartition(":")[2]))
        writer.write(head + half)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with (
            aiohttp.ClientSession(receiver.url, headers=AUTHORIZED) as session,
            session.post("/events/generic", json=EVENT) as answer,
        ):
            await answer.read()
        os.kill(receiver.process.pid, signal.SIGINT)
        code = await ended(receiver.process)

    assert declared.startswith(b"HTTP/1.1 413")
    assert streamed.startswith(b"HTTP/1.1 413")
    assert code == 0
    assert [row["name"] for row in await pool.fetch("SELECT name FROM lookups")] == ["Jane Doe"]
