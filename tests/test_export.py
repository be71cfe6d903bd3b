"""`ringback export`: every lookup that the filter finds, once, in a form that other programs read."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from uuid_utils.compat import uuid7

from enrichment.export import COLUMNS
from enrichment.selection import Filter
from rig.processes import environment
from store.export import pages
from tests.commands import ROOT, JobOutcome, ringback
from tests.factories import finished_job, job, lookup

if TYPE_CHECKING:
    from uuid import UUID

    from tests.wishes import Pool


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Any:
    """A caller of the command on the test's database."""

    async def call(*arguments: str) -> JobOutcome:
        return await ringback("export", *arguments, cwd=tmp_path, DATABASE_URL=database_url)

    return call


def table(text: str) -> list[dict[str, str]]:
    """Read the csv."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def found(pool: Pool) -> UUID:
    """Insert a lookup with a number that cost three credits, and three more perhaps; return its id."""
    row = await lookup(pool, final_status="found", record_id="crm-1", company="Acme; Söhne", region="US")
    await finished_job(pool, lookup_id=row["id"], credits=Decimal("3.50"), possible=Decimal(3))
    id: UUID = row["id"]
    return id


async def test_a_csv_has_a_row_for_each_lookup(pool: Pool, command: Any) -> None:
    """The newest first, each with its contact, its number and what it cost; a held one says why."""
    id = await found(pool)
    held = await job(pool, held="budget")

    told = await command()

    assert (told.code, told.err) == (0, "2 lookups exported.\n")
    newest, oldest = table(told.out)
    assert tuple(newest) == COLUMNS
    assert (newest["id"], newest["status"], newest["reason"]) == (str(held["lookup_id"]), "held", "budget")
    assert (oldest["id"], oldest["status"], oldest["mobile"]) == (str(id), "found", "+15551234567")
    assert (oldest["company"], oldest["record_id"], oldest["provider"]) == ("Acme; Söhne", "crm-1", "nyne")
    assert (oldest["credits"], oldest["possibly_charged"]) == ("3.5", "3")
    assert datetime.fromisoformat(oldest["finished_at"]).tzinfo is not None


async def test_ndjson_has_the_same_values(pool: Pool, command: Any) -> None:
    """Numbers are numbers, and what there is not is null; columns in the order that was asked for."""
    id = await found(pool)

    told = await command("--format", "ndjson", "--columns", "mobile, id,credits,line_type")

    assert [json.loads(line) for line in told.out.splitlines()] == [
        {"mobile": "+15551234567", "id": str(id), "credits": 3.5, "line_type": None}
    ]
    assert told.out.startswith('{"mobile": ')


async def test_a_filter_finds_what_a_selection_finds(pool: Pool) -> None:
    """By status, source, provider, reason, record, time and id: each alone."""
    await lookup(pool, id=made("2026-11-01"), final_status="not_found")
    wanted = await lookup(
        pool, id=made("2026-11-03"), final_status="failed", source="hubspot", reason="leadmagic: timeout",
        record_id="4711",
    )  # fmt: skip
    await finished_job(pool, "failed", provider="leadmagic", lookup_id=wanted["id"])
    given = {
        "status": "failed", "source": "hubspot", "provider": "leadmagic", "reason": "TIMEOUT", "record_id": "4711",
        "since": "2026-11-02", "id": str(wanted["id"]),
    }  # fmt: skip

    told = [
        [row["id"] async for page in pages(pool, Filter.model_validate({name: value})) for row in page]
        for name, value in given.items()
    ]
    none = [page async for page in pages(pool, Filter.model_validate(given | {"status": "found"}))]

    assert told == [[wanted["id"]]] * len(given)
    assert none == [[]]


async def test_every_option_reaches_the_filter(pool: Pool, command: Any) -> None:
    """All of them together find the one lookup that has it all."""
    wanted = await lookup(
        pool, id=made("2026-11-03"), final_status="found", source="hubspot", record_id="4711", reason="late"
    )

    told = await command(
        "--status", "found", "--source", "hubspot", "--provider", "nyne", "--reason", "late", "--record-id", "4711",
        "--since", "2026-11-02", "--until", "2026-11-04", "--id", str(wanted["id"]), "--columns", "id",
    )  # fmt: skip

    assert told.out.splitlines() == ["id", str(wanted["id"])]


async def test_what_was_created_since_then_is_left_out(pool: Pool) -> None:
    """--until is the first moment that no longer counts."""
    before = await lookup(pool, id=made("2026-11-01"))
    await lookup(pool, id=made("2026-11-02"))

    (page,) = [page async for page in pages(pool, Filter(until=datetime(2026, 11, 2, tzinfo=UTC)))]

    assert [row["id"] for row in page] == [before["id"]]


def made(day: str) -> UUID:
    """Return a UUIDv7 of that day's first millisecond."""
    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return type(fresh := uuid7())(int=int(at.timestamp() * 1000) << 80 | fresh.int & (1 << 80) - 1)


@pytest.mark.parametrize("given", [{}, {"status": "queued"}, {"source": "generic"}, {"until": "9000-01-01"}])
async def test_pages_leave_out_nothing_and_repeat_nothing(pool: Pool, given: dict[str, Any]) -> None:
    """However they are cut; a lookup that begins meanwhile is not in a later page."""
    jobs = [await job(pool) for _ in range(7)]

    seen = []
    async for page in pages(pool, Filter.model_validate(given), size=3):
        seen += [row["id"] for row in page]
        await job(pool)

    assert seen == [one["lookup_id"] for one in reversed(jobs)]


async def test_a_page_goes_no_further_back_than_since(pool: Pool) -> None:
    """The walk ends there, and the rest of the history is not read."""
    day = datetime(2026, 11, 2, tzinfo=UTC)
    for number in range(6):
        await lookup(pool, id=made(f"2026-11-0{1 + number // 3}"))

    sizes = [len(page) async for page in pages(pool, Filter(since=day), size=2)]
    older = [len(page) async for page in pages(pool, Filter(since=day - timedelta(days=1)), size=2)]

    assert (sizes, older) == ([2, 1], [2, 2, 2, 0])


async def test_a_formula_is_a_text(pool: Pool, command: Any) -> None:
    """A contact's name comes from strangers; ndjson has it as it is, because no spreadsheet opens it."""
    await lookup(pool, final_status="found", name="=HYPERLINK(A1)", company='x";=1+1', record_id="-4711")

    row = table((await command()).out)[0]
    plain = json.loads((await command("--format", "ndjson")).out)

    assert (row["name"], row["company"], row["record_id"]) == ("'=HYPERLINK(A1)", "x\";'=1+1", "'-4711")
    assert row["mobile"] == plain["mobile"] == "+15551234567"
    assert (plain["name"], plain["company"], plain["record_id"]) == ("=HYPERLINK(A1)", 'x";=1+1', "-4711")


async def test_a_file_is_for_its_user_alone(pool: Pool, command: Any, tmp_path: Path) -> None:
    """It replaces what the name, or the link, led to; a program reads the summary."""
    await found(pool)
    target, link = tmp_path / "out.csv", tmp_path / "link.csv"
    target.write_text("old")
    target.chmod(0o644)
    link.symlink_to(target)

    told = await command("--output", str(link), "--json")

    assert json.loads(told.out) == {"lookups": 1, "format": "csv", "output": str(link)}
    assert (told.code, told.err) == (0, "")
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert len(table(target.read_text())) == 1


async def test_a_file_that_is_not_whole_is_not_there(command: Any, tmp_path: Path, pool: Pool) -> None:
    """The old one stays when the export fails in the middle, and no part of the new one is left."""
    target = tmp_path / "out.csv"
    target.write_text("old")
    await pool.execute("DROP TABLE finished_jobs")

    told = await command("--output", str(target))

    assert (told.code, target.read_text(), list(tmp_path.iterdir())) == (2, "old", [target])


@pytest.mark.parametrize("output", ["", "nowhere/out.csv"])
async def test_what_cannot_be_written_to_is_named(command: Any, tmp_path: Path, pool: Pool, output: str) -> None:
    """A folder, or a file in a folder that is not there: exit code 1, one message, and nothing in the audit."""
    told = await command("--output", str(tmp_path / output))

    assert (told.code, told.out) == (1, "")
    assert str(tmp_path / output) in told.err
    assert "Traceback" not in told.err
    assert await pool.fetchval("SELECT count(*) FROM audit") == 0


async def test_the_audit_says_what_left(pool: Pool, command: Any) -> None:
    """Who, and which lookups, with the words of a reason where an erasure looks for them."""
    await command("--status", "failed", "--reason", "jane", "--columns", "id,mobile")

    (row,) = await pool.fetch("SELECT action, who, detail FROM audit")
    assert (row["action"], bool(row["who"])) == ("export", True)
    assert json.loads(row["detail"]) == {
        "format": "csv", "columns": ["id", "mobile"], "status": "failed", "reason": "jane"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--columns", "id,cost"], "--columns: there is no 'cost'"),
        (["--columns", ","], "--columns: name one or more"),
        (["--format", "xlsx"], "--format: one of csv, ndjson"),
        (["--status", "done"], "--status:"),
        (["--source", "salesforce"], "No source is called 'salesforce'"),
        (["--since", "2026-11-02", "--until", "2026-11-01"], "--until must be later than --since"),
    ],
)
async def test_what_cannot_be_exported_is_refused(tmp_path: Path, arguments: list[str], told: str) -> None:
    """Exit code 2, and what there is instead."""
    outcome = await ringback("export", *arguments, cwd=tmp_path)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(told)


async def test_a_reader_may_stop_early(pool: Pool, database_url: str) -> None:
    """`ringback export | head`: nothing is said, and the exit code tells that not all was written."""
    await found(pool)
    reading, writing = os.pipe()
    os.close(reading)

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "console", "export", stdout=writing, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
        env=environment(DATABASE_URL=database_url),
    )  # fmt: skip
    os.close(writing)
    _, told = await process.communicate()

    assert (process.returncode, told) == (1, b"")


async def test_a_database_that_is_away_leaves_stdout_empty(tmp_path: Path) -> None:
    """A header without rows would pass for an export of nothing."""
    told = await ringback("export", cwd=tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")

    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("PostgreSQL cannot be used: ")


async def test_without_a_database_there_is_nothing_to_export(tmp_path: Path) -> None:
    """The header alone, and no server is started for it."""
    told = await ringback("export", "--columns", "id,mobile", cwd=tmp_path)

    assert (told.code, told.out, list(tmp_path.iterdir())) == (0, "id,mobile\r\n", [])
