"""Read request bodies completely, within a size and a time limit, and while the process has room for them."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from receiver.encodings import json_text
from receiver.problems import Problem, too_large
from receiver.room import Hold, no_room

MOST_OF_AN_EVENT = 1024 * 1024  # bytes
MOST_OF_A_CALLBACK = 256 * 1024  # bytes
SLOWEST = 10.0  # seconds; uvicorn itself would wait for ever


async def read_body(request: Request, most: int) -> bytes:
    """Read the whole body of a sender that is known by its token or address, exactly as it was sent.

    Raise Problem: 413 over *most* bytes, 408 after SLOWEST seconds, 503 if there is no room; or ClientDisconnect when
    the client is gone. Starlette's own limit would answer in plain text.
    """
    believe(request)
    return await read_unverified(request, most)


async def read_unverified(request: Request, most: int) -> bytes:
    """Read the whole body of a stranger, as `read_body` does, in the room for strangers."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 19 or int(declared) > most):
        raise too_large(most)
    hold: Hold = request.scope["hold"]
    reading = _read(request.receive, hold, most)
    try:
        waiting_for = reading.send(None)
    except StopIteration as done:  # the server had the whole body already, as usual: no timer was needed
        body: bytes = done.value
        return body
    try:
        async with asyncio.timeout(SLOWEST) as timeout:
            hold.begin(timeout)
            return await _go_on(reading, waiting_for)
    except TimeoutError:
        raise no_room() if hold.evicted else _too_slow() from None
    finally:
        hold.end()


def believe(request: Request) -> None:
    """Note that the sender of the request is verified."""
    hold: Hold = request.scope["hold"]
    hold.verify()


def json_of(request: Request, body: bytes, most: int) -> bytes:
    """Decode the body of a verified sender as `json_text` does, and hold the decoded one as well."""
    text = json_text(request.headers, body, most)
    if text is not body:
        hold: Hold = request.scope["hold"]
        hold.take(len(text))
    return text


async def _read(receive: Receive, hold: Hold, most: int) -> bytes:
    body = bytearray()  # not a list: a sender of tiny packets would make an object of each
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk: bytes = message.get("body", b"")
            if len(body) + len(chunk) > most:
                raise too_large(most)
            hold.take(len(chunk))
            if not message.get("more_body", False):
                return bytes(body + chunk) if body else chunk
            body += chunk
    finally:
        body.clear()  # at once: an error keeps this frame until it is answered


def _too_slow() -> Problem:
    return Problem(408, f"The body did not arrive within {SLOWEST:.0f} seconds.", headers={"Connection": "close"})


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
