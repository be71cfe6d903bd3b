"""`ringback pause`, `resume` and `status`: what they change and print, and how they exit."""

from __future__ import annotations

import getpass
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from store import providers
from tests.commands import ringback
from tests.factories import finished_job, job

if TYPE_CHECKING:
    from tests.wishes import Pool


@pytest.mark.parametrize(
    ("options", "scope", "let_go"),
    [
        ((), (None, None), "--all"),
        (("--provider", "nyne"), ("nyne", None), "--provider nyne"),
        (("--source", "hubspot"), (None, "hubspot"), "--source hubspot"),
    ],
)
async def test_a_pause_is_made_once_and_let_go(
    db: Pool, database_url: str, tmp_path: Path, options: tuple[str, ...], scope: tuple[str | None, ...], let_go: str
) -> None:
    """The output says how to resume; a second pause changes nothing; both are recorded with the user's name."""

    async def run(*arguments: str) -> tuple[int, str]:
        told = await ringback(*arguments, cwd=tmp_path, DATABASE_URL=database_url)
        return told.code, told.out

    first = await run("pause", *options, "--reason", "a wrong list")
    again = await run("pause", *options, "--reason", "another", "--json")
    rows = [tuple(row) for row in await db.fetch("SELECT provider, source, reason, who FROM pauses")]
    resumed = await run("resume", *let_go.split())
    nothing = await run("resume", *let_go.split(), "--json")

    assert first[0] == 0
    assert first[1].endswith(f"ringback resume {let_go}\n")
    assert (again[0], json.loads(again[1])) == (1, {"provider": scope[0], "source": scope[1], "paused": False})
    assert rows == [(*scope, "a wrong list", getpass.getuser())]
    assert resumed[0] == 0
    assert "a wrong list" in resumed[1]
    assert (nothing[0], json.loads(nothing[1])["resumed"]) == (1, False)
    audited = [tuple(row) for row in await db.fetch("SELECT action, who FROM audit ORDER BY id")]
    assert audited == [("pause", getpass.getuser()), ("resume", getpass.getuser())]


async def test_resume_lets_go_of_both_pauses_of_a_provider(db: Pool, database_url: str, tmp_path: Path) -> None:
    """Its account's and a person's; other pauses stay, and so does that of all."""
    await providers.pause(db, "nyne", "out of credits", timedelta(hours=1))
    for provider, source in (("nyne", None), (None, "api"), (None, None)):
        await db.execute(
            "INSERT INTO pauses VALUES (gen_random_uuid(), $1, $2, 'a wrong list', 'ops')", provider, source
        )

    told = await ringback("resume", "--provider", "nyne", cwd=tmp_path, DATABASE_URL=database_url)

    assert (told.code, told.out) == (0, "nyne is asked again. It was paused: out of credits; a wrong list (ops)\n")
    left = {tuple(row) for row in await db.fetch("SELECT provider, source FROM pauses")}
    assert left == {(None, "api"), (None, None)}
    assert await db.fetchval("SELECT paused_at FROM providers WHERE name = 'nyne'") is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("pause", "--provider", "acme", "--reason", "why"),
        ("pause", "--source", "acme", "--reason", "why"),
        ("pause", "--provider", "nyne", "--source", "api", "--reason", "why"),
        ("pause", "--reason", " "),
        ("pause",),
        ("resume",),
        ("resume", "--source", "acme"),
        ("resume", "--all", "--provider", "nyne"),
    ],
    ids=" ".join,
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Exit code 2, and least of all is everything paused; no database is needed to say so."""
    told = await ringback(*arguments, cwd=tmp_path)

    assert (told.code, told.out) == (2, "")
    assert "Remedy" in told.err or "--" in told.err
    assert list(tmp_path.iterdir()) == []


async def test_the_status_says_what_is_stopped_and_what_to_type(db: Pool, database_url: str, tmp_path: Path) -> None:
    """The status shows who paused what, since when and why, how many searches the flood guard holds, and budgets."""
    await db.execute("INSERT INTO pauses VALUES (gen_random_uuid(), NULL, 'api', 'a [wrong] list', 'ops')")
    for _ in range(3):
        await job(db, source="hubspot", held="flood")
    await finished_job(db, source="hubspot", credits=6)
    settings = {"DATABASE_URL": database_url, "HUBSPOT_BUDGET_CREDITS_PER_DAY": "10"}

    shown = await ringback("status", cwd=tmp_path, COLUMNS="200", **settings)
    told = json.loads((await ringback("status", "--json", cwd=tmp_path, **settings)).out)

    for word in ("api", "ops", "a [wrong] list", "ringback resume --source api", "ringback release --source hubspot"):
        assert word in shown.out
    assert [(row["source"], row["jobs"]) for row in told["floods"]] == [("hubspot", 3)]
    assert [(row["source"], row["who"], row["reason"]) for row in told["pauses"]] == [("api", "ops", "a [wrong] list")]
    assert told["budgets"] == [
        {"provider": None, "source": "hubspot", "period": "day", "credits": 10, "used": 6, "left": 4}
    ]
