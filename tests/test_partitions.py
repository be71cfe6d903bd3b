"""History lies in months, made ahead; what comes when its month is not there is kept all the same."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from store.database import open_pool
from store.partitions import AHEAD, HISTORY, Month, ensure_partitions, first_id, partitions
from tests.at_work import AtWork
from tests.commands import ROOT, empty_database
from tests.factories import finished_job, lookup
from tests.wishes import MOBILE, end, read, take_one

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[Any]

NOW = datetime.now(UTC)
THIS = Month.of(NOW)
AT_ONCE = 5.0  # seconds; it takes a fraction of one, unless the machine is busy
moments = st.datetimes(datetime(2020, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def at(moment: datetime, number: int = 1) -> UUID:
    """A UUIDv7 of that moment."""
    return UUID(int=first_id(moment).int | 7 << 76 | 2 << 62 | number)


async def part(pool: Pool, table: str, key: str, id: UUID) -> str:
    """The partition in which the row lies."""
    name: str = await pool.fetchval(f"SELECT tableoid::regclass::text FROM {table} WHERE {key} = $1", id)  # noqa: S608
    return name


async def months(pool: Pool) -> dict[str, list[Month]]:
    """The months of each table."""
    there: dict[str, list[Month]] = {}
    async with pool.acquire(timeout=AT_ONCE) as connection:
        for table, month in await partitions(connection):
            there.setdefault(table, []).append(month)
    return there


async def ensure(pool: Pool, since: datetime | None = None) -> list[str]:
    """The partitions that were made now."""
    async with pool.acquire(timeout=AT_ONCE) as connection:
        return await ensure_partitions(connection, since=since)


async def drop(pool: Pool, *months: Month) -> None:
    """These months are not there any more."""
    for table in HISTORY:
        for month in months:
            await pool.execute(f"DROP TABLE {month.partition_of(table)}")


@given(moments)
def test_a_month_is_a_range_of_ids(moment: datetime) -> None:
    """An id lies in the range of the month in which it was made, and in no other."""
    month = Month.of(moment)
    first, end = month.ids

    assert first <= at(moment, 0) < end
    assert month.begin <= moment < month.next.begin
    assert month.next.ids[0] == end


def test_the_first_id_of_a_month_is_its_first_millisecond() -> None:
    """Forty-eight bits of milliseconds, and nothing else."""
    assert str(Month(2026, 1).ids[0]) == "019b76da-a800-0000-0000-000000000000"
    assert Month(2025, 12).next == Month(2026, 1)
    assert Month(2026, 1).partition_of("lookups") == "lookups_2026_01"


async def test_all_of_the_history_is_partitioned_and_nothing_else(pool: Pool) -> None:
    """Tables that grow for ever are partitioned by month; tables of outstanding work and sums are not."""
    rows = await pool.fetch(
        """
        SELECT partrelid::regclass::text AS name, attname AS key
          FROM pg_partitioned_table
          JOIN pg_attribute ON attrelid = partrelid AND attnum = partattrs[0]
        """
    )

    assert {row["name"]: row["key"] for row in rows} == HISTORY


async def test_the_coming_months_are_there_after_a_migration(pool: Pool) -> None:
    """This month and the next two, of each table."""
    coming = [THIS]
    for _ in range(AHEAD):
        coming.append(coming[-1].next)

    assert await months(pool) == dict.fromkeys(HISTORY, coming)
    assert await ensure(pool) == []


async def test_what_comes_lies_in_its_month(pool: Pool) -> None:
    """Event, lookup, search, job and ledger are in the same one: they are dropped together."""
    taken = await take_one(pool, work_email="jane@acme.co")
    await end(pool, taken.id, mobile=MOBILE)
    job_id = await pool.fetchval("SELECT id FROM finished_jobs WHERE lookup_id = $1", taken.id)
    row = await read(pool, taken.id)

    ids = {
        "events": row["event_id"], "lookups": taken.id, "searches": row["search_id"], "finished_jobs": job_id,
        "ledger": job_id,
    }  # fmt: skip
    lies = {table: await part(pool, table, HISTORY[table], id) for table, id in ids.items()}

    assert lies == {table: THIS.partition_of(table) for table in ids}


async def test_a_month_takes_its_storage_options_from_the_default_partition(pool: Pool) -> None:
    """Which schema.sql states; a partitioned table has none."""
    query = "SELECT reloptions FROM pg_class WHERE relname = $1"

    for table in HISTORY:
        options = await pool.fetchval(query, THIS.partition_of(table))
        assert options == await pool.fetchval(query, f"{table}_default")
    assert "fillfactor=95" in await pool.fetchval(query, THIS.partition_of("finished_jobs"))


async def test_the_schema_alone_takes_everything(server_url: str) -> None:
    """schema.sql applied by hand makes no months: all rows go to the default partition, and can be used."""
    async with empty_database(server_url) as url, await open_pool(url, name="tests", size=2) as pool:
        await pool.execute(Path(ROOT / "schema.sql").read_text(encoding="utf-8"))

        taken = await take_one(pool, work_email="jane@acme.co")
        await end(pool, taken.id, mobile=MOBILE)

        assert (await read(pool, taken.id))["mobile"] == MOBILE
        assert await part(pool, "lookups", "id", taken.id) == "lookups_default"


async def test_several_processes_make_them_once(pool: Pool) -> None:
    """Processes take turns: each partition is made by one, and none fails."""
    coming = (await months(pool))["lookups"]
    await drop(pool, *coming)

    made = await asyncio.gather(*(ensure(pool) for _ in range(6)))

    assert sorted(name for names in made for name in names) == sorted(
        month.partition_of(table) for table in HISTORY for month in coming
    )


async def test_rows_of_a_missing_month_stay_where_they_are(pool: Pool) -> None:
    """A month whose rows are in the default partition already is said and left; the others are made."""
    coming = (await months(pool))["lookups"]
    await drop(pool, *coming)
    row = await lookup(pool)

    with capture_logs() as logs:
        made = await ensure(pool)

    skipped = {line["partition"] for line in logs if line["event"] == "partition_not_made"}
    assert skipped == {THIS.partition_of(table) for table in ("events", "lookups", "searches")}
    assert len(made) == len(HISTORY) * len(coming) - len(skipped)
    assert await part(pool, "lookups", "id", row["id"]) == "lookups_default"
    assert (await read(pool, row["id"]))["status"] == "queued"


async def test_nobody_waits_long_for_a_partition(pool: Pool) -> None:
    """While another session reads a table for long, making its months is put off; other sessions do not wait either."""
    await drop(pool, THIS.next)
    async with pool.acquire(timeout=AT_ONCE) as reader:
        transaction = reader.transaction()
        await transaction.start()
        await reader.fetch("SELECT FROM events")

        with capture_logs() as logs:
            async with asyncio.timeout(AT_ONCE):
                assert await ensure(pool) == []
                await take_one(pool, work_email="jane@acme.co")
        await transaction.rollback()

    assert [line["why"] for line in logs] == ["another transaction holds the table; this is tried again"]
    assert set(await ensure(pool)) == {THIS.next.partition_of(table) for table in HISTORY}


async def test_a_table_of_that_name_is_left_alone(pool: Pool) -> None:
    """A month that a person detached to keep it is left alone."""
    await pool.execute(f"ALTER TABLE ledger DETACH PARTITION {THIS.next.partition_of('ledger')}")

    with capture_logs() as logs:
        assert await ensure(pool) == []

    assert [line["partition"] for line in logs] == [THIS.next.partition_of("ledger")]


async def test_the_reconciler_makes_the_months(world: AtWork) -> None:
    """The reconciler makes the coming months without a person."""
    coming = await months(world.pool)
    await drop(world.pool, coming["lookups"][-1])

    await world.reconciler.make_months()

    assert await months(world.pool) == coming


async def test_older_months_can_be_made_for_what_is_brought_along(pool: Pool) -> None:
    """A person who imports history says how far back the months must go."""
    since = NOW - timedelta(days=100)

    await ensure(pool, since)
    job = await finished_job(pool, id=at(since), lookup_id=(await lookup(pool, id=at(since)))["id"])

    assert await part(pool, "finished_jobs", "id", job["id"]) == Month.of(since).partition_of("finished_jobs")
    assert (await months(pool))["callbacks"][0] == Month.of(since)


@pytest.mark.parametrize("table", HISTORY)
async def test_a_row_is_found_by_its_id_in_one_month(pool: Pool, table: str) -> None:
    """An id tells its month: no other partition is opened."""
    await ensure(pool, NOW - timedelta(days=100))

    plan = await pool.fetch(f"EXPLAIN SELECT * FROM {table} WHERE {HISTORY[table]} = '{at(NOW)}'")  # noqa: S608

    text = "\n".join(row[0] for row in plan)
    assert THIS.partition_of(table) in text
    assert Month.of(NOW - timedelta(days=100)).partition_of(table) not in text
    assert "default" not in text
