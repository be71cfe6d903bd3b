"""The process that plays the benchmark's vendor and answers at once; and the arrivals that it kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from rig.ports import HOST, free_port
from rig.processes import running


@asynccontextmanager
async def vendor(*options: str) -> AsyncIterator[int]:
    """Run `bench.stub` inside the block; yield its port."""
    port = free_port()
    async with running("bench.stub", str(port), *options, port=port):
        yield port


async def arrivals(port: int) -> list[tuple[float, str]]:
    """Return when each request arrived, by the clock of this machine, and its e-mail; the vendor forgets them."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/arrivals") as answer:
        return [(at, email) for at, email in json.loads(await answer.read())]
