"""python -m bench.flood PORT RATE SECONDS: POST so many callbacks a second with wrong tokens, and print what came back.

A stranger waits for no answer: each connection writes its next request when that is due. The requests are prebuilt and
the answers only counted, so that the core is the receiver's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import cycle, islice

import uvloop
from uuid_utils.compat import uuid7

from rig.ports import HOST

CONNECTIONS = 128
TICK = 0.002  # seconds between two writes
LAST_ANSWERS = 2.0  # seconds
NOT_FOUND = b"HTTP/1.1 404"
BODY = b'{"status": "completed", "request_id": "a1b2c3d4e5f6", "result": {"mobile": "+14155552671"}}'


class Stranger(asyncio.Protocol):
    """One connection, which counts the answers that say 404."""

    def __init__(self) -> None:
        self.refused = 0
        self._end = b""

    def data_received(self, data: bytes) -> None:
        """Count answers, also one whose first line came in two parts."""
        data = self._end + data
        self.refused += data.count(NOT_FOUND)
        self._end = data[1 - len(NOT_FOUND) :]


def _request() -> bytes:
    head = f"POST /callbacks/nyne/{uuid7()}/{'0f' * 32} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY


async def _run(port: int, rate: float, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(Stranger, HOST, port) for _ in range(CONNECTIONS)]
    due = cycle([(transport, _request()) for transport, _ in opened])
    sent = 0
    began = loop.time()
    while (passed := loop.time() - began) < seconds:
        for transport, request in islice(due, int(passed * rate) - sent):
            transport.write(request)
            sent += 1
        await asyncio.sleep(TICK)
    strangers = [stranger for _, stranger in opened]
    while sum(one.refused for one in strangers) < sent and loop.time() < began + seconds + LAST_ANSWERS:
        await asyncio.sleep(TICK)
    print(json.dumps({"sent": sent, "seconds": seconds, "refused": sum(one.refused for one in strangers)}))


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
