"""nginx and Caddy in front of a server of ours, each with the configuration that ops/ ships."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from rig.ports import free_port, is_listening
from rig.processes import environment
from tests.commands import ROOT, Running, running

PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
NAMES = ("nginx", "caddy")
PUBLIC_NAME = "ringback.example.com"
MAIN = """
{user}
pid {folder}/nginx.pid;
error_log {folder}/main.log;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/ringback.conf;
}}
"""


@dataclass(frozen=True)
class Front:
    """A proxy that runs, a client of it, and all that it wrote."""

    url: str
    session: aiohttp.ClientSession
    folder: Path
    program: Running

    def wrote(self) -> str:
        """Return every word of its logs and of its output."""
        logs = [path.read_text(errors="replace") for path in self.folder.glob("*.log")]
        return "\n".join([*logs, *self.program.lines])


def program(name: str) -> str | None:
    """Return the path of a program, if it is installed."""
    return shutil.which(name, path=PLACES)


@asynccontextmanager
async def in_front(name: str, port: int, folder: Path, change: Callable[[str], str] = str) -> AsyncIterator[Front]:
    """Run the proxy called *name* in front of the server at *port* inside the block; *change* its configuration."""
    command, url, variables = {"nginx": nginx, "caddy": caddy}[name](port, folder, change)
    async with (
        running(command, environment(**variables), folder) as started,
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=20),
            connector=aiohttp.TCPConnector(ssl=False),
            headers={"Host": PUBLIC_NAME} if name == "nginx" else {},
        ) as session,
    ):

        async def listens() -> bool | None:
            return await is_listening(int(url.rpartition(":")[2])) or None

        await started.until(listens)
        yield Front(url, session, folder, started)


def nginx(port: int, folder: Path, change: Callable[[str], str]) -> tuple[list[str], str, Mapping[str, str]]:
    """Write ops/nginx.conf with a test's values on the lines that are the reader's; return the command and the URL."""
    plain, secure = free_port(), free_port()
    certificate, key = self_signed(folder)
    text = change((ROOT / "ops/nginx.conf").read_text(encoding="utf-8"))
    for shipped, ours in {
        "127.0.0.1:8000": f"127.0.0.1:{port}",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl": f"listen 127.0.0.1:{secure} ssl",
        "/etc/ssl/ringback/fullchain.pem": str(certificate),
        "/etc/ssl/ringback/privkey.pem": str(key),
        "/var/log/nginx": str(folder),
    }.items():
        lines = [line for line in text.splitlines() if shipped in line]
        assert lines, shipped
        assert all("# yours" in line for line in lines), lines
        text = text.replace(shipped, ours)
    (folder / "ringback.conf").write_text(text, encoding="utf-8")
    (folder / "nginx.conf").write_text(
        MAIN.format(folder=folder, user="user root;" if os.geteuid() == 0 else ""), encoding="utf-8"
    )
    (folder / "plain").write_text(f"http://127.0.0.1:{plain}", encoding="utf-8")
    command = [str(program("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    return command, f"https://127.0.0.1:{secure}", {}


def caddy(port: int, folder: Path, change: Callable[[str], str]) -> tuple[list[str], str, Mapping[str, str]]:
    """Return the command, the URL, and the variables that ops/Caddyfile reads."""
    url = f"http://127.0.0.1:{free_port()}"
    variables = {
        "CADDY_ADMIN": "off",
        "RINGBACK_SITE": url,
        "RINGBACK_RECEIVER": f"127.0.0.1:{port}",
        "RINGBACK_LOG": str(folder / "access.log"),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    file = folder / "Caddyfile"
    file.write_text(change((ROOT / "ops/Caddyfile").read_text(encoding="utf-8")), encoding="utf-8")
    command = [str(program("caddy")), "run", "--config", str(file), "--adapter", "caddyfile"]
    return command, url, variables


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Make a certificate and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", f"/CN={PUBLIC_NAME}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key
