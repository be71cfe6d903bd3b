"""Attackers that bend the protocol: they send what no client sends, or do not read, or say nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from typing import Any

from rig.ports import HOST

SMALL = b"GET /v1/lookups HTTP/1.1\r\nHost: x\r\n\r\n"
PIPELINED = 22 * 1024 * 1024  # bytes, over all sockets
PIPELINING_SECONDS = 12.0
ENDLESS = 64 * 1024 * 1024  # bytes, until we give up
ENDLESS_SECONDS = 20.0
PIECE = 64 * 1024
IDLE_SOCKETS = 2000
UNREAD = 40  # answers of 100 KB and more that are asked for and not read


async def pipelining(_port: int, argument: str) -> dict[str, Any]:
    """Pipeline requests on *argument* sockets, and read no answer."""
    sockets = int(argument or 40)
    share = SMALL * (PIPELINED // sockets // len(SMALL))
    sent = await asyncio.gather(*(_pipe(_port, share) for _ in range(sockets)))
    return {"sockets": sockets, "sent_mb": round(sum(sent) / 1e6, 1)}


async def _pipe(port: int, share: bytes) -> int:
    """Write as much of *share* as is taken, reading nothing."""
    loop = asyncio.get_running_loop()
    sent, until = 0, time.monotonic() + PIPELINING_SECONDS
    with socket.socket() as one:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(one, (HOST, port))
        with suppress(OSError):
            while sent < len(share) and time.monotonic() < until:
                try:
                    sent += one.send(share[sent : sent + PIECE])
                except BlockingIOError:
                    await asyncio.sleep(0.05)
        await asyncio.sleep(max(0.0, until - time.monotonic()))
    return sent


async def endless(port: int, argument: str) -> dict[str, Any]:
    """Send a head that never ends, of the kind *argument*."""
    start, piece = {
        "headers": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"x-a: b\r\n" * 8192),
        "value": (b"GET / HTTP/1.1\r\nHost: x\r\nx-a: ", b"a" * PIECE),
        "url": (b"GET /", b"a" * PIECE),
        "trailers": (
            b"POST /events/generic HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
            b"x-a: b\r\n" * 8192,
        ),
    }[argument]
    reader, writer = await asyncio.open_connection(HOST, port)
    sent, status, until = 0, b"", time.monotonic() + ENDLESS_SECONDS
    with suppress(OSError, TimeoutError):
        writer.write(start)
        async with asyncio.timeout(ENDLESS_SECONDS):
            while sent < ENDLESS and time.monotonic() < until and not writer.is_closing():
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
                await asyncio.sleep(0)
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(2.0):
            status = await reader.readline()
    writer.close()
    return {"sent_kb": sent // 1024, "answer": status.decode(errors="replace").strip()}


async def upgrade(port: int, argument: str) -> dict[str, Any]:
    """Send a request whose head asks for an upgrade, its body in the same packet or, with *argument* `later`, after it.

    The body is a request itself. *argument* is `path when`.
    """
    path, when = argument.split(" ")
    body = b'POST /events/generic HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n{"status": "completed"}'
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        f"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection(HOST, port)
    if when == "later":
        writer.write(head)
        await asyncio.sleep(0.3)
        writer.write(body)
    else:
        writer.write(head + body)
    answers = b""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(2.0):
            while piece := await reader.read(PIECE):
                answers += piece
    writer.close()
    lines = [line.decode() for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return {"answers": lines, "body": len(body)}


async def idle(port: int, argument: str) -> dict[str, Any]:
    """Open 2,000 sockets for *argument* seconds: a third silent, a third with half a head, a third unread."""
    lines = [b"", b"GET / HTTP/1.1\r\nHost:", b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * UNREAD]
    opened: list[socket.socket] = []
    for number in range(IDLE_SOCKETS):
        with suppress(OSError):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect((HOST, port))
            one.sendall(lines[number % 3])
            opened.append(one)
    await asyncio.sleep(float(argument))
    for one in opened:
        one.close()
    return {"opened": len(opened)}


HANDS = {"pipelining": pipelining, "endless": endless, "upgrade": upgrade, "idle": idle}
