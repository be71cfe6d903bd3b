"""`ringback doctor` on the dashboard, files and campaigns."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uuid_utils.compat import uuid7

from console.checks import check_database
from console.findings import Finding
from console.seat_checks import check_dashboard, check_files
from tests.commands import ringback

if TYPE_CHECKING:
    from tests.conftest import MakeSettings
    from tests.wishes import Pool


def about(what: str, findings: list[Finding]) -> list[Finding]:
    """Return the findings about something."""
    return [finding for finding in findings if finding.about == what]


@pytest.mark.parametrize(
    ("tokens", "verdict", "found"),
    [
        ("token-of-the-tests", "ok", "of 1 API_TOKENS, 1 may read, 1 may operate"),
        ("crm:events:token-of-a-crm,ops:read+operate:token-of-ops", "ok", "of 2 API_TOKENS, 1 may read, 1 may operate"),
        ("crm:events:token-of-a-crm", "warn", "of 1 API_TOKENS, 0 may read, 0 may operate"),
        ("bi:read:token-of-bi", "warn", "of 1 API_TOKENS, 1 may read, 0 may operate"),
    ],
)
def test_who_can_log_in(make_settings: MakeSettings, tokens: str, verdict: str, found: str) -> None:
    """A token that may read sees the dashboard; one that may operate holds the brake."""
    (finding,) = about("Login", check_dashboard(make_settings(api_tokens=tokens)))

    assert (finding.verdict, finding.found) == (verdict, found)


@pytest.mark.parametrize(
    ("url", "warned"), [("http://ringback.test", True), ("http://localhost:8000", False), ("https://a.test", False)]
)
def test_a_login_over_http_is_warned_of(make_settings: MakeSettings, url: str, warned: bool) -> None:
    """The form sends a token; to this machine itself it may."""
    _, *others = about("Login", check_dashboard(make_settings(public_url=url)))

    assert [one.found for one in others] == ["over http the token is sent in the clear"] * warned


def test_the_pages_have_their_files(make_settings: MakeSettings) -> None:
    """As they are installed here: scripts, styles, and a library for xlsx."""
    (finding,) = about("Dashboard", check_dashboard(make_settings()))

    assert finding.verdict == "ok"
    assert check_files() == []


@pytest.mark.parametrize(("template", "found"), [("{{ 'chart.js' | asset }}", "chart.js"), (None, "all")])
def test_a_file_that_was_not_installed_is_named(
    make_settings: MakeSettings, tmp_path: Path, template: str | None, found: str
) -> None:
    """A script that a page asks for, or everything."""
    if template is not None:
        (tmp_path / "dashboard" / "templates").mkdir(parents=True)
        (tmp_path / "dashboard" / "templates" / "page.html").write_text(template)

    (finding,) = about("Dashboard", check_dashboard(make_settings(), tmp_path))

    assert (finding.verdict, finding.found) == ("fail", f"its files are missing: {found}")


@pytest.mark.parametrize(
    ("uploaded", "age", "begun", "remedy"),
    [
        (True, 2, 0, "is a reconciler running?"),
        (False, 2, 0, "run the same `ringback enrich` again"),
        (True, 0, 0, None),
        (True, 2, 1, None),
    ],
)
async def test_a_campaign_that_stands_still_is_named(
    pool: Pool, make_settings: MakeSettings, database_url: str, uploaded: bool, age: int, begun: int, remedy: str | None
) -> None:
    """One whose reconciler, or whose command, is gone; not a young one, nor one whose questions are under way."""
    await pool.execute(
        """
        INSERT INTO campaigns (id, name, who, state, is_uploaded, digest, layout, read_at, approved_at,
                               approved_credits, begun)
        VALUES ($1, 'a.csv', 'ops', 'running', $2, sha256('a'), '{}', now(), now() - $3::interval, 10, $4)
        """,
        uuid7(), uploaded, timedelta(hours=age), begun,
    )  # fmt: skip

    findings = await check_database(make_settings(database_url=database_url))

    told = [finding.remedy or "" for finding in findings if finding.about.startswith("Campaign")]
    assert [one for one in told if remedy and one.startswith(remedy)] == told
    assert len(told) == (remedy is not None)


async def test_a_short_session_key_is_found(tmp_path: Path) -> None:
    """It signs sessions, so it must not be guessed."""
    told = await ringback("doctor", "--json", cwd=tmp_path, SESSION_KEY="short", API_TOKENS="token")

    (finding,) = [one for one in json.loads(told.out) if one["about"] == "SESSION_KEY"]
    assert finding["verdict"] == "fail"
