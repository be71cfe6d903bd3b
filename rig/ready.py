"""Wait until HTTP servers answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import aiohttp

LOOK_EVERY = 0.05  # seconds


async def until_answers(session: aiohttp.ClientSession, addresses: Iterable[str]) -> None:
    """Wait until a GET of each address has been answered with 200."""
    await asyncio.gather(*(_until_answers(session, address) for address in addresses))


async def _until_answers(session: aiohttp.ClientSession, address: str) -> None:
    while True:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(address) as response:
                if response.status == 200:
                    return
        await asyncio.sleep(LOOK_EVERY)
