"""Logs: one JSON line per thing that happened, and in none of them a person or a secret."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
import asyncpg
import pytest
import structlog
from pydantic import SecretStr

from enrichment import lines, logs
from enrichment.tokens import callback_url
from rig.processes import environment
from tests.commands import running, until
from tests.fake_provider import FakeProvider, Reply, accepted, broke, drop, found, nothing, playing
from tests.wishes import IDENTITY_KEY

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

SECRETS = {
    "API_TOKENS": "s3cret-api-token",
    "CALLBACK_KEYS": "s3cret-callback-key",
    "IDENTITY_KEY": IDENTITY_KEY,
    "LEADMAGIC_API_KEY": "s3cret-leadmagic-key",
    "NYNE_API_KEY": "s3cret-nyne-key",
    "NYNE_API_SECRET": "s3cret-nyne-secret",
}
KEY = SecretStr(SECRETS["CALLBACK_KEYS"])
PROCESSES = {"receiver": "listening", "submitter": "started", "submitter.reconciler": "started"}
PERSON = {
    "profile_url": "linkedin.com/in/jane-of-the-logs",
    "personal_email": "jane.logs@mail.co",
    "name": "Jane Logsdottir",
    "company": "Logs and Sons",
}
PRIVATE = [
    *SECRETS.values(),
    "jane-of-the-logs",
    "jane.logs",
    "Logsdottir",
    "Logs and Sons",
    "@acme.co",
    "5551234567",
    "555-123-4567",
    "555) 123",
]


@pytest.fixture
def written(capfd: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Configure logging as a process does; yield its lines so far; then restore it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    logs.configure("info", "tests")
    # Other modules keep the logger that they log with first.
    structlog.configure(cache_logger_on_first_use=False)

    def read() -> list[dict[str, Any]]:
        assert lines.stderr.flush()
        return [json.loads(line) for line in capfd.readouterr().err.splitlines()]

    yield read
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def fail() -> None:
    """Raise an error as PostgreSQL does, with the refused row in its message."""
    raise ValueError("Key (work_email)=(jane.logs@mail.co) already exists")


def test_each_thing_is_one_line_of_json(written: Any) -> None:
    """Our own events and those of libraries look alike."""
    structlog.get_logger().info("claimed", job="1", attempt=2)
    logging.getLogger("asyncpg.pool").warning("connection lost\nand more")

    ours, theirs = written()

    assert ours | {"timestamp": ""} == {
        "event": "claimed", "job": "1", "attempt": 2, "level": "info", "process": "tests", "timestamp": "",
    }  # fmt: skip
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("connection lost", "asyncpg.pool", "warning")


def test_an_exception_is_told_by_its_type_and_place(written: Any) -> None:
    """An exception's message may repeat what a sender wrote, so only its type and place are logged."""
    for log in (structlog.get_logger(), logging.getLogger("elsewhere")):
        try:
            fail()
        except ValueError:
            log.exception("failed")

    for line in written():
        assert (line["event"], line["error"]) == ("failed", "ValueError")
        assert any(place.rpartition(":")[0].endswith("test_logs.py") for place in line["at"])
        assert "jane" not in json.dumps(line)


async def test_a_task_that_nobody_waited_for_keeps_its_words_to_itself(written: Any) -> None:
    """asyncio would show the whole exception."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": "Task exception was never retrieved", "exception": ValueError("jane.logs@mail.co"), "task": "x"}
    )

    (line,) = written()

    assert line["event"] == "Task exception was never retrieved"
    assert "jane" not in json.dumps(line)


def test_the_level_is_kept(written: Any) -> None:
    """Lines below the configured level are not written."""
    structlog.get_logger().debug("detail")
    logging.getLogger("elsewhere").debug("detail")

    assert written() == []


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("HTTP 503 service_unavailable: Jane is not here", "HTTP 503 service_unavailable"),
        (
            "out of credits; top up (HTTP 402 insufficient_credits: Dear Jane: no)",
            "out of credits; top up (HTTP 402 insufficient_credits)",
        ),
        ("no connection (ClientConnectorError)", "no connection (ClientConnectorError)"),
        ("", None),
        (None, None),
    ],
)
def test_a_providers_own_words_are_not_logged(reason: str | None, told: str | None) -> None:
    """A provider's words may name the person; the full reason stays with the job."""
    assert logs.without_words(reason) == told


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    """The provider's server."""
    async with playing() as server:
        yield server


async def test_no_process_tells_who_or_how(fake: FakeProvider, pool: Pool, database_url: str) -> None:
    """Through answers, faults and callbacks every step is logged, and no line has a person or a secret."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = environment(
        **SECRETS, DATABASE_URL=database_url, PORT=str(port), HOST="127.0.0.1", LOG_LEVEL="debug",
        PUBLIC_URL=f"http://127.0.0.1:{port}", LEADMAGIC_BASE_URL=fake.url, NYNE_BASE_URL=fake.url,
        LEADMAGIC_PER_MINUTE="100000", NYNE_PER_MINUTE="100000", NYNE_PER_HOUR="1000000",
        PROVIDER_TIMEOUT_SECONDS="2",
    )  # fmt: skip
    fake.questions.extend([
        found("(555) 123-4567 jane.logs@mail.co"),
        Reply(400, {"error": "jane.logs@mail.co is of s3cret-leadmagic-key"}),
        Reply(200, b'{"jane.logs@mail.co": "s3cret-leadmagic-key"'),
        drop(),
        Reply(503, {"message": "Jane Logsdottir s3cret-leadmagic-key"}),
        broke(402),
        accepted("req-1"),
        nothing(),
    ])  # fmt: skip
    events = [PERSON | {"event_id": f"evt-{n}", "work_email": f"{n}@acme.co", "region": "US"} for n in range(9)]
    for event in events:
        del event["profile_url"], event["personal_email"]

    async with AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(running((sys.executable, "-m", module), env)) for module in PROCESSES
        ]
        await asyncio.gather(*(process.says(text) for process, text in zip(started, PROCESSES.values(), strict=True)))
        await talk(port, events)
        await until(lambda: asked(fake, pool))
        await call_back(port, pool)
        for process in started:
            assert await process.ends(signal.SIGTERM) == 0

    lines = [line for process in started for line in process.lines]
    assert len(lines) > 20
    for line in lines:
        json.loads(line)
        assert not [private for private in PRIVATE if private in line], line
    token = callback_url("", [KEY], "nyne", (await nyne_jobs(pool))[0]["id"]).rpartition("/")[2]
    assert token not in "\n".join(lines)
    await every_step_is_told([json.loads(line) for line in lines], pool)


async def every_step_is_told(lines: list[dict[str, Any]], pool: Pool) -> None:
    """The log shows every step of a lookup or a job under its id."""
    told = {event: [line for line in lines if line["event"] == event] for event in ("taken", "claimed")}
    taken = {id for line in told["taken"] for id in line["lookups"]}
    claimed = {id for line in told["claimed"] for id in line["jobs"]}
    ended = {id for line in lines if line["event"] in ("jobs_ended", "callbacks") for id in line["jobs"]}

    assert taken == {str(row["id"]) for row in await pool.fetch("SELECT id FROM lookups")}
    assert claimed >= (over := {str(row["id"]) for row in await pool.fetch("SELECT id FROM finished_jobs")})
    assert ended >= over


async def talk(port: int, events: list[dict[str, Any]]) -> None:
    """Send good and bad events, as a CRM does."""
    url = f"http://127.0.0.1:{port}"
    right = {"Authorization": f"Bearer {SECRETS['API_TOKENS']}"}
    wrong = {"Authorization": "Bearer s3cret-api-token-of-somebody-else"}
    async with aiohttp.ClientSession() as session:
        for event in [*events, PERSON, {"work_email": "jane.logs@mail.co is not an address"}]:
            async with session.post(f"{url}/events/generic", json=event, headers=right) as response:
                assert response.status in (202, 422)
        for headers in (wrong, {}):
            async with session.post(
                f"{url}/events/generic?email=jane.logs@mail.co", json=PERSON, headers=headers
            ) as no:
                assert no.status == 401
        async with session.get(f"{url}/v1/lookups?record_id=jane.logs@mail.co", headers=right) as listed:
            assert listed.status == 200


async def asked(fake: FakeProvider, pool: Pool) -> bool | None:
    """Enough has happened, and Nyne has a question."""
    return bool(len(fake.paid) >= 8 and await nyne_jobs(pool)) or None


async def nyne_jobs(pool: Pool) -> list[asyncpg.Record]:
    """Nyne's questions."""
    rows: list[asyncpg.Record] = await pool.fetch(
        "SELECT id FROM jobs WHERE provider = 'nyne' AND state = 'awaiting' "
        "UNION ALL SELECT id FROM finished_jobs WHERE provider = 'nyne' ORDER BY id"
    )
    return rows


async def call_back(port: int, pool: Pool) -> None:
    """Call back as Nyne: unreadably, then with a number, then with a wrong token."""
    (row, *_) = await nyne_jobs(pool)
    url = callback_url(f"http://127.0.0.1:{port}", [KEY], "nyne", row["id"])
    bodies: list[tuple[str, Any]] = [
        (url, b"jane.logs@mail.co \xff"),
        (url, json.dumps({"status": "completed", "result": {"mobile": "+1-555-123-4567"}}).encode()),
        (f"{url}x", b"{}"),
    ]
    async with aiohttp.ClientSession() as session:
        for target, body in bodies:
            async with session.post(target, data=body) as response:
                assert response.status == (404 if target.endswith("x") else 200)
