"""Attackers that send more than any client needs: bodies, forged callbacks, pages, garbage."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from typing import Any

from chaos.attacks.probe import post
from rig.ports import HOST

MEBIBYTE = 1024 * 1024
UNSIGNED = 300  # bodies of a MiB at once
UNSIGNED_SECONDS = 8.0
DIFFERENT = 200  # bodies for one callback URL
LARGE = 250_000  # bytes, of each
CALLERS = 512
FLOOD_SECONDS = 6.0
FORGED_CONNECTIONS = 16
FORGED_AT_ONCE = 32  # pipelined, with every answer read


async def unsigned(port: int, _: str) -> dict[str, Any]:
    """Send bodies of a MiB that only carry the headers of a signature, and keep the last byte back."""
    now = int(time.time())
    headers = (f"webhook-id: msg_1\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,{'A' * 43}=",)
    whole = post("/events/generic", b"[" + b" " * (MEBIBYTE - 2) + b"]", *headers)

    async def one() -> bytes:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(UNSIGNED_SECONDS + 12):
                reader, writer = await asyncio.open_connection(HOST, port)
                with suppress(OSError):
                    writer.write(whole[:-1])
                    await writer.drain()
                await asyncio.sleep(UNSIGNED_SECONDS)
                with suppress(OSError):
                    writer.write(whole[-1:])
                status = await reader.readline()
                writer.close()
                return status.split(b" ")[1] if status else b"closed"
        return b"closed"

    return _counted(await asyncio.gather(*(one() for _ in range(UNSIGNED))))


async def different(port: int, path: str) -> dict[str, Any]:
    """Send 200 different bodies to the callback URL *path*."""

    async def one(number: int) -> bytes:
        body = b'{"status": "odd", "n": %d, "pad": "%s"}' % (number, os.urandom(LARGE // 2).hex().encode())
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(post(path, body))
        status = await reader.readline()
        writer.close()
        return status.split(b" ")[1] if status else b"closed"

    answers: list[bytes] = []
    for first in range(0, DIFFERENT, 20):
        answers += await asyncio.gather(*(one(first + number) for number in range(20)))
    return _counted(answers)


async def pages(port: int, path: str) -> dict[str, Any]:
    """GET *path* by 512 callers at once, again and again."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    until = time.monotonic() + FLOOD_SECONDS
    answered = await asyncio.gather(*(_again(port, request, 1, until) for _ in range(CALLERS)))
    return {"a_second": round(sum(answered) / FLOOD_SECONDS)}


async def forged(port: int, argument: str) -> dict[str, Any]:
    """Send *argument* forged callbacks a second, pipelined, and read each answer."""
    path = f"/callbacks/nyne/0195d2a0-0000-7000-8000-000000000000/{'0' * 64}"
    request = post(path, {"status": "completed", "result": {"mobile": "+14155550100"}})
    until = time.monotonic() + FLOOD_SECONDS
    pace = float(argument) / FORGED_CONNECTIONS
    answered = await asyncio.gather(
        *(_again(port, request, FORGED_AT_ONCE, until, pace) for _ in range(FORGED_CONNECTIONS))
    )
    return {"a_second": round(sum(answered) / FLOOD_SECONDS)}


async def garbage(port: int, _: str) -> dict[str, Any]:
    """Send what is no HTTP, and hang up in the middle of bodies, as fast as it goes."""
    sent, until = 0, time.monotonic() + FLOOD_SECONDS
    half = post("/events/generic", b"{}" * 50, "Authorization: Bearer token-of-the-attacked")[:-10]

    async def one(number: int) -> int:
        done = 0
        while time.monotonic() < until:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.write(half if number % 2 else b"\x16\x03\x01 no http at all\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.005)
                writer.transport.abort()
                done += 1
        return done

    sent = sum(await asyncio.gather(*(one(number) for number in range(32))))
    return {"a_second": round(sent / FLOOD_SECONDS)}


async def _again(port: int, request: bytes, at_once: int, until: float, pace: float | None = None) -> int:
    """Send *request* again and again, *at_once* together, and read the answers; return how many there were."""
    done, began = 0, time.monotonic()
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(HOST, port)
        while time.monotonic() < until:
            writer.write(request * at_once)
            for _ in range(at_once):
                await _answer(reader)
            done += at_once
            if pace is not None:
                await asyncio.sleep(max(0.0, began + done / pace - time.monotonic()))
        writer.close()
    return done


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))


def _counted(answers: list[bytes]) -> dict[str, Any]:
    return {answer.decode(): answers.count(answer) for answer in sorted(set(answers))}


HANDS = {
    "unsigned": unsigned, "different": different, "pages": pages, "forged": forged, "garbage": garbage,
}  # fmt: skip
