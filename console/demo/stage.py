"""Where the demo plays: a PostgreSQL of its own, two pretend vendors, and our three processes, all for the moment."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import aiohttp

from console.processes import PROCESSES, CannotStart, Child, free_port, start, stop_all
from enrichment.settings import without_settings
from store import embedded
from store.database import connect
from store.migrations import migrate

PREFIX = "ringback-demo-"
READY_WITHIN = 20.0  # seconds
PATIENCE = 5.0  # seconds for a process to stop
LINES_KEPT = 200  # of each process, for when something goes wrong

GRACE = 3.0  # seconds; a callback of the real Nyne gets a minute
WORK = 1.2  # seconds, on average, that the pretend Nyne works on a question; the real one takes longer
# A real account has 100 a minute, and the demo would take as long as that says.
NYNE_PER_MINUTE, NYNE_PER_HOUR = 6_000, 60_000

T = TypeVar("T")


@dataclass(slots=True)
class Stage:
    """What runs, and where to find it."""

    url: str
    token: str  # for events and API
    key: str  # of the callback URLs
    vendors: dict[str, str]  # addresses, by name
    children: list[Child] = field(default_factory=list)
    lines: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=LINES_KEPT)))

    async def start(self, name: str, *arguments: str, env: Mapping[str, str]) -> None:
        """One more process runs."""
        child = await start(name, arguments, lambda who, line: self.lines[who].append(line), env)
        self.children.append(child)

    async def unless_one_ends(self, doing: Coroutine[Any, Any, T]) -> T:
        """What *doing* comes to; CannotStart if any process ends meanwhile."""
        task = asyncio.create_task(doing)
        watch = asyncio.create_task(self.until_one_ends())
        try:
            await asyncio.wait([task, watch], return_when=asyncio.FIRST_COMPLETED)
            return await (watch if watch.done() else task)
        finally:
            task.cancel()
            watch.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def until_one_ends(self) -> NoReturn:
        """CannotStart is raised as soon as any process has ended."""
        waiting = {asyncio.create_task(child.wait()): child for child in self.children}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        ended = done.pop()
        name = waiting[ended].name
        raise CannotStart(f"The {name} ended with {ended.result()}. Its last lines:\n{self.last(name)}")

    def last(self, name: str, most: int = 12) -> str:
        """The last lines that one process wrote."""
        return "\n".join(f"  {line}" for line in list(self.lines[name])[-most:]) or "  (it wrote nothing)"


@asynccontextmanager
async def staged(session: aiohttp.ClientSession, seed: int) -> AsyncIterator[Stage]:
    """Inside the block all of it runs; after it, however it is left, nothing does, and no file remains."""
    await asyncio.to_thread(_sweep_up)
    home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_short_directory()))
    # A thread cannot be called off: whoever stops the server waits for its start.
    starting = asyncio.create_task(asyncio.to_thread(embedded.start, home))
    address = "http://127.0.0.1:{}".format
    stage = Stage(
        url=address(free_port()),
        token=secrets.token_urlsafe(32),
        key=secrets.token_urlsafe(32),
        vendors={"leadmagic": address(free_port()), "nyne": address(free_port())},
    )
    try:
        keys = {name: secrets.token_urlsafe(24) for name in ("leadmagic", "nyne", "nyne secret")}
        await _start_vendors(stage, keys, seed)
        env = _environment(stage, keys, await asyncio.shield(starting))
        await _create_schema(env["DATABASE_URL"])
        for name, module in PROCESSES.items():
            await stage.start(name, module, env=env)
        await _until_ready(stage, session)
        yield stage
    finally:
        # Whoever calls out stops first.
        await stop_all([child for child in stage.children if child.name in {"submitter", "reconciler"}], PATIENCE)
        await stop_all(stage.children, PATIENCE)
        with suppress(embedded.EmbeddedError):
            await starting
        await asyncio.to_thread(_remove, home)


async def _start_vendors(stage: Stage, keys: Mapping[str, str], seed: int) -> None:
    env = _without_settings()
    own = {
        "leadmagic": ("--latency", "page"),
        "nyne": (
            *("--api-secret", keys["nyne secret"], "--work-seconds", str(WORK)),
            *("--per-minute", str(NYNE_PER_MINUTE), "--per-hour", str(NYNE_PER_HOUR)),
        ),
    }
    for name, more in own.items():
        port = stage.vendors[name].rpartition(":")[2]
        arguments = ("--port", port, "--api-key", keys[name], "--seed", str(seed), *more)
        await stage.start(name, "sandbox", name, *arguments, env=env)


def _environment(stage: Stage, keys: Mapping[str, str], database: str) -> dict[str, str]:
    """The settings of our processes: these, and none of the ones that happen to be set here."""
    return _without_settings() | {
        "DATABASE_URL": database,
        "HOST": "127.0.0.1",
        "PORT": stage.url.rpartition(":")[2],
        "PUBLIC_URL": stage.url,
        "API_TOKENS": stage.token,
        "CALLBACK_KEYS": stage.key,
        "LEADMAGIC_BASE_URL": stage.vendors["leadmagic"],
        "LEADMAGIC_API_KEY": keys["leadmagic"],
        "NYNE_BASE_URL": stage.vendors["nyne"],
        "NYNE_API_KEY": keys["nyne"],
        "NYNE_API_SECRET": keys["nyne secret"],
        "NYNE_PER_MINUTE": str(NYNE_PER_MINUTE),
        "NYNE_PER_HOUR": str(NYNE_PER_HOUR),
        "CALLBACK_GRACE_SECONDS": str(GRACE),
    }


def _without_settings() -> dict[str, str]:
    return without_settings(os.environ)


async def _create_schema(url: str) -> None:
    connection = await connect(url, name="demo")
    try:
        await migrate(connection)
    finally:
        await connection.close(timeout=PATIENCE)


async def _until_ready(stage: Stage, session: aiohttp.ClientSession) -> None:
    """Everyone who listens answers.  Raises CannotStart."""
    addresses = [f"{stage.url}/readyz", *(f"{url}/sandbox/stats" for url in stage.vendors.values())]

    async def all_answer() -> None:
        for address in addresses:
            await _until_answers(session, address)

    try:
        async with asyncio.timeout(READY_WITHIN):
            await stage.unless_one_ends(all_answer())
    except TimeoutError:
        raise CannotStart(f"Not ready within {READY_WITHIN:.0f} s:\n{stage.last('receiver')}") from None


async def _until_answers(session: aiohttp.ClientSession, address: str) -> None:
    while True:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(address) as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.05)


def _short_directory() -> str | None:
    """The name of a UNIX socket has room for some hundred characters, and a Mac's own directory takes half of it."""
    return "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else None  # noqa: S108  mkdtemp makes a private one in it


def _sweep_up() -> None:
    """What a demo left behind that was killed is gone."""
    for home in Path(_short_directory() or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = home.name.removeprefix(PREFIX).partition("-")[0]
        if home.stat().st_uid == os.geteuid() and pid.isdecimal() and not _is_running(int(pid)):
            _remove(home)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(home: Path) -> None:
    embedded.stop(home)
    shutil.rmtree(home, ignore_errors=True)
