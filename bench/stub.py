"""A vendor that answers at once: LeadMagic's answer to any POST, and nothing else. Raw asyncio, a process of its own.

python -m bench.stub PORT [--delay SECONDS] keeps the time and the e-mail of each request for GET /arrivals.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from typing import cast

import uvloop

ANSWER = json.dumps({
    "profile_url": "linkedin.com/in/somebody", "mobile_number": "+14155552671", "credits_consumed": 5,
    "message": "Mobile number found",
}).encode()  # fmt: skip
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_EMAIL = re.compile(rb'"work_email": *"([^"]*)"')


class Vendor(asyncio.Protocol):
    """One connection: keep-alive, one request at a time."""

    arrivals: list[tuple[float, str]] = []  # noqa: RUF012  of the process: there is one vendor in it
    keeps = False
    delay = 0.0

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, head)
            whole = head + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            request, self._buffer = self._buffer[:whole], self._buffer[whole:]
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        if request.startswith(b"GET /arrivals"):
            self._write(json.dumps(Vendor.arrivals).encode())
            Vendor.arrivals = []
            return
        if Vendor.keeps:
            email = _EMAIL.search(request)
            Vendor.arrivals.append((time.time(), email[1].decode() if email else ""))
        if Vendor.delay:
            asyncio.get_running_loop().call_later(Vendor.delay, self._write, ANSWER)
        else:
            self._write(ANSWER)

    def _write(self, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            self._transport.write(head + body)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--delay", type=float, default=0.0)
    given = parser.parse_args()
    Vendor.keeps, Vendor.delay = given.keep, given.delay
    uvloop.run(_serve(given.port))


if __name__ == "__main__":
    main()
