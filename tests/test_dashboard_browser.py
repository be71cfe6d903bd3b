"""The dashboard in a real browser: every page of the navigation, by eye, by keyboard, on a phone, without scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from receiver.dashboard.navigation import PAGES
from store.database import close_pool, open_pool
from tests import browser, hostile, lived_in
from tests.browser import ID, PROGRAM, Scheme, Visit
from tests.conftest import TOKEN
from tests.databases import Databases

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason=browser.MISSING),
    pytest.mark.asyncio(loop_scope="module"),
]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
REPEATED = {"exclude": [["tbody tr:nth-child(n+8)"]]}  # the further rows of a table are like those above
VIOLATIONS = "([where, how]) => axe.run(where, how).then(found => found.violations)"
STOP, LET_GO = "Stop all paid questions", "Let go"
OTHER_TOKEN = "another-token-of-the-tests"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """One browser for all tests."""
    async with browser.chromium() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(databases: Databases) -> AsyncIterator[str]:
    """A database with a month of history, and with what strangers wrote into it."""
    with databases.for_a_module() as url:
        pool = await open_pool(url, name="tests", size=2)
        await lived_in.fill(pool)
        await hostile.attack(pool)
        await close_pool(pool)
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(database: str) -> AsyncIterator[str]:
    """The address of a receiver."""
    async with browser.receiver(database) as started:
        yield started


@asynccontextmanager
async def seated(chromium: Browser, address: str, **how: Any) -> AsyncIterator[Visit]:
    """Open a tab inside the block, and log in."""
    async with browser.visit(chromium, address, **how) as visit:
        await visit.log_in()
        yield visit


async def focused(page: Page) -> str:
    """What has the focus, in its own words."""
    text: str = await page.evaluate(
        "() => document.activeElement.ariaLabel || document.activeElement.textContent || ''"
    )
    return " ".join(text.split())


async def tab_to(page: Page, words: str) -> None:
    """Press the tabulator until what says *words* has the focus."""
    for _ in range(200):
        await page.keyboard.press("Tab")
        if await focused(page) == words:
            return
    raise AssertionError(f"the tabulator leads to no {words!r}")


async def test_a_token_opens_the_page_that_was_wanted(chromium: Browser, address: str) -> None:
    """A stranger is sent to the login, a wrong token is said to be one, and the right one leads on."""
    async with browser.visit(chromium, address) as visit:
        await visit.go(PAGES[-1].path)
        await visit.page.get_by_label("Token").fill("no token")
        await visit.page.get_by_role("button", name="Log in").click()
        await visit.page.get_by_role("alert").wait_for()
        await visit.page.get_by_label("Token").fill(TOKEN)
        await visit.page.get_by_role("button", name="Log in").click()

        await visit.page.wait_for_url(f"**{PAGES[-1].path}")
        assert await visit.page.locator("nav a[aria-current=page]").inner_text() == PAGES[-1].title


@dataclass
class Walk:
    """What was seen on every page."""

    complaints: list[str] = field(default_factory=list)
    wide: dict[str, int] = field(default_factory=dict)  # pixels that do not fit, by page
    links: dict[str, str] = field(default_factory=dict)  # the first of each kind
    violations: list[str] = field(default_factory=list)

    async def measure(self, visit: Visit, path: str) -> None:
        """Keep it when something is wider than the window."""
        over = await visit.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        if over > 0:
            self.wide[path] = over

    async def collect(self, visit: Visit) -> None:
        """Keep the first link of each kind."""
        for link in await visit.page.locator("a[href^='/']").evaluate_all("all => all.map(a => a.href)"):
            self.links.setdefault(ID.sub("{id}", link.removeprefix(visit.address)), link)

    async def judge(self, page: Page, path: str) -> None:
        """Ask axe about the page: whole in the light, and its colours in the dark."""
        from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]

        await page.evaluate(AXE_SCRIPT)
        asked: tuple[tuple[Scheme, str, list[str]], ...] = ("light", "tag", RULES), ("dark", "rule", ["color-contrast"])
        for scheme, kind, values in asked:
            await page.emulate_media(color_scheme=scheme)
            how = {"runOnly": {"type": kind, "values": values}, "resultTypes": ["violations"]}
            for rule in await page.evaluate(VIOLATIONS, [REPEATED, how]):
                said = f"{path}: {rule['help']} ({rule['id']})"
                self.violations.extend(f"{said}: {node['html']}" for node in rule["nodes"])
        await page.emulate_media(color_scheme="light")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def walk(chromium: Browser, address: str) -> Walk:
    """One walk through all pages, in the light and at a desk, for all that is asked about them there."""
    walk = Walk()
    async with browser.visit(chromium, address) as visit:
        await visit.go("/login")
        await walk.judge(visit.page, "/login")
        await visit.log_in()
        async for path in visit.pages():
            await walk.measure(visit, path)
            await walk.collect(visit)
            await walk.judge(visit.page, path)
        walk.complaints = visit.complaints
    return walk


async def test_every_page_is_shown_as_it_is_meant(walk: Walk) -> None:
    """No error, nothing that the CSP refuses, no script of a stranger's, and nothing wider than the window."""
    assert (walk.complaints, walk.wide) == ([], {})


@pytest.mark.parametrize(("scheme", "size"), [("dark", "desk"), ("light", "phone")])
async def test_so_is_it_in_the_dark_and_on_a_phone(chromium: Browser, address: str, scheme: Scheme, size: str) -> None:
    """It is loaded there, because what scripts draw depends on it."""
    walk = Walk()
    async with seated(chromium, address, scheme=scheme, size=size) as visit:
        async for path in visit.pages():
            await walk.measure(visit, path)
        assert (visit.complaints, walk.wide) == ([], {})


async def test_no_link_leads_nowhere(chromium: Browser, address: str, walk: Walk) -> None:
    """Of each kind of link on each page, the first leads to a page."""
    async with seated(chromium, address) as visit:
        answers = {kind: (await visit.page.request.get(link)).status for kind, link in walk.links.items()}
    assert len(answers) > len(PAGES)
    assert {kind: status for kind, status in answers.items() if status != 200} == {}


async def test_axe_finds_no_violation(walk: Walk) -> None:
    """WCAG 2.2 AA and what is good practice beyond it, on every page; in the dark only colours are others."""
    assert not walk.violations, "\n".join(walk.violations)


async def test_the_keyboard_is_enough(chromium: Browser, address: str) -> None:
    """Skip the navigation, walk through it, see where one is, pull the brake, and let it go."""
    async with seated(chromium, address) as visit:
        page = visit.page
        await page.keyboard.press("Tab")
        assert await focused(page) == "Skip to the content"
        assert await page.locator(".skip").evaluate("one => one.getBoundingClientRect().top >= 0")
        await page.keyboard.press("Enter")
        assert await page.evaluate("() => document.activeElement.id") == "main"

        await visit.go("/")
        for title in [one.title for one in PAGES]:
            await tab_to(page, title)
            assert await page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**{PAGES[-1].path}")

        await visit.go("/")
        for button, said in ((STOP, "Stopped."), (LET_GO, "Let go.")):
            await tab_to(page, button)
            await page.keyboard.press("Enter")
            await page.get_by_role("status").filter(has_text=said).wait_for()
        assert visit.complaints == []


async def test_no_script_is_needed(chromium: Browser, address: str) -> None:
    """Without JavaScript every page has its heading and its words, a number can be shown, and the brake works."""
    async with seated(chromium, address, scripts=False) as visit:
        async for path in visit.pages():
            assert await visit.page.locator("main h1").count() == 1, path
            assert len(await visit.page.locator("main").inner_text()) > 100, path

        await visit.go("/lookups?status=found")
        await visit.page.locator("main table a").first.click()
        await visit.page.get_by_role("button", name="Show the number").click()
        await visit.page.get_by_text(hostile.NUMBER).first.wait_for()

        await visit.go("/")
        for button, said in ((STOP, "Stopped."), (LET_GO, "Let go.")):
            await visit.page.get_by_role("button", name=button, exact=True).click()
            await visit.page.get_by_role("status").filter(has_text=said).wait_for()


async def test_a_page_that_is_open_hears_what_happens(chromium: Browser, address: str) -> None:
    """What one person stops is stopped on the page of another, who does nothing."""
    async with seated(chromium, address) as one, seated(chromium, address) as other:
        await one.page.get_by_role("button", name=STOP, exact=True).click()
        await other.page.get_by_role("heading", name="All paid questions are stopped").wait_for()
        await one.page.get_by_role("button", name=LET_GO, exact=True).click()
        await other.page.get_by_role("button", name=STOP, exact=True).wait_for()
        assert (one.complaints, other.complaints) == ([], [])


async def test_a_session_ends_with_the_logout_and_with_its_token(
    chromium: Browser, address: str, database: str
) -> None:
    """Afterwards every page leads to the login; a receiver that no longer knows the token knows no session of it."""
    async with browser.receiver(database, API_TOKENS=OTHER_TOKEN) as without, seated(chromium, address) as visit:
        await visit.page.goto(without)
        assert visit.page.url == f"{without}/login"

        await visit.go("/")
        assert visit.page.url == f"{address}/"
        await visit.page.get_by_role("button", name="Log out").click()
        await visit.page.get_by_label("Token").wait_for()
        await visit.go("/")
        assert visit.page.url == f"{address}/login"
