"""python -m bench.bare URL CALLERS SECONDS: a bare aiohttp loop, which asks, reads the answer and keeps nothing.

No single process can ask more: it has the submitter's own session, the same questions, the same number at once.
It prints the questions per second, and the microseconds of a core that each took.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

import aiohttp
import uvloop

from submitter.transport import open_session

HEADERS = {"X-API-Key": "key", "Accept": "application/json"}


async def _ask(session: aiohttp.ClientSession, url: str, numbers: itertools.count[int], until: float) -> None:
    while time.perf_counter() < until:
        number = next(numbers)
        question = {"profile_url": f"linkedin.com/in/person-{number}", "work_email": f"person-{number}@acme.co"}
        async with session.request("POST", url, json=question, headers=HEADERS, allow_redirects=False) as response:
            await response.json()


async def _run(url: str, callers: int, seconds: float) -> None:
    numbers = itertools.count()
    async with open_session(limit=callers, timeout=30) as session:
        began, worked = time.perf_counter(), time.process_time()
        await asyncio.gather(*(_ask(session, url, numbers, began + seconds) for _ in range(callers)))
        asked = next(numbers)
        print(asked / (time.perf_counter() - began), 1e6 * (time.process_time() - worked) / asked)


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
