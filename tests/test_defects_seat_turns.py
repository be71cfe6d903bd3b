"""A browser that is slow, or means harm, takes nobody else's turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from receiver.dashboard.desk import AT_ONCE
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
