"""The dashboard behind the real nginx and the real Caddy: all of it passes, or only what your networks do not need."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from receiver.dashboard.assets import address_of
from rig.ports import HOST, free_port
from store.pauses import Scope, add_pause
from tests.commands import ROOT
from tests.conftest import TOKEN
from tests.in_front import in_front
from tests.seat import OURS
from tests.test_proxies import each_proxy, raw_status, receiving

if TYPE_CHECKING:
    from tests.wishes import Pool

DEADLINE = 10.0  # seconds
PAGE = (ROOT / "docs/deploy/proxies.md").read_text(encoding="utf-8")
INSIDE = ("/", "/login", "//login", "/%6cogin", "/events/../login", "/live", "/start", "/docs", "/static/ringback.css")
OUTSIDE = ("/events/generic", "/callbacks/nyne/x/y", "/v1/lookups?q=x", "/healthz", "/readyz", "/openapi.json")
BEFORE = {"nginx": "    location / { proxy_pass http://ringback; }\n", "caddy": "\treverse_proxy "}


def kept_inside(name: str, text: str) -> str:
    """The configuration with the lines of docs/deploy/proxies.md that keep the dashboard to some networks."""
    (lines,) = re.findall(rf"```{name}\n(.*?)```", PAGE, re.DOTALL)
    assert text.count(BEFORE[name]) == 1
    return text.replace(BEFORE[name], lines if name == "nginx" else lines + BEFORE[name])


@each_proxy
async def test_the_dashboard_passes_and_follows_what_happens(
    name: str, database_url: str, tmp_path: Path, pool: Pool
) -> None:
    """Login, page and files; and each event of the stream at once, not when a buffer is full."""
    port = free_port()
    async with receiving(database_url, port), in_front(name, port, tmp_path) as front:
        origin = {"Origin": f"https://{front.session.headers.get('Host', 'x')}"} if name == "nginx" else {}
        login = front.session.post(
            f"{front.url}/login", data={"token": TOKEN}, headers=OURS | origin, allow_redirects=False
        )
        async with login as entered:
            cookie = entered.headers["Set-Cookie"].partition(";")[0]
        session = {"Cookie": cookie}
        async with front.session.get(f"{front.url}/", headers=session) as page:
            text = await page.text()
        async with front.session.get(f"{front.url}{address_of('ringback.css')}") as styles:
            kept = styles.headers["Cache-Control"]
        async with asyncio.timeout(DEADLINE), front.session.get(f"{front.url}/live", headers=session) as stream:
            first = await stream.content.readuntil(b"\n\n")
            await add_pause(pool, Scope(None, None), reason="for the test", who="ann")
            second = await stream.content.readuntil(b"\n\n")

    assert cookie.startswith("__Host-ringback=" if name == "nginx" else "ringback=")
    assert "<h1>Now</h1>" in text
    assert "immutable" in kept
    assert b"All paid questions are stopped" not in first
    assert b"All paid questions are stopped" in second


@each_proxy
async def test_the_dashboard_may_be_kept_inside(name: str, tmp_path: Path) -> None:
    """With the lines of the page, who comes from elsewhere reaches what CRMs, providers and doctor need, no more."""
    port = free_port()
    async with (
        answering_all(port),
        in_front(name, port, tmp_path, lambda text: kept_inside(name, text)) as front,
    ):
        inside = {path: await raw_status(front, path) for path in INSIDE}
        outside = {path: await raw_status(front, path) for path in OUTSIDE}

    assert {path: status for path, status in inside.items() if status not in {400, 403}} == {}
    assert {path: status for path, status in outside.items() if status != 200} == {}


@asynccontextmanager
async def answering_all(port: int) -> AsyncIterator[None]:
    """Answer every address at *port* with a 200 inside the block."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield
    finally:
        await runner.cleanup()
