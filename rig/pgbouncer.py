"""PgBouncer in transaction mode in front of a database, set up as docs/deploy.md says; PGBOUNCER names another one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rig.ports import HOST, free_port
from rig.processes import Process, environment, start, until_listening

PROGRAM = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
# So that it follows to another server as fast as our own processes do.
FAILOVER = """\
server_login_retry = 1
tcp_keepidle = 5
tcp_keepintvl = 2
tcp_keepcnt = 3
tcp_user_timeout = 11000"""
KEEPS_STATEMENTS = (1, 21)  # the first version that knows whose prepared statement is whose


def version() -> tuple[int, int]:
    """Return the program's version: (1, 21)."""
    said = subprocess.run([str(PROGRAM), "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    first, second = re.findall(r"\d+", said)[:2]
    return int(first), int(second)


class PgBouncer:
    """One PgBouncer, which can be pointed at another server while it runs."""

    def __init__(self, log: Path, *, user: str, ignored: Iterable[str], pool_size: int = 20) -> None:
        """Choose a port; nothing runs yet. Every client becomes *user* and may send the *ignored* parameters."""
        self.port = free_port()
        self._home = Path(tempfile.mkdtemp(prefix="ringback-pgbouncer-"))
        self._home.chmod(0o755)  # it reads its file again as another user
        self._file = self._home / "pgbouncer.ini"
        self._log = log
        self._user = user
        self._ignored = ", ".join(ignored)
        self._pool_size = pool_size
        self._process: Process | None = None

    def url(self, database: str) -> str:
        """Return the URL of the *database* behind it."""
        parameters = "sslmode=disable" + ("" if version() >= KEEPS_STATEMENTS else "&statement_cache_size=0")
        return f"postgresql://{self._user}@{HOST}:{self.port}/{database}?{parameters}"

    async def start(self, port: int) -> None:
        """Start it in front of the server on *port*. Raises NotRunning."""
        self._write(port)
        # It refuses to run as root.
        somebody = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [str(PROGRAM), *somebody, str(self._file)]
        self._process = await start(command, output=self._log, env=environment())
        await until_listening(self.port, self._process)

    def point(self, port: int) -> None:
        """Lead every transaction that begins from now on to the server on *port*."""
        self._write(port)
        if self._process is not None:
            self._process.send(signal.SIGHUP)

    async def stop(self) -> None:
        """End it, and remove its file."""
        if self._process is not None:
            self._process.send(signal.SIGINT)  # a SIGTERM ends its clients' transactions first, in new versions
            await self._process.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _write(self, port: int) -> None:
        keeps = "max_prepared_statements = 200" if version() >= KEEPS_STATEMENTS else ""
        self._file.write_text(
            f"""
[databases]
* = host={HOST} port={port} user={self._user}

[pgbouncer]
listen_addr = {HOST}
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {self._pool_size}
ignore_startup_parameters = {self._ignored}
{FAILOVER}
{keeps}
""",
            encoding="utf-8",
        )
