"""A browser that is slow, or means harm, takes nobody else's turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from receiver.dashboard.desk import AT_ONCE
from receiver.dashboard.live import Live
from receiver.dashboard.rendering import AT_ONCE as MADE_AT_ONCE
from receiver.dashboard.rendering import Page
from tests.seat import FORM, OURS, Seat, seated

if TYPE_CHECKING:
    from starlette.types import Message

    from tests.asgi import Client


async def test_forms_that_do_not_arrive_hold_up_no_page(client: Client) -> None:
    """Several browsers have sent the head of a form, and send no more; a page is made meanwhile."""
    seat = await seated(client)
    asked = asyncio.Queue[None]()

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        async def never() -> Message:
            asked.put_nowait(None)
            await asyncio.Event().wait()
            raise AssertionError

        await client.app(scope, never, send)  # type: ignore[arg-type]

    slow = Seat(app, seat.headers)  # type: ignore[arg-type]
    forms = [asyncio.create_task(slow.send("POST", "/lookups", b"", OURS | {"content-type": FORM}))
             for _ in range(AT_ONCE)]  # fmt: skip
    for _ in forms:
        await asyncio.wait_for(asked.get(), 5)

    async with asyncio.timeout(5):
        assert "<h1" in await seat.page("/suppressions")

    for form in forms:
        form.cancel()
    await asyncio.wait(forms)


async def test_others_have_their_turn_while_a_long_page_is_made() -> None:
    """The event loop turns between the pieces of a page, which takes as long as it takes."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    seen: list[int] = []

    def pieces() -> Iterator[str]:
        for _ in range(10):
            until = time.perf_counter() + MADE_AT_ONCE
            while time.perf_counter() <= until:
                pass
            seen.append(turns)
            yield "x"

    page, task = Page(pieces(), 200), asyncio.create_task(other())
    await page.make()
    task.cancel()

    assert page.body == b"x" * 10
    assert page.headers["content-length"] == "10"
    assert seen == sorted(set(seen))


async def test_what_happens_is_written_once_for_all_who_follow_it(client: Client) -> None:
    """A hundred streams of visitors with the same scopes send one event; others see what they may see."""
    app: Any = client.app
    (route,) = [route for route in app.routes if getattr(route, "path", "") == "/live"]
    live: Live = route.endpoint.__wrapped__.__self__

    first, second = [await live._part(frozenset({"read"})) for _ in range(2)]
    operator = await live._part(frozenset({"read", "operate"}))

    assert first is second
    assert b"Stop all paid questions" not in first
    assert b"Stop all paid questions" in operator
