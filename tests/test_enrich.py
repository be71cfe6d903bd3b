"""`ringback enrich`: what it says about a file before it asks anybody, and why it waits."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from enrichment.campaign_waits import NOT_ASKED, Waiting, why_it_waits
from tests.campaigning import people, write_csv
from tests.commands import ringback

KEYS = {"LEADMAGIC_API_KEY": "key", "NYNE_API_KEY": "key", "NYNE_API_SECRET": "secret"}


def group(state: str, lookups: int, held: str | None = None) -> Waiting:
    """Return open lookups that are in one state, at Nyne."""
    return Waiting(state, held, "nyne", lookups, Decimal(0))


@pytest.mark.parametrize(
    ("waiting", "words"),
    [
        ([group("queued", 3, "brake"), group("awaiting", 9)], "3 lookups are held; the brake is on"),
        ([group("queued", 3, "budget")], "the budget of nyne is used up"),
        ([group("queued", 3, "paused"), group("queued", 1, "flood")], "nyne is paused"),
        ([group("queued", 50), group("awaiting", 1)], "nyne has yet to answer"),
        ([group("queued", 50)], NOT_ASKED),
        ([], ""),
    ],
)
def test_the_reason_for_waiting_is_what_a_person_can_change(waiting: list[Waiting], words: str) -> None:
    """A hold comes before a provider that is slow, and that before the guess that no submitter runs."""
    assert words in why_it_waits(waiting)
    assert bool(why_it_waits(waiting)) == bool(words)


async def test_a_dry_run_counts_and_asks_nobody(database_url: str, tmp_path: Path) -> None:
    """The columns, the counts and the most it can cost are there; no lookup is, and no file is written."""
    path = write_csv(tmp_path / "a.csv", [*people(3), people(1)[0], ("", "", "", "")])

    told = await ringback("enrich", "a.csv", "--dry-run", "--json", cwd=tmp_path, DATABASE_URL=database_url, **KEYS)

    assert told.code == 0, told.err
    summary = json.loads(told.out)
    counts = {name: summary[name] for name in ("rows", "new", "duplicate", "unusable", "asked", "state")}
    assert counts == {"rows": 5, "new": 3, "duplicate": 1, "unusable": 1, "asked": 0, "state": "read"}
    assert summary["most_credits"] == 24
    assert "E-Mail = work_email" in told.err
    assert list(tmp_path.iterdir()) == [path]


async def test_a_file_that_cannot_be_used_says_what_to_do(database_url: str, tmp_path: Path) -> None:
    """No column identifies anybody: the message names the columns and the option; exit code 2."""
    write_csv(tmp_path / "a.csv", [("x", "y")], header=("Colour", "Size"))

    told = await ringback("enrich", "a.csv", cwd=tmp_path, DATABASE_URL=database_url, **KEYS)

    assert (told.code, told.out) == (2, "")
    assert (
        told.err == "no column seems to hold a profile, an e-mail or a name; say which with --map: 'Colour', 'Size'.\n"
    )
