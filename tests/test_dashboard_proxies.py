"""The dashboard behind the real nginx and the real Caddy: all of it passes, or only what your networks do not need."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.dashboard.assets import address_of
from rig.ports import free_port
from store.pauses import Scope, add_pause
from tests.commands import ROOT
from tests.conftest import TOKEN
from tests.in_front import Front, in_front
from tests.seat import OURS
from tests.test_proxies import each_proxy, event, post, receiving

if TYPE_CHECKING:
    from tests.wishes import Pool

DEADLINE = 10.0  # seconds
PAGE = (ROOT / "docs/deploy/proxies.md").read_text(encoding="utf-8")
BEFORE = {"nginx": "    location / { proxy_pass http://ringback; }\n", "caddy": "\treverse_proxy "}


def kept_inside(name: str, text: str) -> str:
    """The configuration with the lines of docs/deploy/proxies.md that keep the dashboard to some networks."""
    (lines,) = re.findall(rf"```{name}\n(.*?)```", PAGE, re.DOTALL)
    assert text.count(BEFORE[name]) == 1
    return text.replace(BEFORE[name], lines if name == "nginx" else lines + BEFORE[name])


async def status(front: Front, path: str) -> int:
    """The status of a GET that follows no redirect."""
    async with front.session.get(f"{front.url}{path}", allow_redirects=False) as answer:
        return answer.status


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
async def test_the_dashboard_may_be_kept_inside(name: str, database_url: str, tmp_path: Path) -> None:
    """With the lines of the page, who comes from elsewhere gets in events and callbacks, and sees no dashboard."""
    port = free_port()
    async with (
        receiving(database_url, port),
        in_front(name, port, tmp_path, lambda text: kept_inside(name, text)) as front,
    ):
        inside = {path: await status(front, path) for path in ("/", "/login", "//login", "/live", "/start", "/docs",
                                                               "/static/ringback.css", "/events/../login")}  # fmt: skip
        outside = {path: await status(front, path) for path in ("/healthz", "/openapi.json", "/events/generic")}
        taken = await post(front, "/events/generic", event(1))
        callback = await post(front, "/callbacks/nyne/x/y", {})

    assert set(inside.values()) <= {403, 400, 308}
    assert set(outside.values()) == {200}
    assert (taken[0], callback[0]) == (202, 404)
