"""python -m tests.screenshots: pictures of every page of the dashboard, for the documentation.

What they show is drawn the same every time; only the clock differs.
"""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

from rig.postgres import Postgres, url_of
from store.database import close_pool, open_pool
from tests import browser, lived_in
from tests.browser import Scheme, Visit
from tests.conftest import build_template, memory

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"
KINDS: dict[str, tuple[Scheme, str]] = {
    "light": ("light", "desk"),
    "dark": ("dark", "desk"),
    "phone": ("light", "phone"),
}
COLOURS = 96  # of a picture: a page has few, and its file is a third as large


def main() -> None:
    """Make them all anew."""
    postgres = Postgres({"fsync": "off"}, folder=memory())
    try:
        asyncio.run(_make(postgres.create()))
    finally:
        postgres.remove()


async def _make(server_url: str) -> None:
    await build_template(server_url, "ringback")
    database = url_of(server_url, "ringback")
    pool = await open_pool(database, name="screenshots", size=2)
    await lived_in.fill(pool)
    await close_pool(pool)
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    async with browser.receiver(database) as address, browser.chromium() as chromium:
        for kind, (scheme, size) in KINDS.items():
            async with browser.visit(chromium, address, scheme=scheme, size=size) as visit:
                await _show(visit, kind)


async def _show(visit: Visit, kind: str) -> None:
    await visit.go("/login")
    await _keep(visit, f"login-{kind}")
    await visit.log_in()
    async for kind_of_page in visit.pages():
        await _keep(visit, f"{_name(kind_of_page)}-{kind}")


async def _keep(visit: Visit, name: str) -> None:
    # A picture that was drawn before a chart is would show none.
    await visit.page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    path = FOLDER / f"{name}.png"
    path.write_bytes(_small(await visit.page.screenshot()))
    print(f"{path.relative_to(FOLDER.parent.parent)}  {path.stat().st_size / 1024:.0f} kB")


def _name(kind_of_page: str) -> str:
    """Return `lookups-one` for /lookups/{id}, and `now` for /."""
    return re.sub(r"\{id\}", "one", kind_of_page).strip("/").replace("/", "-") or "now"


def _small(picture: bytes) -> bytes:
    """Return the same picture in few colours."""
    from PIL import Image  # of the extra `bench`, which `make screenshots` installs

    with Image.open(io.BytesIO(picture)) as image:
        few = image.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    kept = io.BytesIO()
    few.save(kept, "PNG", optimize=True)
    return kept.getvalue()


if __name__ == "__main__":
    main()
