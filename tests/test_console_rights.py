"""`ringback suppress` and `ringback erase` as they are called: what they do, what they print, and how they exit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.commands import ringback
from tests.everywhere import where_is
from tests.wishes import MOBILE, answer, apply, job_of, status, take_one

if TYPE_CHECKING:
    from tests.wishes import Pool

JANE = {"work_email": "jane@acme.co", "profile_url": "linkedin.com/in/janedoe"}


async def test_a_person_is_suppressed(db: Pool, database_url: str, tmp_path: Path) -> None:
    """Exit code 0; the waiting lookup ends, and the audit names the user."""
    jane = await take_one(db, **JANE)

    told = await ringback(
        "suppress", "--email", "jane@ACME.co", "--number", MOBILE, "--note", "by phone", cwd=tmp_path,
        DATABASE_URL=database_url,
    )  # fmt: skip

    assert (told.code, told.out) == (0, "2 suppressed, 0 already were. 1 waiting lookups ended.\n")
    assert await status(db, jane.id) == "suppressed"
    assert await db.fetchval("SELECT count(*) FROM audit WHERE action = 'suppress'") == 2
    assert {row["note"] for row in await db.fetch("SELECT note FROM suppressions")} == {"by phone"}


async def test_a_file_is_suppressed(db: Pool, database_url: str, tmp_path: Path) -> None:
    """Columns in any order and case, with a note of their own; again, nothing is new."""
    file = tmp_path / "out.csv"
    file.write_text("Note,Email,ignored,Domain\nleft,jane@acme.co,x,\n,,y,@other.co\n", encoding="utf-8-sig")

    first = await ringback("suppress", "--file", str(file), "--json", cwd=tmp_path, DATABASE_URL=database_url)
    again = await ringback("suppress", "--file", str(file), cwd=tmp_path, DATABASE_URL=database_url)

    made = json.loads(first.out)
    assert sorted((one["kind"], one["new"]) for one in made["suppressions"]) == [("domain", True), ("email", True)]
    assert again.out == "0 suppressed, 2 already were. 0 waiting lookups ended.\n"
    assert await db.fetchval("SELECT note FROM suppressions WHERE kind = 'email'") == "left"


async def test_wrong_values_are_named_by_their_place(db: Pool, database_url: str, tmp_path: Path) -> None:
    """Exit code 2, every one of them, never the value; and nothing is suppressed."""
    file = tmp_path / "out.csv"
    file.write_text("email\njane@acme.co\nnobody-at-all\n", encoding="utf-8")

    told = await ringback(
        "suppress", "--file", str(file), "--domain", "https://acme.co", cwd=tmp_path, DATABASE_URL=database_url
    )
    nothing = await ringback("suppress", cwd=tmp_path, DATABASE_URL=database_url)

    assert (told.code, told.out) == (2, "")
    assert told.err.splitlines() == [
        "--domain: one domain, like company.tld",
        f"{file}, line 3, email: one e-mail address, like name@company.tld",
    ]
    assert (nothing.code, "--email" in nothing.err) == (2, True)
    assert await db.fetchval("SELECT count(*) FROM suppressions") == 0


async def test_a_person_is_erased_after_a_preview(db: Pool, database_url: str, tmp_path: Path) -> None:
    """The preview changes nothing; --yes erases; again there is nothing."""
    jane = await take_one(db, **JANE)
    job = await job_of(db, jane.id)
    assert job is not None
    await apply(db, answer(job["id"], "inline", MOBILE))
    who = ("--email", "jane@acme.co")

    looked = await ringback("erase", *who, "--dry-run", "--suppress", cwd=tmp_path, DATABASE_URL=database_url)
    assert (looked.code, looked.err) == (
        0, "Found: 1 lookups, 1 events, 1 numbers. Each value given would be suppressed.\n",
    )  # fmt: skip
    assert await status(db, jane.id) == "found"
    done = await ringback("erase", *who, "--yes", "--suppress", "--json", cwd=tmp_path, DATABASE_URL=database_url)
    again = await ringback("erase", *who, "--yes", cwd=tmp_path, DATABASE_URL=database_url)

    counts = json.loads(done.out)
    assert (done.code, counts["erased"], counts["lookups"], counts["suppressions"]) == (0, True, 1, 1)
    assert (again.code, again.err) == (0, "Erased: nothing; there was nothing to erase.\n")
    assert await where_is(db, ["jane@acme.co", MOBILE]) == []
    assert await db.fetchval("SELECT count(*) FROM audit WHERE action = 'erase'") == 2


async def test_json_without_yes_only_previews(db: Pool, database_url: str, tmp_path: Path) -> None:
    """--json without --yes only previews."""
    jane = await take_one(db, **JANE)

    told = await ringback("erase", "--email", "jane@acme.co", "--json", cwd=tmp_path, DATABASE_URL=database_url)

    assert (told.code, json.loads(told.out)["erased"], json.loads(told.out)["lookups"]) == (0, False, 1)
    assert await status(db, jane.id) == "queued"


async def test_nobody_is_erased_unasked(db: Pool, database_url: str, tmp_path: Path) -> None:
    """Without a terminal to ask on, --yes is needed; a wrong value is exit code 2 as well."""
    jane = await take_one(db, **JANE)

    unasked = await ringback("erase", "--email", "jane@acme.co", cwd=tmp_path, DATABASE_URL=database_url)
    wrong = await ringback("erase", "--number", "12", "--yes", cwd=tmp_path, DATABASE_URL=database_url)
    nothing = await ringback("erase", "--yes", cwd=tmp_path, DATABASE_URL=database_url)

    assert [one.code for one in (unasked, wrong, nothing)] == [2, 2, 2]
    assert wrong.err == "--number: one number with its country code, like +15551234567\n"
    assert await status(db, jane.id) == "queued"
