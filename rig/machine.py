"""The machine and the versions behind the numbers, without the machine's name or any path."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import asyncpg

PACKAGES = (
    "aiohttp", "asyncpg", "starlette", "uvicorn", "uvloop",
    "fastapi", "SQLAlchemy", "awa-pg", "pgqueuer", "procrastinate",
)  # fmt: skip
SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")


async def facts(url: str) -> dict[str, Any]:
    """Return the machine, the versions, and PostgreSQL's settings that decide what a commit costs."""
    connection = await asyncpg.connect(url)
    try:
        postgres = {name: await connection.fetchval(f"SHOW {name}") for name in SETTINGS}
    finally:
        await connection.close()
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgres": postgres,
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def busy() -> float:
    """Return how many processes wanted a core during the last minute; more than the cores means other load."""
    return round(os.getloadavg()[0], 1)


def resident(pid: int) -> float:
    """Return the MB of memory that the process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def proportional(pid: int) -> float:
    """Return the MB of memory that the process holds, with its part of shared memory (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def children_of(pid: int) -> list[int]:
    """Return the processes that *pid* started and that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if parent(int(path.name)) == pid:
                found.append(int(path.name))
        except OSError:
            continue  # ended meanwhile
    return found


def worked(pid: int, *, children: bool = False) -> float:
    """Return the seconds that the process has kept a core busy; with *children*, also its children, ended or not.

    On a shared machine, this says what a request costs; the rate there depends on luck.
    """
    fields = _stat(pid)
    ticks = int(fields[11]) + int(fields[12])
    if children:
        ticks += int(fields[13]) + int(fields[14])
        ticks += sum(map(_ticks_of, children_of(pid)))
    return ticks / os.sysconf("SC_CLK_TCK")


def parent(pid: int) -> int:
    """Return the id of the process that started *pid*."""
    return int(_stat(pid)[1])


def _ticks_of(pid: int) -> int:
    try:
        fields = _stat(pid)
    except OSError:
        return 0  # ended meanwhile
    return int(fields[11]) + int(fields[12])


def _stat(pid: int) -> list[str]:
    # The second field is the program's name, in brackets, and may hold anything.
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
