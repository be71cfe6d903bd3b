"""`ringback reconcile` says what may have been paid for, what the vendors charged, and what to do next."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import ringback
from tests.factories import job, lookup
from tests.sandbox_server import playing

if TYPE_CHECKING:
    from tests.wishes import Pool

SINCE = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()


async def run(url: str, folder: Path, *arguments: str, **settings: str) -> Any:
    """Run the command for programs; return what it says."""
    told = await ringback("reconcile", *arguments, "--json", cwd=folder, DATABASE_URL=url, **settings)
    assert told.code == 0, told.out + told.err
    return json.loads(told.out)


async def test_a_dry_run_holds_nothing(db: Pool, database_url: str, tmp_path: Path) -> None:
    """It lists what would be held, and the database stays as it was."""
    waits = await job(db, lookup_id=(await lookup(db, record_id="crm-42"))["id"])

    told = await run(database_url, tmp_path, "--since", SINCE, "--dry-run")

    assert (told["dry_run"], told["newly_held"]) == (True, 1)
    assert [(one["id"], one["record_id"]) for one in told["held"]] == [(str(waits["lookup_id"]), "crm-42")]
    assert await db.fetchval("SELECT count(*) FROM jobs WHERE held IS NOT NULL") == 0
    assert await db.fetchval("SELECT count(*) FROM restores") == 0


async def test_it_says_what_is_held_and_what_comes_next(db: Pool, database_url: str, tmp_path: Path) -> None:
    """A person sees each lookup, the vendors' figures beside ours, and the commands; so does the status."""
    await job(db, source="hubspot", lookup_id=(await lookup(db, record_id="crm-[42]"))["id"])
    await db.execute("INSERT INTO vendor_figures VALUES ('leadmagic', now() - interval '1 h', 1000010, NULL, 0)")
    with playing("leadmagic") as leadmagic:
        settings = {"LEADMAGIC_BASE_URL": leadmagic, "LEADMAGIC_API_KEY": "lm_sandbox", "DATABASE_URL": database_url}
        told = await ringback("reconcile", "--since", SINCE, cwd=tmp_path, COLUMNS="200", **settings)
        again = await run(database_url, tmp_path, "--since", SINCE)
    stands = await ringback("status", cwd=tmp_path, COLUMNS="200", DATABASE_URL=database_url)

    assert told.code == 0, told.err
    for words in ("1 lookup is held", "crm-[42]", "ringback reconcile --done", "ringback release --reason restored",
                  "Erasures", "its credentials are not set here"):  # fmt: skip
        assert words in told.out
    assert again["newly_held"] == 0
    assert "Held after a restore" in stands.out
    assert "ringback reconcile" in stands.out


async def test_the_list_is_whole_whatever_else_holds_a_lookup(db: Pool, database_url: str, tmp_path: Path) -> None:
    """What came in after the restore is listed before a submitter comes to it, also what the brake holds."""
    await run(database_url, tmp_path, "--since", SINCE)
    for held in (None, "brake"):
        await job(db, held=held, lookup_id=(await lookup(db, record_id=f"crm-{held}"))["id"])

    told = await run(database_url, tmp_path)

    assert {one["record_id"] for one in told["held"]} == {"crm-None", "crm-brake"}


async def test_done_waits_for_the_sweeps(db: Pool, database_url: str, tmp_path: Path) -> None:
    """A CRM that was last swept before the restore has yet to list what changed since; afterwards done is done."""
    await db.execute("INSERT INTO connections (crm, swept_to) VALUES ('hubspot', now() - interval '10 min')")
    await run(database_url, tmp_path, "--since", SINCE)

    refused = await ringback("reconcile", "--done", cwd=tmp_path, DATABASE_URL=database_url)
    await db.execute("UPDATE connections SET swept_to = now()")
    done = await run(database_url, tmp_path, "--done")
    again = await ringback("reconcile", "--done", cwd=tmp_path, DATABASE_URL=database_url)

    assert (refused.code, "hubspot" in refused.out, "Not done" in refused.out) == (1, True, True)
    assert done["is_done"]
    assert (again.code, "No restore is being reconciled" in again.out) == (1, True)


async def test_without_a_restore_it_says_how_to_begin(db: Pool, database_url: str, tmp_path: Path) -> None:
    """Nothing is held, and nothing is wrong."""
    told = await ringback("reconcile", cwd=tmp_path, DATABASE_URL=database_url)

    assert told.code == 0
    assert "ringback reconcile --since" in told.out
    assert await run(database_url, tmp_path) == {"restore": None}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "yesterday"),
        ("--since", "2999-01-01T00:00:00Z"),
        ("--since", "2026-11-01T00:00:00Z", "--done"),
        ("--dry-run",),
        ("--dry-run", "--done"),
    ],
    ids=" ".join,
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Exit code 2 and one message; no database is needed to say so."""
    told = await ringback("reconcile", *arguments, cwd=tmp_path)

    assert (told.code, told.out) == (2, "")
    assert "--" in told.err
