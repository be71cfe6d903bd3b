"""`ringback retry`, `cancel`, `release` and `replay` as they are called: words, questions, effects and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from enrichment.selection import Wanted
from store import selections
from tests.commands import JobOutcome, ringback
from tests.factories import delivery, finished_job, job, lookup
from tests.wishes import POLICY, status

if TYPE_CHECKING:
    from tests.wishes import Pool


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Any:
    """A caller of commands on the test's database."""

    async def call(*arguments: str) -> JobOutcome:
        return await ringback(*arguments, cwd=tmp_path, DATABASE_URL=database_url)

    return call


async def test_a_preview_shows_what_was_found_and_changes_nothing(pool: Pool, command: Any) -> None:
    """The count, the sample, the most credits, and how to do exactly that."""
    row = await lookup(pool, final_status="failed", reason="nyne: timeout")

    told = await command("retry", "--status", "failed", "--dry-run")

    assert told.code == 0
    assert str(row["id"]) in told.out
    assert "nyne: timeout" in told.out
    assert "1 lookup, at most 8 credits" in told.out
    assert "acme.co" not in told.out
    assert await status(pool, row["id"]) == "failed"
    id = await pool.fetchval("SELECT id FROM selections")
    assert f"ringback retry --resume {id}" in told.out


async def test_nothing_is_done_without_a_yes(pool: Pool, command: Any) -> None:
    """Without a terminal to ask on, nothing is changed."""
    row = await lookup(pool, final_status="failed")

    told = await command("cancel")

    assert told.code == 1
    assert "Cancel 1 lookup?" in told.out
    assert await status(pool, row["id"]) == "failed"


async def test_each_command_does_its_own(pool: Pool, command: Any) -> None:
    """retry, cancel, release and replay each change what the filter finds."""
    failed = (await finished_job(pool, "failed", provider="leadmagic"))["lookup_id"]
    unresolved = await lookup(pool, final_status="unresolved", record_id="4711")
    flood, budget = [(await job(pool, held=held))["lookup_id"] for held in ("flood", "budget")]
    sent = await delivery(pool, "given_up")
    await delivery(pool, "given_up", channel="hubspot")

    told = [
        await command("retry", "--provider", "leadmagic", "--yes"),
        await command("cancel", "--record-id", "4711", "--yes"),
        await command("release", "--reason", "flood", "--yes"),
        await command("replay", "--channel", "webhook", "--state", "given_up", "--yes"),
    ]

    assert [one.code for one in told] == [0, 0, 0, 0]
    assert [one.out.splitlines()[-1] for one in told] == [
        "1 lookup queued again.", "1 lookup cancelled.", "1 lookup released.", "1 delivery queued to be sent again."
    ]  # fmt: skip
    assert [await status(pool, id) for id in (failed, unresolved["id"], flood, budget)] == [
        "queued", "cancelled", "queued", "held"
    ]  # fmt: skip
    assert await pool.fetchval("SELECT array_agg(id) FROM deliveries WHERE state = 'queued'") == [sent["id"]]


async def test_a_program_reads_json(pool: Pool, command: Any) -> None:
    """Without --yes it is a preview; with it, the result."""
    row = await lookup(pool, final_status="failed", source="hubspot")

    seen = json.loads((await command("retry", "--source", "hubspot", "--json")).out)
    done = json.loads((await command("retry", "--source", "hubspot", "--json", "--yes")).out)

    assert (seen["state"], seen["count"], seen["most_credits"], seen["applied"]) == ("previewed", 1, 8, 0)
    assert seen["filter"] == {"source": "hubspot"}
    assert seen["sample"] == [{"id": str(row["id"]), "status": "failed", "reason": None}]
    assert (done["state"], done["count"], done["applied"], done["passed"]) == ("applied", 1, 1, 0)


async def test_one_lookup_is_named_by_its_id(pool: Pool, command: Any) -> None:
    """And where it cannot be done, the exit code says so."""
    one, other = [await lookup(pool, final_status="failed") for _ in range(2)]

    first = await command("retry", "--id", str(one["id"]), "--yes")
    again = await command("retry", "--id", str(one["id"]), "--yes")

    assert (first.code, again.code) == (0, 1)
    assert again.out == "Found nothing to retry.\n"
    assert await status(pool, other["id"]) == "failed"


async def test_a_selection_is_resumed(pool: Pool, command: Any) -> None:
    """A selection that was begun goes on from where it stopped, without asking again."""
    for _ in range(3):
        await lookup(pool, final_status="failed")
    id = await selections.create(pool, Wanted(action="retry"), "ann")
    await selections.advance(pool, id, POLICY, {})
    await selections.begin(pool, id, "ann")
    (first, *_) = await pool.fetch("SELECT item_id FROM selected ORDER BY item_id")
    await pool.execute("UPDATE selected SET is_done = true WHERE item_id = $1", first[0])

    told = await command("retry", "--resume", str(id))

    assert told.code == 0
    assert await pool.fetchval("SELECT count(*) FROM lookups WHERE final_status IS NULL") == 2
    assert await status(pool, first[0]) == "failed"
    assert await pool.fetchval("SELECT count(*) FROM audit") == 1


async def test_what_is_done_by_command_is_recorded(pool: Pool, command: Any) -> None:
    """With the user of the command line."""
    await lookup(pool, final_status="failed")

    await command("cancel", "--yes")

    row = await pool.fetchrow("SELECT who, action, subject FROM audit")
    assert row is not None
    assert row["who"]
    assert (row["action"], UUID(row["subject"])) == ("cancel", await pool.fetchval("SELECT id FROM selections"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("retry", "--status", "found"), "retry is for lookups that are failed, unresolved"),
        (("cancel", "--since", "soon"), "--since:"),
        (("release", "--id", "7"), "--id:"),
        (("replay", "--state", "queued"), "replay is for deliveries that are"),
        (("retry", "--resume", "7"), "is no id"),
        (("retry", "--resume", str(uuid7())), "There is no selection"),
        (("retry", "--resume", str(uuid7()), "--status", "failed"), "leave the other options out"),
    ],
)
async def test_what_cannot_be_used_is_named(pool: Pool, command: Any, arguments: tuple[str, ...], words: str) -> None:
    """One message, exit code 2, and no traceback."""
    told = await command(*arguments)

    assert (told.code, told.out) == (2, "")
    assert words in told.err
    assert "Traceback" not in told.err


async def test_a_selection_of_another_action_is_not_applied(pool: Pool, command: Any) -> None:
    """The message says which command it belongs to."""
    row = await lookup(pool, final_status="failed")
    id = await selections.create(pool, Wanted(action="cancel"), "ann")

    told = await command("retry", "--resume", str(id), "--yes")

    assert told.code == 2
    assert f"ringback cancel --resume {id}" in told.err
    assert await status(pool, row["id"]) == "failed"


async def test_without_a_database_nothing_is_found(tmp_path: Path) -> None:
    """No server is started to find that out."""
    told = await ringback("retry", "--yes", cwd=tmp_path)

    assert (told.code, told.out) == (1, "")
    assert list(tmp_path.iterdir()) == []
