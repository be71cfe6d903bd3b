"""`ringback prune`: the least that it must keep, what it prints, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from console.prune import least_days
from store.partitions import Month
from tests.commands import empty_database, ringback
from tests.conftest import MakeSettings
from tests.old_history import DAYS, MONTHS, NOW, finished_job

if TYPE_CHECKING:
    from tests.wishes import Pool


@pytest.mark.parametrize(
    ("overrides", "least", "name"),
    [
        ({}, 90, "REUSE_FOUND_DAYS"),
        ({"reuse_found_days": 10, "reuse_not_found_days": 30.5}, 31, "REUSE_NOT_FOUND_DAYS"),
        ({"reuse_found_days": 0, "reuse_not_found_days": 0}, 1, "JOB_DEADLINE_HOURS"),
        ({"reuse_found_days": 2, "reuse_not_found_days": 2, "job_deadline_hours": 100}, 5, "JOB_DEADLINE_HOURS"),
    ],
)
def test_the_least_follows_from_the_settings(
    make_settings: MakeSettings, overrides: dict[str, Any], least: int, name: str
) -> None:
    """Answers that may be reused, or may still come, are kept."""
    assert least_days(make_settings(**overrides)) == (least, name)


async def test_too_little_is_refused_with_the_reason(database_url: str, tmp_path: Path) -> None:
    """One message that says why and what the least is; exit code 2."""
    told = await ringback("prune", "--older-than", "89", cwd=tmp_path, DATABASE_URL=database_url)

    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("--older-than 89 is too short: ")
    assert "the same would be paid for twice (REUSE_FOUND_DAYS). The least is 90." in told.err


@pytest.mark.parametrize("days", ["99999999999", "1000000"])
async def test_more_days_than_the_calendar_has_are_refused(database_url: str, tmp_path: Path, days: str) -> None:
    """A mistyped number is one message and exit code 2, no traceback."""
    told = await ringback("prune", "--older-than", days, cwd=tmp_path, DATABASE_URL=database_url)

    assert (told.code, told.out) == (2, "")
    assert "--older-than" in told.err
    assert "Traceback" not in told.err


async def test_a_young_database_has_nothing_to_drop(database_url: str, tmp_path: Path) -> None:
    """The empty state says so, and is no failure."""
    told = await ringback("prune", "--older-than", "90", cwd=tmp_path, DATABASE_URL=database_url)

    assert told.code == 0
    assert told.out == f"No month is older than 90 days; the oldest there is: {Month.of(NOW)}.\n"


async def test_a_program_gets_json(history: Pool, database_url: str, tmp_path: Path) -> None:
    """All that is said, and nothing else on the way out."""
    await finished_job(history)
    settings = {"DATABASE_URL": database_url, "REUSE_FOUND_DAYS": str(DAYS)}

    told = await ringback("prune", "--older-than", str(DAYS), "--json", cwd=tmp_path, **settings)

    report = json.loads(told.out)
    assert (told.code, report["keys"], report["fingerprints"], report["dry_run"]) == (0, 2, 0, False)
    (month,) = [month for month in report["months"] if month["month"] == str(MONTHS[1])]
    assert (month["fate"], month["lookups"]) == ("dropped", 1)
    assert month["bytes"] > 0


async def test_there_is_nothing_to_drop_without_a_database(tmp_path: Path) -> None:
    """No server is started for nothing."""
    told = await ringback("prune", "--older-than", "365", cwd=tmp_path)

    assert (told.code, told.out) == (0, "There is no database yet, and nothing to drop.\n")
    assert list(tmp_path.iterdir()) == []


async def test_an_old_schema_is_not_touched(server_url: str, tmp_path: Path) -> None:
    """One message with the remedy, exit code 2."""
    async with empty_database(server_url) as url:
        told = await ringback("prune", "--older-than", "365", cwd=tmp_path, DATABASE_URL=url)

    assert (told.code, told.out) == (2, "")
    assert "ringback migrate" in told.err
