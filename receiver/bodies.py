"""Read request bodies completely, within a size and a time limit."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from receiver.problems import Problem, too_large

MOST_OF_AN_EVENT = 1024 * 1024  # bytes
MOST_OF_A_CALLBACK = 256 * 1024  # bytes
SLOWEST = 10.0  # seconds; uvicorn itself would wait for ever


async def read_body(request: Request, most: int) -> bytes:
    """Read the whole body, exactly as it was sent.

    Raise Problem: 413 over *most* bytes, 408 after SLOWEST seconds; or ClientDisconnect when the client is gone.
    Starlette's own limit would answer in plain text.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 19 or int(declared) > most):
        raise too_large(most)
    reading = _read(request.receive, most)
    try:
        waiting_for = reading.send(None)
    except StopIteration as done:  # the server had the whole body already, as usual: no timer was needed
        body: bytes = done.value
        return body
    try:
        async with asyncio.timeout(SLOWEST):
            return await _go_on(reading, waiting_for)
    except TimeoutError:
        raise Problem(
            408, f"The body did not arrive within {SLOWEST:.0f} seconds.", headers={"Connection": "close"}
        ) from None


async def _read(receive: Receive, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise too_large(most)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


@types.coroutine
def _go_on(reading: Coroutine[Any, Any, bytes], waiting_for: Any) -> Generator[Any, Any, bytes]:
    """Finish a coroutine that has made its first step and now waits for *waiting_for*."""
    while True:
        try:
            yield waiting_for
        except BaseException as error:  # noqa: BLE001  cancelled: it is the coroutine that has to hear of it
            waiting_for = reading.throw(error)
        else:
            body: bytes = yield from reading
            return body
