"""Row 9: the cost of an idle `ringback up` and its PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg

from bench.measure import Bench, Row
from bench.row_callbacks import receiver_settings
from bench.row_lookups import submitter_settings
from bench.vendor import vendor
from rig.machine import children_of, proportional, worked
from rig.ports import free_port
from rig.processes import running

WARM_UP, LASTS = 20.0, 60.0  # seconds
WARM_UP_QUICKLY, LASTS_QUICKLY = 3.0, 5.0
CORE, TRANSACTIONS, MEMORY = 0.5, 5.0, 200.0  # % of a core, a second, MB
COUNT = "SELECT sum(xact_commit + xact_rollback)::bigint FROM pg_stat_database"


@dataclass(frozen=True, slots=True)
class Machine:
    """The processes of one `ringback up`, and its PostgreSQL."""

    up: int
    postmaster: int
    url: str

    def each(self) -> Iterator[int]:
        """Yield every process."""
        for root in (self.up, self.postmaster):
            yield root
            yield from children_of(root)

    def work(self) -> dict[str, float]:
        """Return the seconds that each of our processes and all of PostgreSQL kept a core busy."""
        ours = {_name(pid): worked(pid) for pid in (self.up, *children_of(self.up))}
        return ours | {"PostgreSQL": worked(self.postmaster, children=True)}

    async def transactions(self) -> int:
        """Return how many transactions there were."""
        connection = await asyncpg.connect(self.url)
        try:
            count: int = await connection.fetchval(COUNT)
            return count
        finally:
            await connection.close()


async def measure(bench: Bench) -> list[Row]:
    """Look twice, a minute apart."""
    warm_up, lasts = (WARM_UP_QUICKLY, LASTS_QUICKLY) if bench.quick else (WARM_UP, LASTS)
    with TemporaryDirectory(prefix="rb-", dir="/tmp") as home:
        async with vendor() as asked:
            port = free_port()
            settings = receiver_settings("", port) | submitter_settings("", asked) | {"RINGBACK_HOME": home}
            del settings["DATABASE_URL"]
            async with running("console", "up", port=port, settings=settings) as up:
                machine = _machine(up.pid, Path(home))
                await asyncio.sleep(warm_up)
                transactions, work = await machine.transactions(), machine.work()
                await asyncio.sleep(lasts)
                work = {name: (now - work.get(name, 0.0)) / lasts for name, now in machine.work().items()}
                memory = sum(proportional(pid) for pid in machine.each())
                # One of ours, the first look's, is among those counted since then.
                transactions = await machine.transactions() - transactions - 1
    parts = ", ".join(f"{name} {part:.2%}" for name, part in work.items())
    return [
        _row("share of a core", "%", 100 * sum(work.values()), CORE, bench, parts),
        _row("transactions", "per second", transactions / lasts, TRANSACTIONS, bench),
        _row("memory", "MB", memory, MEMORY, bench, "PSS of all processes together"),
    ]


def _row(what: str, unit: str, value: float, mark: float, bench: Bench, note: str = "") -> Row:
    return Row(
        name=f"idle: {what}",
        unit=unit,
        ours=value,
        reach=f"≤ {mark:g} {unit}",
        reached=None if bench.quick else value <= mark,
        note=note,
    )


def _machine(up: int, home: Path) -> Machine:
    lines = (home / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split("\n")
    return Machine(up, int(lines[0]), f"postgresql://postgres@/postgres?host={lines[4]}")


def _name(pid: int) -> str:
    """Return the module that the process runs."""
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")[3]
