"""Nothing waits for ever: every wait and its bound, in one table; and what happens when a bound is reached."""

from __future__ import annotations

import ast
import asyncio
import inspect
import math
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import pytest

from console import up
from enrichment import database, notify
from enrichment.database import UNREACHABLE, DatabaseDown, close_pool, connect, open_pool
from enrichment.group_commit import GroupCommit
from enrichment.providers import waits
from enrichment.settings import Settings
from receiver import app, bodies, health, server, shared_metrics
from submitter import __main__ as submitter
from submitter import backoff, counting, outcomes, poll, reconciler, submit, transport
from tests.commands import ROOT, Running, environment, running, until
from tests.factories import job
from tests.fake_provider import FakeProvider, found, playing
from tests.proxy import Proxy, proxied
from tests.wishes import read, status, take_one

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
SERVICES = ("enrichment", "receiver", "submitter")
SHORT = 0.3  # seconds: the bounds of the database, where a test waits for them to be reached
SOON = 10.0  # seconds, until a test is stuck


class Wait(NamedTuple):
    """Something that is waited for, *seconds* as it is set, and *at_most* as it may be."""

    what: str
    seconds: float
    at_most: float


def default(name: str) -> float:
    """A setting, where nobody sets it."""
    return float(Settings.model_fields[name].default)


def most(name: str) -> float:
    """A setting at its highest."""
    return float(next(bound.le for bound in Settings.model_fields[name].metadata if hasattr(bound, "le")))


def on_the_server(name: str) -> float:
    """One of the server's own bounds."""
    return float(database.SERVER_SETTINGS[name].removesuffix("s"))


def while_migrating() -> dict[str, float]:
    """The bounds of a migration, out of its text."""
    text = (ROOT / "enrichment/migrations.py").read_text(encoding="utf-8")
    lock, statement = (float(re.findall(rf"{one}_timeout = '(\d+)s'", text)[0]) for one in ("lock", "statement"))
    turn, step = (float(seconds) for seconds in re.findall(r"timeout=(\d+)\)", text))
    return {"lock": lock, "statement": statement, "turn": turn, "step": step}


def behind_a_queue(batch: int) -> float:
    """How long the last item of a full queue waits in the receiver when every commit before it times out."""
    backlog: int = inspect.signature(GroupCommit).parameters["backlog"].default
    return backlog / (batch * app.FLUSHERS) * (database.ACQUIRE_TIMEOUT + database.COMMAND_TIMEOUT)


# A callback that nobody can ask about: how long it may take.
PATIENCE = default("callback_grace_seconds") * outcomes.GRACES_WITHOUT_REQUEST_ID
KEEPALIVE = on_the_server("tcp_keepalives_idle") + on_the_server("tcp_keepalives_interval") * on_the_server(
    "tcp_keepalives_count"
)
WAITS = (
    # the database
    Wait("a connection to it", database.CONNECT_TIMEOUT, 10),
    Wait("a connection out of the pool", database.ACQUIRE_TIMEOUT, 10),
    Wait("a statement, as we see it", database.COMMAND_TIMEOUT, 30),
    Wait("a statement, as the server sees it", on_the_server("statement_timeout"), 30),
    Wait("a lock", on_the_server("lock_timeout"), 30),
    Wait("our next statement in a transaction", on_the_server("idle_in_transaction_session_timeout"), 30),
    Wait("a client that is gone", KEEPALIVE, MINUTE),
    Wait("the pool to close", database.CLOSE_TIMEOUT, 10),
    Wait("another migration to end", while_migrating()["lock"], MINUTE),
    Wait("a step of a migration", while_migrating()["statement"], 10 * MINUTE),
    Wait("a hint to be sent, or a listener's ping", notify.PATIENCE, 10),
    Wait("a silent listener to be tried", notify.PING_EVERY, MINUTE),
    Wait("the next try of whoever notifies or listens", notify.LONGEST_PAUSE, MINUTE),
    # who calls us
    Wait("the rest of a body", bodies.SLOWEST, 30),
    Wait("an idle connection's next request", server.KEEP_ALIVE, 2 * MINUTE),
    Wait("readiness", health.PATIENCE, 2),
    Wait("the shared metrics", shared_metrics.PATIENCE, 10),
    Wait("an event's commit behind a full queue, every other timing out", behind_a_queue(app.MOST_EVENTS), HOUR),
    Wait("a callback's commit, alike", behind_a_queue(app.MOST_CALLBACKS), HOUR),
    # whom we call
    Wait("a connection to a provider", transport.CONNECT_TIMEOUT, 10),
    Wait("a provider's answer, whole", default("provider_timeout_seconds"), MINUTE),
    Wait("the same at its highest", most("provider_timeout_seconds"), 10 * MINUTE),
    Wait("an idle connection to a provider", transport.KEEPALIVE, 5),
    Wait("a provider that said Retry-After", waits.LONGEST_WAIT, HOUR),
    Wait("the next attempt", backoff.LONGEST, 10 * MINUTE),
    # work that nobody does
    Wait("a job whose submitter is silent", default("lease_seconds"), 30),
    Wait("the same at its highest", most("lease_seconds"), HOUR),
    Wait("a queued job that no hint announced", submit.IDLE, 2),
    Wait("followers whose leader ended, and whatever is past hope", reconciler.SETTLE_EVERY, 5),
    Wait("held lookups that may go on", reconciler.UNHOLD_EVERY, 10),
    Wait("a paused provider to be asked how it is", reconciler.CHECK_EVERY.total_seconds(), MINUTE),
    Wait("the first poll where no callback can come", outcomes.FIRST_POLL_WITHOUT_CALLBACK.total_seconds(), MINUTE),
    Wait("the first poll", default("callback_grace_seconds"), 5 * MINUTE),
    Wait("the same at its highest", most("callback_grace_seconds"), DAY),
    Wait("the next poll", poll.LONGEST_INTERVAL.total_seconds(), HOUR),
    Wait("a callback that nobody can ask about", PATIENCE, HOUR),
    Wait("an answer at all", default("job_deadline_hours") * HOUR, 2 * DAY),
    Wait("the same at its highest", most("job_deadline_hours") * HOUR, 366 * DAY),
    Wait("a budget, or a paused account", reconciler.QUEUED_AT_MOST.total_seconds(), 36 * DAY),
    Wait("counters to be added up", counting.EVERY, 15),
    # the end
    Wait("whoever balances the load to notice", server.NOTICE, 5),
    Wait("requests in flight", server.GRACE, 30),
    Wait("cancelled handlers", app.LEAVING, 10),
    Wait("what they handed over to be written", app.WRITING, 30),
    Wait("outcomes to be written after the last answer", submitter.WRITING_TIMEOUT, 30),
    Wait("a receiver to end", up.CLOSING, MINUTE),
    Wait("a submitter to end after its last answer", up.DRAINING, MINUTE),
)  # fmt: skip


@pytest.mark.parametrize("wait", WAITS, ids=[wait.what for wait in WAITS])
def test_every_wait_has_a_bound(wait: Wait) -> None:
    """It is finite, and not longer than anybody would want to wait for this."""
    assert 0 < wait.seconds <= wait.at_most < math.inf


def test_bounds_are_in_order() -> None:
    """Who waits for somebody who waits is more patient; and what keeps a thing alive comes often enough."""
    lease, migrating = default("lease_seconds"), while_migrating()

    # The server gives up first, and says why; our own bound is for when it cannot.
    assert on_the_server("lock_timeout") < on_the_server("statement_timeout") <= database.COMMAND_TIMEOUT
    assert migrating["lock"] < migrating["turn"]
    assert migrating["statement"] <= migrating["step"]
    assert database.CONNECT_TIMEOUT <= database.ACQUIRE_TIMEOUT
    # Five renewals may fail; and work is taken over within half a minute of a SIGKILL.
    assert lease / submit.RENEWALS_PER_LEASE * 5 < lease
    assert lease + min(lease / submit.RENEWALS_PER_LEASE, 3.0) + reconciler.SETTLE_EVERY <= 30
    # Node.js closes after 5 s: we do so before.
    assert transport.KEEPALIVE < 5
    assert default("provider_timeout_seconds") > transport.CONNECT_TIMEOUT
    assert bodies.SLOWEST < server.GRACE
    # Whoever stops a process waits for all that it waits for.
    assert up.DRAINING >= submitter.WRITING_TIMEOUT + database.CLOSE_TIMEOUT
    assert up.CLOSING >= server.NOTICE + server.GRACE + app.LEAVING + app.WRITING + database.CLOSE_TIMEOUT


# What the table cannot show: that there are no other waits.


class Found(NamedTuple):
    """A call somewhere in a service."""

    path: str
    function: str
    call: ast.Call
    within: tuple[ast.AST, ...]

    @property
    def name(self) -> str:
        """What is called, like `self._pool.acquire`."""
        return ast.unparse(self.call.func)

    @property
    def keywords(self) -> set[str | None]:
        """The arguments that were named."""
        return {keyword.arg for keyword in self.call.keywords}

    def __str__(self) -> str:
        """Where it is, and what."""
        return f"{self.path}:{self.function}: {ast.unparse(self.call)}"


def calls() -> Iterator[Found]:
    """Every call in every service."""
    for room in SERVICES:
        for file in sorted((ROOT / room).rglob("*.py")):
            yield from _calls(ast.parse(file.read_text(encoding="utf-8")), str(file.relative_to(ROOT)), "", ())


def _calls(node: ast.AST, path: str, function: str, within: tuple[ast.AST, ...]) -> Iterator[Found]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function, within = node.name, ()
    if isinstance(node, ast.Call):
        yield Found(path, function, node, within)
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, path, function, (*within, node))


def is_bounded(found: Found) -> bool:
    """Whether a call has a deadline, of its own or around it."""
    for node in (found.call, *found.within):
        if isinstance(node, ast.Call) and any(keyword.arg == "timeout" for keyword in node.keywords):
            return True
        if isinstance(node, ast.AsyncWith) and "asyncio.timeout(" in ast.unparse(node.items[0]):
            return True
    return False


def test_no_connection_is_waited_for_without_a_bound() -> None:
    """Who takes one out of the pool says how long; whoever forgets, in a pool's own fetch, is told by the pool."""
    takes = [found for found in calls() if found.name.endswith(".acquire")]

    assert [str(found) for found in takes if "timeout" not in found.keywords] == []
    assert len(takes) > 5


def test_every_connection_is_opened_in_one_place() -> None:
    """With a bound on connecting, and on every statement that will ever run on it."""
    opens = [f for f in calls() if f.name in {"asyncpg.connect", "asyncpg.create_pool", "PatientPool", "asyncpg.Pool"}]

    assert {found.path for found in opens} == {"enrichment/database.py"}
    assert all({"timeout", "command_timeout", "server_settings"} <= found.keywords for found in opens)


def test_every_session_is_opened_in_one_place() -> None:
    """With a bound on the whole, on connecting, and between two pieces of a body."""
    (opened,) = [found for found in calls() if found.name.endswith("ClientSession")]
    (bounds,) = [found for found in calls() if found.name.endswith("ClientTimeout")]

    assert opened.path == bounds.path == "submitter/transport.py"
    assert "timeout" in opened.keywords
    assert {"total", "connect", "sock_connect", "sock_read"} <= bounds.keywords


# Waits without a deadline of their own, and why each of them ends.
REVIEWED = {
    "enrichment/group_commit.py:close: asyncio.wait(self._running)":
        "each commit has the database's bounds, and whoever closes has one (the receiver's WRITING), or makes the "
        "flush give up (the submitter's WRITING_TIMEOUT)",
    "enrichment/notify.py:run: self._woken.wait()":
        "it waits for work, and is cancelled at the end",
    "receiver/app.py:lifespan: asyncio.wait([notifying])":
        "it was cancelled in the line before, and has nothing to finish",
    "receiver/followers.py:close: asyncio.wait([self._task])":
        "inside the receiver's WRITING",
    "submitter/__main__.py:_give_up_after_draining: stop.wait()":
        "it waits for SIGTERM, and is cancelled at the end",
    "submitter/submit.py:run: asyncio.wait(self._tasks)":
        "each call has the provider's timeout, and each write gives up WRITING_TIMEOUT later",
}  # fmt: skip


def test_every_other_wait_was_thought_about() -> None:
    """A wait without a deadline needs a reason why it ends; a reason without its wait is struck out."""
    waits_for = [found for found in calls() if found.name.rpartition(".")[2] == "wait" and found.name != "wait"]

    assert {str(found) for found in waits_for if not is_bounded(found)} == REVIEWED.keys()


# What happens when a bound is reached.


class BlackHole(Proxy):
    """A network that goes silent: connections stay open, and what is sent arrives when it is well again, or never."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.well = asyncio.Event()
        self.well.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._open.add(writer)
        await self.well.wait()
        there_reader, there_writer = await self._connect()
        self._open.add(there_writer)
        with suppress(ConnectionError):
            await asyncio.gather(self._carry(reader, there_writer), self._carry(there_reader, writer))
        self._open -= {writer, there_writer}

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self.well.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def behind(hole: BlackHole, database_url: str) -> AsyncIterator[str]:
    """Inside the block the database is reached through *hole*, at the yielded URL."""
    listening = await asyncio.start_server(hole.serve, "127.0.0.1", 0)
    given, port = urlsplit(database_url), listening.sockets[0].getsockname()[1]
    user = f"{given.username or 'postgres'}:{given.password or ''}"
    try:
        yield given._replace(netloc=f"{user}@127.0.0.1:{port}", query="sslmode=disable").geturl()
    finally:
        hole.well.set()
        hole.cut()
        listening.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's bounds are so short that a test may wait for them."""
    for name in ("CONNECT_TIMEOUT", "ACQUIRE_TIMEOUT", "COMMAND_TIMEOUT"):
        monkeypatch.setattr(database, name, SHORT)


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
    hole = BlackHole(database_url)
    async with behind(hole, database_url) as url:
        pool = await open_pool(url, name="tests", size=2)
        assert await pool.fetchval("SELECT 1") == 1

        hole.well.clear()
        # The statement, then its cancellation, which needs a connection of its own; or a connection at once.
        took = [await elapsed(pool.fetchval("SELECT 1")) for _ in range(4)]
        hole.well.set()

        async def answered() -> int | None:
            with suppress(*UNREACHABLE):
                return int(await pool.fetchval("SELECT 1"))
            return None

        assert await until(answered) == 1
        await close_pool(pool)
    assert max(took) < 10 * SHORT


@pytest.mark.usefixtures("short")
async def test_a_silent_network_is_noticed_while_connecting(database_url: str) -> None:
    """Nobody who starts waits for ever for a database that accepts connections and says nothing."""
    hole = BlackHole(database_url)
    async with behind(hole, database_url) as url:
        hole.well.clear()

        async with asyncio.timeout(SOON):
            with pytest.raises(DatabaseDown):
                await open_pool(url, name="tests", size=2)
            with pytest.raises(DatabaseDown):
                await connect(url, name="tests")


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
        with pytest.raises(DatabaseDown, match="read-only"):
            await open_pool(database_url, name="tests", size=1)
        reader = await connect(_asking_for("any", database_url), name="tests")
        assert await reader.fetchval("SELECT count(*) FROM events") == 0
        await reader.close(timeout=SOON)
    finally:
        await admin.close(timeout=SOON)


def _asking_for(attributes: str, url: str) -> str:
    """The URL of somebody who knows which server they want."""
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
    """While the database is away it tries again, later each time; when it is back it works, and nobody restarted it."""
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
