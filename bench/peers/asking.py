"""The handler that every engine runs for a lookup: ask the vendor by aiohttp, read the answer, store the result row."""

from __future__ import annotations

from typing import Any

import aiohttp
import asyncpg

from submitter.transport import open_session

STORE = "INSERT INTO results (lookup_id, mobile, credits) VALUES ($1, $2, $3) ON CONFLICT (lookup_id) DO NOTHING"
HEADERS = {"X-API-Key": "key", "Accept": "application/json"}


class Asker:
    """One session and one pool of connections, as large as the engine may have questions at once."""

    def __init__(self, session: aiohttp.ClientSession, pool: asyncpg.Pool[Any], address: str) -> None:
        self._session = session
        self._pool = pool
        self._address = address

    async def ask(self, lookup_id: int) -> None:
        """Ask about the lookup, and commit the answer."""
        question = {"profile_url": f"linkedin.com/in/person-{lookup_id}", "work_email": f"person-{lookup_id}@acme.co"}
        async with self._session.post(self._address, json=question, headers=HEADERS) as response:
            answer = await response.json()
        await self._pool.execute(STORE, lookup_id, answer["mobile_number"], answer["credits_consumed"])


async def open_asker(url: str, address: str, callers: int) -> Asker:
    """Open an asker for as many callers at once."""
    session = open_session(limit=callers, timeout=30)
    pool = await asyncpg.create_pool(url, min_size=4, max_size=16)
    return Asker(session, pool, address)
