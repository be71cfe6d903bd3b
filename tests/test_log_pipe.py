"""A reader of stderr that stalls, goes away or never was stops no process; a flood of garbage fills no log."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from rig.ports import free_port
from rig.processes import end_with_parent, environment
from tests.conftest import TOKEN
from tests.log_pipe import DEADLINE, SETTINGS, SMALLEST_PIPE, Piped, piped

LINGER_AND_RESET = struct.pack("ii", 1, 0)


async def send_events(one: Piped, numbers: range) -> list[int]:
    """Send one event for each number; return the statuses."""
    statuses = []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{one.port}", headers=headers) as session:
        for number in numbers:
            async with session.post("/events/generic", json={"work_email": f"{number}@acme.co"}) as answer:
                statuses.append(answer.status)
    return statuses


async def test_a_stalled_reader_holds_up_no_request_and_no_end(database_url: str) -> None:
    """With the pipe full, events are taken, /healthz answers, and SIGTERM ends the process in time."""
    async with piped(DATABASE_URL=database_url) as one:
        await one.is_ready()

        assert set(await send_events(one, range(60))) == {202}  # each of them writes a line
        assert (await one.get("/healthz"))[0] == 200
        began = time.monotonic()
        assert await one.ends() == 0

        assert time.monotonic() - began < 8
        before = len(one.text)
        one.read()
        assert SMALLEST_PIPE - 400 < len(one.text) - before <= SMALLEST_PIPE  # it was full


async def test_what_was_written_while_the_reader_stalled_is_read_later_in_order(database_url: str) -> None:
    """Lines wait for the reader: none is lost, none is before another."""
    async with piped(DATABASE_URL=database_url) as one:
        await one.is_ready()
        await send_events(one, range(60))

        taken = 0
        async with asyncio.timeout(DEADLINE):
            while taken < 60:
                one.read()
                taken = sum(line["event"] == "taken" for line in one.lines)
                await asyncio.sleep(0.02)
        assert (await one.ends()) == 0
        one.read()

    times = [line["timestamp"] for line in one.lines]
    assert times == sorted(times)
    assert one.lines[-1]["event"] == "stopped"


WRITES_A_BURST = """
import sys, structlog
from prometheus_client import generate_latest
from enrichment import lines, logs
from enrichment.settings import Settings
from receiver.clients import Clients
from receiver.metrics import Metrics
logs.configure("info", "burst")
log = structlog.get_logger()
for number in range(100_000):
    log.info("one", number=number, odd="\\udcff\\n")
print("done", flush=True)
lines.stderr.flush(20)
print(generate_latest(Metrics(lambda: 0.0, Clients(Settings())).registry).decode(), flush=True)
logs.last_words("the last words")
sys.exit(2)
"""


async def test_lines_beyond_the_queue_are_dropped_and_counted() -> None:
    """Once the reader is back the log says how many lines were dropped, and the metric does; then come the others."""
    async with piped((sys.executable, "-c", WRITES_A_BURST)) as one:
        assert one.process.stdout
        assert await one.process.stdout.readline() == b"done\n"
        reading = asyncio.create_task(asyncio.to_thread(one.read_to_the_end))
        out = (await one.process.stdout.read()).decode()
        assert await one.process.wait() == 2
        await reading

    *log, last = one.text.decode().splitlines()
    lines = [json.loads(line) for line in log]
    numbers = [line["number"] for line in lines if line["event"] == "one"]
    dropped = sum(line["count"] for line in lines if line["event"] == "log_lines_dropped")
    assert numbers == sorted(numbers)
    assert dropped > 0
    assert len(numbers) + dropped == 100_000
    assert f"ringback_log_lines_dropped_total {float(dropped)}" in out
    assert last == "the last words"


@pytest.mark.parametrize(
    ("redirect", "module"),
    [("2>&-", "receiver"), ("2</dev/null", "receiver"), ("2>/dev/full", "receiver"), ("<&- >&- 2>&-", "submitter")],
)
async def test_a_stderr_that_takes_nothing_stops_nobody(redirect: str, module: str, database_url: str) -> None:
    """Closed at the start, open for reading only, on a full disk: the process runs, and ends well."""
    command = (sys.executable, "-m", module)
    async with piped(command, redirect=redirect, DATABASE_URL=database_url) as one:
        if module == "receiver":
            await one.is_ready()
        else:
            await until_connected(database_url, module)
        assert await one.ends(signal.SIGHUP) == 0


@pytest.mark.parametrize("redirect", ["", "2>&-", "2</dev/null", "2>/dev/full"])
async def test_a_process_that_cannot_start_says_so_by_its_exit_code(redirect: str) -> None:
    """The exit code is 2, whether or not its one message can be written."""
    async with piped(redirect=redirect, HOST="no address", DATABASE_URL="postgresql://127.0.0.1:1/x") as one:
        assert await one.process.wait() == 2
        one.read()
    if not redirect:
        assert one.text.decode().splitlines()[-1].startswith("The receiver cannot start: port")


async def test_a_reader_that_goes_away_stops_nobody(database_url: str) -> None:
    """When the pipe is closed in the middle, events are taken, and the process ends well."""
    async with piped(DATABASE_URL=database_url) as one:
        await one.is_ready()
        os.close(one.reader)
        assert set(await send_events(one, range(5))) == {202}
        assert "ringback_log_lines_dropped_total 0.0" not in (await one.get("/metrics"))[1]
        assert await one.ends() == 0


async def until_connected(database_url: str, module: str) -> None:
    """Wait until the process has listed its providers, which is after it has set its signals."""
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(DEADLINE):
            while not await connection.fetchval("SELECT count(*) FROM limits"):
                await asyncio.sleep(0.02)
    finally:
        await connection.close()


async def test_a_lost_terminal_drains_unless_it_is_ignored(database_url: str) -> None:
    """SIGHUP is like SIGTERM; under nohup it is nothing."""
    async with piped(DATABASE_URL=database_url) as one:
        await one.is_ready()
        assert await one.ends(signal.SIGHUP) == 0
        one.read()
        assert [line["event"] for line in one.lines][-2:] == ["draining", "stopped"]
    async with piped(("nohup", sys.executable, "-m", "receiver"), DATABASE_URL=database_url) as other:
        await other.is_ready()
        other.process.send_signal(signal.SIGHUP)
        assert (await other.get("/readyz"))[0] == 200
        assert await other.ends() == 0


GARBAGE = b"\x16\x03\x01 garbage\r\n\r\n"


def garbage(connection: socket.socket) -> None:
    """Send what is no HTTP."""
    connection.sendall(GARBAGE)
    connection.recv(1024)


async def test_garbage_is_one_line_a_second_with_a_count(database_url: str) -> None:
    """Of a kind the first is logged at once, then one a second with the number of the others; the last is not lost."""
    async with piped(DATABASE_URL=database_url) as one:
        await one.is_ready()
        one.read()
        before = len(one.text)
        began = time.monotonic()
        await asyncio.to_thread(send_garbage, one.port, 500)
        seconds = time.monotonic() - began
        async with asyncio.timeout(DEADLINE):
            while told(one) < 500:
                one.read()
                await asyncio.sleep(0.02)
        one.read()

        assert told(one) == 500
        assert (len(one.text) - before) / (seconds + 1) < 1000  # bytes of log in a second
        await asyncio.to_thread(send_garbage, one.port, 20)
        assert await one.ends() == 0
        one.read()
        assert told(one) == 520


def send_garbage(port: int, times: int) -> None:
    """Send garbage so often, each on a connection of its own."""
    for _ in range(times):
        on_a_connection(port, garbage)


def told(one: Piped) -> int:
    """Return how many invalid requests the log tells of."""
    return sum(line.get("more", 1) for line in one.lines if line["event"] == "request_refused")


def on_a_connection(port: int, do: Callable[[socket.socket], None]) -> None:
    """Call *do* with a connection to *port*; then reset it."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_AND_RESET)
        do(connection)


EVENT = b"POST /events/generic HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
BODY = b'{"work_email": "jane@acme.co"}'


async def test_clients_that_hang_up_are_not_logged(database_url: str) -> None:
    """In the head, in the body, before the answer, or because of garbage behind it: nothing is wrong with us."""
    event = EVENT % (TOKEN.encode(), len(BODY), BODY)
    page = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    async with piped(DATABASE_URL=database_url) as one:
        await one.is_ready()
        one.read()
        before = len(one.lines)

        def hang_up() -> None:
            for sent in (event[:40], event[:-5], event, event * 2, page + GARBAGE):
                for _ in range(5):
                    on_a_connection(one.port, lambda connection, sent=sent: connection.sendall(sent))  # type: ignore[misc]

        await asyncio.to_thread(hang_up)
        assert await one.ends() == 0
        one.read()

    assert {line["event"] for line in one.lines[before:]} <= {
        "taken", "draining", "stopped", "Invalid HTTP request received.",
    }  # fmt: skip


async def test_up_stops_its_processes_while_nobody_reads_what_it_says(database_url: str, tmp_path: Path) -> None:
    """With its output stalled, `ringback up` reads its children, and drains at a SIGHUP."""
    read, write = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "up", "--port", str(port)),
        env=environment(**SETTINGS, DATABASE_URL=database_url, LOG_LEVEL="debug"),
        stdin=asyncio.subprocess.DEVNULL, stdout=write, stderr=asyncio.subprocess.DEVNULL, cwd=tmp_path,
        preexec_fn=end_with_parent(signal.SIGTERM),
    )  # fmt: skip
    os.close(write)
    one = Piped(process, port, read)
    try:
        await one.is_ready()
        assert set(await send_events(one, range(60))) == {202}
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)  # a terminal that is closed sends more than one
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == 0
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        os.close(read)
