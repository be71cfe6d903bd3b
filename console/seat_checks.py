"""The checks of `ringback doctor` about the dashboard and files: who can log in, and what was installed."""

from __future__ import annotations

import importlib.resources
import importlib.util
import re
from importlib.resources.abc import Traversable
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from console.findings import Finding
from enrichment.settings import Settings
from store.reports import standing_campaigns

ASKED_FOR = re.compile(r"'([\w.-]+)' \| asset")  # by a template
LOCAL = ("localhost", "127.0.0.1", "::1")  # what is sent there stays on the machine
AGAIN = "reinstall Ringback: the package is not whole"


def check_dashboard(settings: Settings, package: Traversable | None = None) -> list[Finding]:
    """Check who can log in, over what, and that the pages' files were installed."""
    folder = (package or importlib.resources.files("receiver")) / "dashboard"
    return [*_check_login(settings), _check_assets(folder)]


def _check_login(settings: Settings) -> list[Finding]:
    """Check that a token may read, another one operate, and that none would cross the internet in the clear."""
    if not settings.api_tokens:
        return []
    allowed = {scope: sum(scope in token.scopes for token in settings.api_tokens) for scope in ("read", "operate")}
    found = f"of {len(settings.api_tokens)} API_TOKENS, {allowed['read']} may read, {allowed['operate']} may operate"
    if not all(allowed.values()):
        findings = [Finding("Login", "warn", found, "give a token the scopes: API_TOKENS=name:read+operate:token")]
    else:
        findings = [Finding("Login", "ok", found)]
    url = urlsplit(settings.public_url or "")
    if url.scheme == "http" and url.hostname not in LOCAL:
        remedy = "put a proxy with TLS in front; until then, log in through an SSH tunnel to localhost"
        findings.append(Finding("Login", "warn", "over http the token is sent in the clear", remedy))
    return findings


def _check_assets(folder: Traversable) -> Finding:
    """Check that the scripts and styles that the pages ask for are there."""
    try:
        pages = [one.read_text("utf-8") for one in (folder / "templates").iterdir() if one.name.endswith(".html")]
    except OSError:
        pages = []
    names = {name for page in pages for name in ASKED_FOR.findall(page)}
    missing = sorted(name for name in names if not (folder / "static" / name).is_file())
    if not names or missing:
        return Finding("Dashboard", "fail", f"its files are missing: {', '.join(missing) or 'all'}", AGAIN)
    return Finding("Dashboard", "ok", "its pages have their scripts and styles")


def check_files() -> list[Finding]:
    """Check that xlsx can be read: a platform may lack a build of the library."""
    if importlib.util.find_spec("python_calamine") is not None:
        return []
    return [Finding("Files", "warn", "xlsx cannot be read", "pip install python-calamine; csv works without")]


async def check_campaigns(connection: asyncpg.Connection[Any]) -> list[Finding]:
    """Name the campaigns that are under way and stand still."""
    findings = []
    for row in await standing_campaigns(connection):
        found = f"{row['state']} since {row['since']:%Y-%m-%d %H:%M} UTC, and nothing of it is being asked"
        remedy = f"run the same `ringback enrich` again, as {row['who']} did"
        if row["is_uploaded"]:
            remedy = "is a reconciler running? It goes on with uploads"
        findings.append(Finding(f"Campaign {row['id']}", "warn", found, remedy))
    return findings
