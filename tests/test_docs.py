"""/docs: one page of our own, the viewer's files beside it, and what a real browser makes of them."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from receiver.openapi import document
from tests.asgi import Client
from tests.commands import ROOT
from tests.test_health import receiving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60.0  # seconds, for a browser to start and to draw; it takes three
# Milliseconds of the page's own clock, which stands still while it loads: scripts and fetches end before it does.
DRAWN = 10_000


async def test_the_page_runs_nothing_and_loads_nothing_from_elsewhere(client: Client) -> None:
    """Scripts and styles are files of our own address, and the policy refuses all others."""
    page = await client.get("/docs")
    policy = page.headers["content-security-policy"]

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(rb"https?:|<script>|<style|\son\w+=|\sstyle=", page.body)


async def test_every_file_of_the_page_is_served(client: Client) -> None:
    """Each may be kept by a browser, or asked for again; and is what it says that it is."""
    page = await client.get("/docs")
    files = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.body.decode())
    kinds = {".css": "text/css", ".js": "text/javascript"}

    assert len(files) == 3
    for file in files:
        answer = await client.get(file)

        assert answer.status == 200
        assert answer.headers["content-type"].startswith(kinds[Path(file).suffix])
        assert answer.headers["cache-control"] != "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["../__init__.py", "%2e%2e/__init__.py", "index.css", "VERSION", ""])
async def test_no_other_file_is_served(client: Client, name: str) -> None:
    """What the page does not load is a 404."""
    assert (await client.get(f"/docs/viewer/{name}")).status == 404


def test_the_viewer_s_package_is_not_imported() -> None:
    """Only its files are used: the framework that it is made for stays outside of the process."""
    code = "import sys, receiver.app; sys.exit('flask' in sys.modules or 'flask_swagger_ui' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@asynccontextmanager
async def profile() -> AsyncIterator[str]:
    """A folder for one run of the browser; it may still be writing when it is removed."""
    folder = tempfile.mkdtemp(prefix="ringback-chromium-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def drawn(url: str) -> tuple[str, str]:
    """The page as a browser has drawn it, and what the browser's console said."""
    assert CHROMIUM
    async with profile() as folder:
        browser = await asyncio.create_subprocess_exec(
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={folder}", f"--virtual-time-budget={DRAWN}", "--enable-logging=stderr",
            "--dump-dom", url,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                page, said = await browser.communicate()
        finally:
            if browser.returncode is None:
                browser.kill()
                await browser.wait()
    return page.decode(), "\n".join(line for line in said.decode().splitlines() if "CONSOLE" in line)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
async def test_a_browser_shows_every_operation(database_url: str) -> None:
    """Under its policy the viewer draws every operation, opens the one that is linked to, and complains of nothing."""
    async with receiving(database_url) as receiver:
        page, said = await drawn(f"{receiver.url}/docs#/Lookups/postV1Lookups")

    shown = set(re.findall(r'data-path="([^"]+)"', page))
    assert shown == set(document()["paths"])
    assert "jane@acme.co" in page  # the example of the opened operation
    assert said == ""
