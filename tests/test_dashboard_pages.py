"""Every page of the navigation is described, and what is vendored names its version and its licence."""

from __future__ import annotations

import re

from receiver.dashboard.navigation import PAGES
from tests.commands import ROOT

TEXT = (ROOT / "docs/dashboard.md").read_text(encoding="utf-8")
STATIC = ROOT / "receiver/dashboard/static"


def test_each_page_is_described() -> None:
    """docs/dashboard.md has a row for each page: its address, its title, and the scope that it needs."""
    rows = set(re.findall(r"^\| `(/[^`]*)` \| ([^|]+) \| `([a-z]+)` \|", TEXT, re.MULTILINE))

    assert {(page.path, page.title, page.scope) for page in PAGES} <= rows


def test_what_is_vendored_is_named() -> None:
    """The version in each vendored script is the one that the page names."""
    htmx = (STATIC / "htmx.min.js").read_text(encoding="utf-8")

    (version,) = set(re.findall(r"htmx (\d+\.\d+\.\d+)", TEXT))
    assert f'"{version}"' in htmx or f"'{version}'" in htmx
