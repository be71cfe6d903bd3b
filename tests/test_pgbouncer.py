"""PgBouncer in transaction mode between our processes and PostgreSQL, set up as docs/deploy.md says.

PGBOUNCER names another program than the one on the PATH.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import pytest

from console.checks import check_database
from receiver.app import create_app
from rig.pgbouncer import FAILOVER, KEEPS_STATEMENTS, PROGRAM, version
from rig.ports import free_port
from rig.processes import environment
from store.database import SERVER_SETTINGS, close_pool, connect, open_pool
from store.migrations import migrate
from store.notify import CHANNEL
from tests.asgi import Client, living
from tests.commands import ROOT, empty_database, ringback, running, until
from tests.conftest import TOKEN, MakeSettings
from tests.deployed import PROCFILE, command
from tests.fake_provider import FakeProvider, completed, found, playing
from tests.next_schema import NEXT, beside, released

POOL_SIZE = 5  # connections to PostgreSQL, however many come to PgBouncer
KEPT_BY_THE_ROLE = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "jit",
    "max_parallel_workers_per_gather",
)
DEPLOY = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
_numbers = itertools.count(1)

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer; apt-get install pgbouncer")


@dataclass(frozen=True)
class Bouncer:
    """A database behind PgBouncer: connections through it have *role*, direct ones have not."""

    url: str
    direct_url: str
    role: str
    log: list[str]


def ignored() -> list[str]:
    """The startup parameters that docs/deploy.md lets PgBouncer ignore."""
    line = re.search(r"^ignore_startup_parameters = (.+)$", DEPLOY, re.MULTILINE)
    assert line is not None
    return line[1].split(", ")


def configuration(direct_url: str, role: str, port: int) -> str:
    """Return the configuration for transaction mode; every client is *role*."""
    url = urlsplit(direct_url)
    host = parse_qs(url.query).get("host", [url.hostname or "127.0.0.1"])[0]
    keeps_statements = "max_prepared_statements = 200" if version() >= KEEPS_STATEMENTS else ""
    return f"""
[databases]
* = host={host} port={url.port or 5432} user={role} password={role}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {POOL_SIZE}
ignore_startup_parameters = {", ".join(ignored())}
{keeps_statements}
"""


def as_somebody_else(direct_url: str) -> list[str]:
    """PgBouncer refuses to run as root; the user that runs PostgreSQL can reach its socket."""
    if os.geteuid() != 0:
        return []
    url = urlsplit(direct_url)
    folder = parse_qs(url.query).get("host")
    return ["-u", (Path(folder[0]) / f".s.PGSQL.{url.port or 5432}").owner() if folder else "nobody"]


@asynccontextmanager
async def user(server_url: str) -> AsyncIterator[str]:
    """Inside the block there is a role whose own settings are the deadlines that PgBouncer ignores."""
    name = f"ringback_pooled_{os.getpid()}_{next(_numbers)}"
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
        for setting in KEPT_BY_THE_ROLE:
            await admin.execute(f"ALTER ROLE {name} SET {setting} = '{SERVER_SETTINGS[setting]}'")
        yield name
        await admin.execute(f"DROP ROLE {name}")
    finally:
        await admin.close()


@pytest.fixture
async def bouncer(server_url: str, tmp_path: Path) -> AsyncIterator[Bouncer]:
    """PgBouncer in front of a database without a table, which belongs to the role that it lets in."""
    async with AsyncExitStack() as stack:
        role = await stack.enter_async_context(user(server_url))
        direct_url = await stack.enter_async_context(empty_database(server_url))
        database = urlsplit(direct_url).path.removeprefix("/")
        owner = await asyncpg.connect(direct_url)
        await owner.execute(f"ALTER DATABASE {database} OWNER TO {role}")
        await owner.close()
        port = free_port()
        file = tmp_path / "pgbouncer.ini"
        file.write_text(configuration(direct_url, role, port), encoding="utf-8")
        program = await stack.enter_async_context(
            running([str(PROGRAM), *as_somebody_else(direct_url), str(file)], environment())
        )
        await program.says("listening on 127.0.0.1")
        url = f"postgresql://anybody@127.0.0.1:{port}/{database}?sslmode=disable"
        if version() < KEEPS_STATEMENTS:
            url += "&statement_cache_size=0"
        yield Bouncer(url, direct_url, role, program.lines)


@pytest.fixture
async def direct(bouncer: Bouncer) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A session past PgBouncer."""
    connection = await asyncpg.connect(bouncer.direct_url)
    yield connection
    await connection.close()


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    """Plays both providers."""
    async with playing() as fake:
        yield fake


def test_the_page_names_every_parameter_that_we_send() -> None:
    """PgBouncer refuses a client that sends a startup parameter that it is not told to ignore."""
    assert sorted(ignored()) == sorted(SERVER_SETTINGS)


def test_the_page_says_how_pgbouncer_follows_a_failover() -> None:
    """What `make failover` sets is what the page lets people paste."""
    assert f"```ini\n{FAILOVER}\n```" in DEPLOY


@pytest.mark.parametrize("place", ["first", "last"])
async def test_where_a_pooler_cannot_keep_statements_apart_none_stays_prepared(database_url: str, place: str) -> None:
    """`statement_cache_size=0` keeps no prepared statements: before 1.21 PgBouncer gives them to the next client."""
    without, _, query = database_url.partition("?")
    asks = {"first": f"{without}?statement_cache_size=0&{query}", "last": f"{database_url}&statement_cache_size=0"}
    left = []
    for url in (database_url, asks[place]):
        connection = await connect(url, name="tests")
        await connection.fetchval("SELECT $1::text", "asked once")
        left.append(await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") > 0)
        await connection.close()

    assert left == [True, False]


@needs_pgbouncer
@pytest.mark.parametrize("past", [True, False], ids=["listening-past-it", "without-listening"])
async def test_an_inline_answer_and_a_callback_get_through(
    bouncer: Bouncer, direct: asyncpg.Connection[Any], provider: FakeProvider, *, past: bool
) -> None:
    """All processes work through PgBouncer, from the migration to the number; LISTEN goes past it, or is missed."""
    heard = asyncio.Event()
    async with deployed(bouncer, provider, past=past) as session:
        if past:
            await direct.add_listener(CHANNEL, lambda *_: heard.set())
            assert await until(lambda: listening(direct)) != bouncer.role
        provider.questions.append(found())
        inline = await ended(session, await event(session, event_id="1", profile_url="linkedin.com/in/ada"))
        provider.questions.clear()  # LeadMagic has nothing, Nyne accepts
        asked_before = len(provider.paid)
        waiting = await event(session, event_id="2", profile_url="linkedin.com/in/bob")
        asked = (await provider.arrive(asked_before + 2))[-1]
        async with session.post(asked.body["callback_url"], json=completed().body) as answer:
            assert answer.status == 200
        called_back = await ended(session, waiting)
        if past:
            async with asyncio.timeout(10):
                await heard.wait()  # a hint sent through PgBouncer reaches a listener that connects directly

    assert [lookup["status"] for lookup in (inline, called_back)] == ["found", "found"]
    assert [lookup["jobs"][-1]["answered_by"] for lookup in (inline, called_back)] == ["inline", "callback"]
    assert len(provider.paid) == 3


@needs_pgbouncer
async def test_many_events_over_more_connections_than_the_pool_has(
    bouncer: Bouncer, direct: asyncpg.Connection[Any], make_settings: MakeSettings
) -> None:
    """Two receivers with four times as many connections as PgBouncer has: every event is stored, once."""
    settings = make_settings(database_url=bouncer.url)
    await migrated(bouncer.url)
    async with AsyncExitStack() as stack:
        clients, pools = [], []
        for _ in range(2):
            pools.append(await open_pool(bouncer.url, name="receiver", size=2 * POOL_SIZE))
            stack.push_async_callback(close_pool, pools[-1])
            app = create_app(settings, pools[-1], bouncer.url)
            await stack.enter_async_context(living(app))
            clients.append(Client(app, {"authorization": f"Bearer {TOKEN}"}))
        events = [{"event_id": str(n), "profile_url": f"linkedin.com/in/person-{n}"} for n in range(200)]
        taken = await asyncio.gather(*(clients[n % 2].post("/events/generic", one) for n, one in enumerate(events)))
        again = await asyncio.gather(*(clients[n % 2 - 1].post("/events/generic", one) for n, one in enumerate(events)))
        ids = [answer.json()["lookups"][0]["id"] for answer in taken]
        read = await asyncio.gather(*(clients[n % 2].get(f"/v1/lookups/{id}") for n, id in enumerate(ids)))
        connections = sum(pool.get_size() for pool in pools)
        sessions = await direct.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", bouncer.role)
        stored = await direct.fetchval("SELECT count(*) FROM lookups")

    assert {answer.status for answer in taken} == {answer.status for answer in again} == {202}
    assert [answer.json()["lookups"][0]["id"] for answer in again] == ids
    assert [answer.json()["id"] for answer in read] == ids
    assert stored == len(set(ids)) == 200
    assert connections > POOL_SIZE >= sessions > 0


@needs_pgbouncer
async def test_the_deadlines_that_pgbouncer_ignores_are_kept_by_the_role(bouncer: Bouncer) -> None:
    """What we send at the start of a session is lost on the way; ALTER ROLE has it all the same."""
    pool = await open_pool(bouncer.url, name="tests", size=2)
    try:
        in_force = {name: await pool.fetchval("SELECT current_setting($1)", name) for name in KEPT_BY_THE_ROLE}
    finally:
        await close_pool(pool)

    assert in_force == {name: SERVER_SETTINGS[name] for name in KEPT_BY_THE_ROLE}


@needs_pgbouncer
async def test_the_doctor_sees_that_the_deadlines_are_lost(
    bouncer: Bouncer, direct: asyncpg.Connection[Any], make_settings: MakeSettings
) -> None:
    """Without these deadlines of the role, a hanging statement would be the first sign."""
    settings = make_settings(database_url=bouncer.url)
    assert "Deadlines" not in {finding.about for finding in await check_database(settings)}

    await direct.execute(f"ALTER ROLE {bouncer.role} RESET statement_timeout")
    await direct.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", bouncer.role)

    async def noticed() -> bool | None:
        return "Deadlines" in {finding.about for finding in await check_database(settings)} or None

    assert await until(noticed)


@needs_pgbouncer
async def test_indexes_are_built_through_pgbouncer(
    bouncer: Bouncer, direct: asyncpg.Connection[Any], tmp_path: Path
) -> None:
    """Two migrations at once, none of which bypasses it: they take turns, and every index is valid."""
    index = "CREATE INDEX CONCURRENTLY IF NOT EXISTS lookups_by_region ON lookups (region, id);"
    await migrated(bouncer.url)
    connections = [await connect(bouncer.url, name="migrate") for _ in range(2)]
    with released(
        tmp_path, ("an index (concurrently)", index), ("a column", "ALTER TABLE jobs ADD COLUMN novel text;")
    ):
        runs = (migrate(connection, beside=beside(bouncer.url)) for connection in connections)
        applied = await asyncio.gather(*runs)
    for connection in connections:
        await connection.close()

    assert sorted(step.number for steps in applied for step in steps) == [NEXT, NEXT + 1]
    assert await direct.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert await direct.fetchval("SELECT to_regclass('lookups_default_by_region') IS NOT NULL")


async def migrated(url: str) -> None:
    """The schema is at its newest step, by a migration through *url*."""
    connection = await connect(url, name="migrate")
    try:
        await migrate(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def deployed(bouncer: Bouncer, provider: FakeProvider, *, past: bool) -> AsyncIterator[aiohttp.ClientSession]:
    """Inside the block the Procfile's processes run behind PgBouncer; a client of the receiver."""
    port = free_port()
    settings = {
        "DATABASE_URL": bouncer.url,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "API_TOKENS": TOKEN,
        "CALLBACK_KEYS": "key-of-the-pgbouncer-test-long-enough",
        "LEADMAGIC_BASE_URL": provider.url,
        "LEADMAGIC_API_KEY": "leadmagic-key",
        "NYNE_BASE_URL": provider.url,
        "NYNE_API_KEY": "nyne-key",
        "NYNE_API_SECRET": "nyne-secret",
    }
    if past:
        settings["DATABASE_DIRECT_URL"] = bouncer.direct_url
    async with AsyncExitStack() as stack:
        released = await ringback("migrate", cwd=ROOT, **settings)
        assert released.code == 0, (released, bouncer.log)
        names = [name for name in PROCFILE if name != "release"]
        ours = {
            name: await stack.enter_async_context(running(command(PROCFILE[name]), environment(**settings)))
            for name in names
        }
        await ours["web"].says('"event": "listening"')
        yield await stack.enter_async_context(
            aiohttp.ClientSession(
                f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {TOKEN}"},
                timeout=aiohttp.ClientTimeout(total=10),
            )
        )


async def event(session: aiohttp.ClientSession, **contact: str) -> str:
    """A CRM's event was taken; the id of its lookup."""
    async with session.post("/events/generic", json=contact) as answer:
        assert answer.status == 202, await answer.text()
        taken: str = (await answer.json())["lookups"][0]["id"]
        return taken


async def ended(session: aiohttp.ClientSession, lookup_id: str) -> dict[str, Any]:
    """The lookup, once it has ended."""

    async def look() -> dict[str, Any] | None:
        async with session.get(f"/v1/lookups/{lookup_id}") as answer:
            lookup: dict[str, Any] = await answer.json()
            return lookup if lookup["finished_at"] else None

    return await until(look)


async def listening(direct: asyncpg.Connection[Any]) -> str | None:
    """The role of the submitter's listening session, once there is one."""
    role: str | None = await direct.fetchval(
        """
        SELECT usename FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'ringback submitter listener'
           AND query LIKE 'LISTEN%'
        """
    )
    return role
