"""A real PostgreSQL: one template database for the session, a copy of it for each test; and the processes on it.

TEST_DATABASE_URL names a server to use; without it, an embedded one is started, and stopped at the end.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from starlette.applications import Starlette
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from enrichment.settings import NESTED, Settings, setting_fields
from receiver.app import create_app
from rig import processes
from rig.postgres import Postgres, execute, url_of
from store.database import close_pool, open_pool
from store.installation import identity_fingerprint
from store.migrations import migrate
from store.providers import register_provider
from tests.asgi import Client, living
from tests.at_work import BOTH, NO_LIMITS, AtWork, at_work
from tests.bare_settings import bare, environment  # noqa: F401  fixtures
from tests.claims import QUICK
from tests.databases import Databases
from tests.fake_provider import FakeProvider, playing
from tests.forked import launch
from tests.order import Order
from tests.pruning import history  # noqa: F401  fixture
from tests.wishes import IDENTITY_KEY

processes.launch = launch
gc.disable()  # until all tests are collected: they stay, and each full collection would look at all of them

TOKEN = "token-of-the-tests"
SANE: dict[str, Any] = {
    "api_tokens": TOKEN,
    "callback_keys": "key-of-the-tests",
    "public_url": "https://ringback.test",
    "leadmagic_api_key": "leadmagic-key",
    "nyne_api_key": "nyne-key",
    "nyne_api_secret": "nyne-secret",
    "port": 0,
    "host": "127.0.0.1",
}

MakeSettings = Callable[..., Settings]
ClientWith = Callable[..., Awaitable[Client]]
Start = Callable[..., AbstractAsyncContextManager[AtWork]]


# Modules whose tests start many processes or keep a core busy: parallel workers run one of these at a time.
HEAVY = ("tests/test_chaos.py", "tests/test_model.py", "tests/test_demo.py", "tests/test_soak.py",
         "tests/test_end_to_end.py", "tests/test_end_to_end_hubspot.py", "tests/test_bench.py",
         "tests/test_enrich_end_to_end.py", "tests/test_apart.py", "tests/test_upgrade.py")  # fmt: skip
FIRST = (*HEAVY, "tests/test_dashboard_browser.py")


class ByModule(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Give each worker a module at a time, whose tests share its fixtures; the heavy ones are one module."""

    def _split_scope(self, nodeid: str) -> str:
        return "heavy" if nodeid.startswith(HEAVY) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByModule:
    """Distribute the tests by module."""
    return ByModule(config, log)


def pytest_collection(session: pytest.Session) -> None:
    """Let parallel workers share the compiling of a fresh clone's tests: what one has read serves the others."""
    if worker := getattr(session.config, "workerinput", None):
        modules = sorted(Path(__file__).parent.glob("test_*.py"))
        for path in modules[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
            importlib.import_module(f"tests.{path.stem}")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the garbage collector look at what tests make, and no more at the tests themselves."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let parallel workers begin with the longest modules, or one worker would end long after the others."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Provide a PostgreSQL server that tests may fill with databases."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    # A crash could lose only a test's rows: without waiting for the disk, copies take a third of the time.
    postgres = Postgres({"fsync": "off"}, folder=memory())
    try:
        yield postgres.create()
    finally:
        postgres.remove()


@pytest.fixture(scope="session")
def databases(server_url: str) -> Iterator[Databases]:
    """Provide copies of a database at the newest step."""
    name = f"ringback_template_{os.getpid()}"
    asyncio.run(build_template(server_url, name))
    with Databases(server_url, name) as copies:
        yield copies
    asyncio.run(execute(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """Provide a database of the test's own."""
    async with databases.for_a_test() as url:
        yield url


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    """Provide connections to it, as the processes open them."""
    opened = await open_pool(database_url, name="tests", size=8)
    yield opened
    await close_pool(opened)


@pytest.fixture
async def db(pool: asyncpg.Pool[Any]) -> asyncpg.Pool[Any]:
    """Provide the same connections, with both providers registered, and quick."""
    for name in BOTH:
        await register_provider(pool, name, QUICK, {})
    return pool


@pytest.fixture
def order(database_url: str) -> Order:
    """Provide an explicit order among sessions."""
    return Order(database_url)


@pytest.fixture
def make_settings(monkeypatch: pytest.MonkeyPatch) -> MakeSettings:
    """Provide a maker of settings for every process: from its keywords, never from the environment."""
    for name in setting_fields():
        monkeypatch.delenv(name.upper(), raising=False)

    def make(**overrides: Any) -> Settings:
        return Settings(_env_file=None, **nested(SANE | overrides))

    return make


@pytest.fixture
def settings(make_settings: MakeSettings, database_url: str) -> Settings:
    """Provide settings for the test's own database."""
    return make_settings(database_url=database_url)


@pytest.fixture
async def app(settings: Settings, pool: asyncpg.Pool[Any], database_url: str) -> AsyncIterator[Starlette]:
    """Provide the receiver, started."""
    created = create_app(settings, pool, database_url)
    async with living(created):
        yield created


@pytest.fixture
def client(app: Starlette) -> Client:
    """Provide a client of the receiver with a valid token."""
    return Client(app, {"authorization": f"Bearer {TOKEN}"})


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the receiver refuse at once when its database is away, and hold no message."""
    for name in ("FOR_A_CALLBACK", "FOR_AN_EVENT"):
        monkeypatch.setattr(f"receiver.patience.{name}", 0.02)


@pytest.fixture
async def offline(make_settings: MakeSettings, tmp_path: Path, impatient: None) -> AsyncIterator[Client]:
    """Provide a client, with a valid token, of a receiver whose database is unreachable: refusals need none."""
    nowhere = f"postgresql://nobody@/nothing?host={tmp_path}"
    async with asyncpg.create_pool(nowhere, min_size=0, max_size=1, timeout=1) as unreachable:
        created = create_app(make_settings(), unreachable, nowhere)
        async with living(created):
            yield Client(created, {"authorization": f"Bearer {TOKEN}"})


@pytest.fixture
async def client_with(
    make_settings: MakeSettings, pool: asyncpg.Pool[Any], database_url: str
) -> AsyncIterator[ClientWith]:
    """Provide a starter of receivers with other settings; it returns a client with a valid token."""
    async with asyncio.TaskGroup() as lives:
        stop = asyncio.Event()

        async def start(**overrides: Any) -> Client:
            started = create_app(make_settings(**overrides), pool, database_url)
            ready = asyncio.Event()

            async def live() -> None:
                async with living(started):
                    ready.set()
                    await stop.wait()

            lives.create_task(live())
            await ready.wait()
            return Client(started, {"authorization": f"Bearer {TOKEN}"})

        yield start
        stop.set()


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    """Provide the server that plays both providers."""
    async with playing() as server:
        yield server


@pytest.fixture
def start(fake: FakeProvider, make_settings: MakeSettings, database_url: str) -> Start:
    """Provide an opener of processes that ask *fake*, with the test's settings, on the database or a way to it."""

    @asynccontextmanager
    async def open_it(url: str = database_url, **overrides: Any) -> AsyncIterator[AtWork]:
        given = {"leadmagic_base_url": fake.url, "nyne_base_url": fake.url, **NO_LIMITS, **overrides}
        async with at_work(make_settings(database_url=url, **given), url) as working:
            yield working

    return open_it


@pytest.fixture
async def world(start: Start) -> AsyncIterator[AtWork]:
    """Provide a process at work."""
    async with start() as working:
        yield working


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Put `nyne_api_key` and its like under their providers and sources, as the settings have them."""
    given: dict[str, Any] = {}
    for name, value in flat.items():
        owner, _, rest = name.partition("_")
        if owner in NESTED and name not in Settings.model_fields:
            given.setdefault(owner, {})[rest] = value
        else:
            given[name] = value
    return given


def memory() -> Path | None:
    """Return a folder in memory with room for some hundred databases, if any: copies are three times as quick."""
    memory = Path("/dev/shm")  # noqa: S108  mkdtemp makes a directory of our own in it
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30 else None


async def build_template(server_url: str, name: str) -> None:
    """Make the database *name* at the newest step, with an identity key that the tests know."""
    await execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(url_of(server_url, name))
    try:
        await migrate(connection)
        # A key that the tests know, in place of the random one of the first migrate.
        await connection.execute(
            "UPDATE installation SET identity_key = $1, identity_fingerprint = $2",
            IDENTITY_KEY.encode(),
            identity_fingerprint(IDENTITY_KEY.encode()),
        )
    finally:
        await connection.close()
