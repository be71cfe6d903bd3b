"""HTTP as the vendors speak it: requests read whole; answers given whole, late, cut, or byte by byte."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from starlette.types import Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]
Ending = Literal["whole", "cut", "reset", "trickle", "torn"]

JSON = b"application/json"
HTML = b"text/html; charset=utf-8"
FOR_EVER = 86_400.0  # no client waits longer
TRICKLE_PAUSE = 0.02  # seconds between two bytes of a slow answer
GATEWAY_PAGE = b"<html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>"

encode = json.JSONEncoder(separators=(",", ":")).encode


class Asked(NamedTuple):
    """A request, read to its end."""

    headers: dict[bytes, bytes]
    query: bytes
    body: bytes


@dataclass(slots=True)
class Answer:
    """A vendor's answer to a request.

    *wait* seconds pass first and *before* is awaited; *ending* says how much of the answer leaves.
    *credits* and *reference* are for the ledger.
    """

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)
    media_type: bytes = JSON
    wait: float = 0.0
    ending: Ending = "whole"
    credits: float = 0
    reference: str = ""
    before: Coroutine[Any, Any, None] | None = None

    @property
    def leaves(self) -> bool:
        """Tell whether any of it is sent."""
        return self.ending in {"whole", "trickle", "torn"}


async def read(scope: Scope, receive: Receive) -> Asked:
    """Read the request with its whole body."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return Asked(dict(scope["headers"]), scope["query_string"], body)


async def deliver(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer the way it says, unless the client goes first."""
    if answer.wait and not await _client_stays(receive, answer.wait):
        return
    if not answer.leaves:
        await _cut(scope, receive, reset=answer.ending == "reset")
        return
    headers = [
        (b"content-type", answer.media_type),
        (b"content-length", b"%d" % len(answer.body)),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.ending == "trickle":
        for position in range(len(answer.body)):
            await send(
                {
                    "type": "http.response.body",
                    "body": answer.body[position : position + 1],
                    "more_body": True,
                }
            )
            await asyncio.sleep(TRICKLE_PAUSE)
        await send({"type": "http.response.body", "body": b""})
    elif answer.ending == "torn":
        await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
        await _tear(scope)
    else:
        await send({"type": "http.response.body", "body": answer.body})


async def _tear(scope: Scope) -> None:
    """Close the connection once what was sent has left."""
    transport: asyncio.Transport = scope["state"]["transport"]
    transport.close()


async def _client_stays(receive: Receive, seconds: float) -> bool:
    """Tell whether the client is still there after *seconds*."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return True
    return False


async def _cut(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """Close the connection without a byte of an answer: cleanly, or by RST where *reset*."""
    transport: asyncio.Transport = scope["state"]["transport"]
    if reset:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
