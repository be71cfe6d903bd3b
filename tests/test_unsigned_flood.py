"""Strangers that name a signature and send large bodies, over real sockets, to a real process."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path

from pydantic import SecretStr

from enrichment.signatures import sign_webhook, webhook_key
from rig.machine import resident
from rig.ports import HOST, free_port
from rig.processes import running

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
MEBIBYTE = 1 << 20
STRANGERS = 60
GROWS = 35.0  # MB at most: 8 for strangers, as much as they have just been given up, and what Python keeps


def request(headers: dict[str, str], size: int, body: bytes) -> bytes:
    """Return an event of *size* bytes, or the beginning of one."""
    given = {"Host": "ringback.test", "Content-Type": "application/json", "Content-Length": str(size)} | headers
    return (
        "POST /events/generic HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in given.items()) + "\r\n"
    ).encode() + body


async def stall(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send an unsigned body of 1 MiB without its last byte."""
    reader, writer = await asyncio.open_connection(HOST, port)
    unsigned = {"webhook-id": "m", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
    writer.write(request(unsigned, MEBIBYTE, b"x" * (MEBIBYTE - 1)))
    await writer.drain()
    return reader, writer


async def status_of(port: int, sent: bytes) -> int:
    """Return the status of the answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(sent)
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    return int(line.split()[1])


async def test_unsigned_bodies_take_little_memory_and_genuine_ones_pass(database_url: str) -> None:
    """Sixty strangers with 1 MiB each hold eight of them; a signed event of 1 MiB is stored all the same."""
    port = free_port()
    settings = {
        "DATABASE_URL": database_url, "HOST": HOST, "PORT": str(port), "API_TOKENS": "token", "CALLBACK_KEYS": "key",
        "PUBLIC_URL": f"http://{HOST}:{port}", "EVENTS_SIGNING_SECRET": SECRET,
    }  # fmt: skip
    event = json.dumps({"event_id": "e", "work_email": "jane@acme.co", "note": "y" * (MEBIBYTE - 100)}).encode()
    async with running("receiver", port=port, settings=settings) as receiver:
        before = resident(receiver.pid)
        strangers = await asyncio.gather(*(stall(port) for _ in range(STRANGERS)))
        signed = sign_webhook("m", event, keys=[webhook_key(SecretStr(SECRET))], now=time.time())

        assert await status_of(port, request(signed, len(event), event)) == 202
        assert resident(receiver.pid) - before < GROWS
        for _, writer in strangers:
            writer.close()
        answers = [await reader.read() for reader, _ in strangers]
    refused = [answer for answer in answers if answer]
    assert {answer.partition(b"\r\n")[0] for answer in refused} == {b"HTTP/1.1 503 Service Unavailable"}
    assert STRANGERS - 8 <= len(refused) < STRANGERS


async def test_aborted_and_lying_uploads_give_their_room_back(tmp_path: Path) -> None:
    """Clients that reset, hang up in a chunk, announce too much or too little leave nothing held."""
    port = free_port()
    settings = {
        "DATABASE_URL": f"postgresql://nobody@/nothing?host={tmp_path}", "HOST": HOST, "PORT": str(port),
        "API_TOKENS": "token", "EVENTS_SIGNING_SECRET": SECRET,
    }  # fmt: skip
    unsigned = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    known = {"Authorization": "Bearer token"}
    opened = []
    async with running("receiver", port=port, settings=settings):
        for headers in (unsigned, known):
            chunked = headers | {"Transfer-Encoding": "chunked"}
            for sent in (
                request(headers, 900_000, b"x" * 400_000),
                request(headers, 10, b"x" * 400_000),
                request(headers, 2 * MEBIBYTE, b"x" * 400_000),
                request(chunked, 0, b"30000\r\n" + b"x" * 0x30000 + b"\r\n").replace(b"Content-Length: 0\r\n", b""),
                request(chunked, 0, b"30000\r\n" + b"x" * 100).replace(b"Content-Length: 0\r\n", b""),
            ):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.write(sent)
                opened.append(writer)
        # Of each kind of sender, three bodies are waited for.
        await until_held(port, 2 * (400_000 + 0x30000 + 100), 400_000 + 0x30000 + 100)
        for writer in opened:
            writer.transport.abort()
        await until_held(port, 0, 0)


async def until_held(port: int, known: int, unverified: int) -> None:
    """Wait until the process holds so many bytes of bodies, those of strangers included, and of strangers alone."""
    awaited = {'ringback_body_bytes{sender="any"}': known, 'ringback_body_bytes{sender="unverified"}': unverified}
    async with asyncio.timeout(5):
        while True:
            lines = (line.rpartition(" ") for line in (await metrics(port)).decode().splitlines())
            if awaited == {name: float(value) for name, _, value in lines if name in awaited}:
                return
            await asyncio.sleep(0.02)


async def metrics(port: int) -> bytes:
    """Return what /metrics says."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: ringback.test\r\nConnection: close\r\n\r\n")
    said = await reader.read()
    writer.close()
    return said
