"""The address of a callback is a secret: it is in no log, no metric and no answer, whatever is sent to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import aiohttp

from tests.called_back import found, path_for
from tests.factories import job
from tests.test_health import PATIENCE, ended, receiving

if TYPE_CHECKING:
    from tests.wishes import Pool

FORGED = "f0e1d2c3" * 8  # of the right length
LONGEST = "a1b2" * 2000


async def answer_to(url: str, sent: bytes) -> bytes:
    """Everything that the receiver answers to these bytes, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(sent)
    answer = b""
    with suppress(ConnectionError):  # a body that was not read
        async with asyncio.timeout(PATIENCE):
            while piece := await reader.read(65_536):
                answer += piece
        writer.close()
        await writer.wait_closed()
    return answer


def request(method: str, path: str, body: bytes = b"{}", head: str = "") -> bytes:
    """A request for this target, after which the connection is closed."""
    lines = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    return lines.encode("latin-1") + body


async def test_a_callback_s_address_is_seen_nowhere(database_url: str, pool: Pool) -> None:
    """Genuine, again, forged, malformed, by other methods, too long, broken off, while debugging: not once."""
    rows = [await job(pool, "awaiting") for _ in range(2)]
    good, other = (path_for(row["id"]) for row in rows)
    tokens = [path.rpartition("/")[2] for path in (good, other)]
    body = json.dumps(found(rows[0]["request_id"])).encode()
    stem = good.rpartition("/")[0]
    sent = [
        request("POST", good, body), request("POST", good, body), request("POST", f"//{good}//", b"no JSON \xff"),
        request("POST", f"{good}?x={tokens[0]}", b"[" * 5000), request("POST", other, b"x" * 300_000),
        request("POST", other, head="Content-Encoding: gzip\r\n"),
        *(request(method, other) for method in ("GET", "HEAD", "PUT", "OPTIONS", "BREW")),
        request("POST", f"{stem}/{FORGED}"), request("POST", f"{stem}/{LONGEST}"), request("POST", f"{other}%00%ff"),
        request("POST", f"{other}/{tokens[1]}"), request("POST", f"/callbacks/{tokens[1]}/x/y"),
        request("POST", f"/callbacks/nyne/{uuid4()}/{tokens[1]}"), request("GET", f"/v1/{tokens[1]}"),
        request("POST", f"http://x{other}"), request("POST", f"{other} \x01"), request("POST", f"{other}\xe9"),
        f"POST {other} HTTP/9.9\r\n\r\n".encode(), f"POST {other} HTTP/1.1\r\nno header\r\n\r\n".encode(),
        f"POST {other} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n".encode(),
    ]  # fmt: skip
    async with receiving(database_url, LOG_LEVEL="debug") as receiver:
        answers = [await answer_to(receiver.url, one) for one in sent]
        _, writer = await asyncio.open_connection("127.0.0.1", int(receiver.url.rpartition(":")[2]))
        writer.write(f"POST {other} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with aiohttp.ClientSession(receiver.url) as session, session.get("/metrics") as shown:
            metrics = await shown.text()
        os.kill(receiver.process.pid, signal.SIGINT)
        assert await ended(receiver.process) == 0
        log = await receiver.log()

    assert [answer[9:12] for answer in answers[:4]] == [b"200"] * 4
    assert answers[4].startswith(b"HTTP/1.1 413")
    assert '"callbacks"' in log
    assert 'route="/callbacks/{provider}/{job_id}/{token}",status="200"' in metrics
    for secret in (*tokens, FORGED, LONGEST[:64]):
        for seen in (log, metrics, *(answer.decode("latin-1") for answer in answers)):
            assert secret not in seen
