"""Bodies: read whole, within a size and a time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from receiver.problems import Problem

MOST_OF_AN_EVENT = 1024 * 1024  # bytes
MOST_OF_A_CALLBACK = 256 * 1024  # bytes
SLOWEST = 10.0  # seconds; uvicorn itself would wait for ever


async def read_body(request: Request, most: int) -> bytes:
    """The whole body.  Raises Problem (413, 408), or ClientDisconnect when the rest will never come.

    Starlette's own limit answers in plain text, and ours has to count anyway.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(SLOWEST):
            return await _read(request, most)
    except TimeoutError:
        raise Problem(
            408, f"The body did not arrive within {SLOWEST:.0f} seconds.", headers={"Connection": "close"}
        ) from None


def require_json(request: Request) -> None:
    """The body says that it is JSON.  Raises Problem (415)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Problem(
            415,
            "The body must be JSON: send it with Content-Type: application/json. "
            "(Zapier and Make send forms unless told otherwise: choose JSON as the payload type.)",
        )


async def _read(request: Request, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(most: int) -> Problem:
    return Problem(413, f"The body may have at most {most:,} bytes.")
