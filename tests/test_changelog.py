"""The version has one place, pyproject.toml, and CHANGELOG.md says what is in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
HEADINGS = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_newest_release_of_the_changelog_is_the_version() -> None:
    """A new version is described when it is given."""
    assert HEADINGS[0] == "[Unreleased]"
    assert HEADINGS[1].startswith(f"[{VERSION}]")


def test_older_releases_have_a_date_and_stand_in_order() -> None:
    """Newest first, each once; only the newest may still be without its date."""
    told = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\](?: - (\d{4}-\d{2}-\d{2}))?", heading) for heading in HEADINGS[1:]]
    releases = [release for release in told if release]

    assert len(releases) == len(told), HEADINGS
    numbers = [tuple(map(int, release.group(1, 2, 3))) for release in releases]
    assert numbers == sorted(set(numbers), reverse=True)
    assert all(release[4] for release in releases[1:])
