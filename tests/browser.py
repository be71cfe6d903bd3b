"""A real browser at the dashboard: Chromium, driven by Playwright, before a receiver on a real socket."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from receiver.dashboard.navigation import PAGES
from rig.ports import free_port
from rig.processes import environment, python
from tests.commands import running
from tests.conftest import SANE, TOKEN
from tests.wishes import IDENTITY_KEY

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
MISSING = "there is no chromium: apt-get install chromium, and these tests run"
PATIENCE = 30_000.0  # milliseconds, for anything; a busy machine needs most of it
SIZES = {"desk": {"width": 1200, "height": 800}, "phone": {"width": 390, "height": 844}}
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b\d+\b")

Scheme = Literal["light", "dark"]


@dataclass
class Visit:
    """One tab, and what its console said that is no good."""

    page: Page
    address: str  # of the receiver
    complaints: list[str] = field(default_factory=list)

    async def go(self, path: str) -> None:
        """Load the page at *path*."""
        answer = await self.page.goto(self.address + path, wait_until="load")
        assert answer is not None
        assert answer.status < 400, (path, answer.status)

    async def log_in(self, token: str = TOKEN) -> None:
        """Log in as a person does."""
        await self.go("/login")
        await self.page.get_by_label("Token").fill(token)
        await self.page.get_by_role("button", name="Log in").click()
        await self.page.wait_for_url(lambda url: urlsplit(url).path != "/login")

    async def pages(self) -> AsyncIterator[str]:
        """Load every page of the navigation, and then of each kind of page below them the first that one leads to.

        Yield the kind of each, once it is loaded: `/lookups/{id}` is one lookup.
        """
        below: dict[str, str] = {}
        for page in PAGES:
            await self.go(page.path)
            links = await self.page.locator("main a[href^='/']").evaluate_all("all => all.map(a => a.pathname)")
            for link in links:
                if page.path != "/" and link.startswith(f"{page.path}/"):
                    below.setdefault(ID.sub("{id}", link), link)
            yield page.path
        for kind, link in below.items():
            await self.go(link)
            yield kind

    def hear(self, message: ConsoleMessage) -> None:
        """Keep what the console calls an error or a warning: a broken rule of the CSP is one."""
        if message.type in ("error", "warning"):
            self.complaints.append(f"{urlsplit(self.page.url).path}: {message.text}")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium inside the block."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        # As root Chromium starts only without its sandbox; it shows no pages but ours.
        browser = await playwright.chromium.launch(executable_path=PROGRAM, chromium_sandbox=os.getuid() != 0)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def receiver(database_url: str, **settings: str) -> AsyncIterator[str]:
    """Run a receiver inside the block; yield its address."""
    port = free_port()
    given = {name.upper(): str(value) for name, value in SANE.items()} | {
        "DATABASE_URL": database_url, "PORT": str(port), "IDENTITY_KEY": IDENTITY_KEY,
        "API_TOKENS": f"ada:events+read+operate+admin:{TOKEN}",
        "BUDGET_CREDITS_PER_DAY": "600", "NYNE_BUDGET_CREDITS_PER_MONTH": "5000",
    }  # fmt: skip
    async with running(python("receiver"), environment(**given | settings)) as process:
        await process.says('"event": "listening"')
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def visit(
    browser: Browser, address: str, *, scheme: Scheme = "light", size: str = "desk", scripts: bool = True
) -> AsyncIterator[Visit]:
    """Open a tab of a person who was never here, inside the block."""
    options: dict[str, Any] = {"color_scheme": scheme, "viewport": SIZES[size], "java_script_enabled": scripts}
    context = await browser.new_context(**options, reduced_motion="reduce", locale="en-GB", timezone_id="UTC")
    try:
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        visiting = Visit(page, address)
        page.on("console", visiting.hear)
        page.on("pageerror", lambda error: visiting.complaints.append(f"{page.url}: {error}"))
        page.on("dialog", lambda dialog: visiting.complaints.append(f"{page.url}: a dialog, {dialog.message}"))
        yield visiting
    finally:
        await context.close()
