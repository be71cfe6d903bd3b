"""The pretend vendors: clients that set their faults and read their books."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Json = dict[str, Any]
PAGE = 5000  # entries
PATIENCE = aiohttp.ClientTimeout(total=20)


class Vendor:
    """A client of one vendor's admin, past every proxy."""

    def __init__(self, name: str, port: int) -> None:
        """Start without faults."""
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._session: aiohttp.ClientSession | None = None
        self._wrong: list[Mapping[str, Any]] = []

    @contextmanager
    def suffering(self, faults: Mapping[str, Any]) -> Iterator[None]:
        """Add these faults to the others inside the block; `tell` sends them."""
        self._wrong.append(faults)
        try:
            yield
        finally:
            self._wrong.remove(faults)

    async def tell(self) -> None:
        """Send the vendor the faults that are in force now."""
        merged: Json = {}
        for faults in self._wrong:
            merged |= faults
        async with self._open().post(f"{self.url}/sandbox/faults", json=merged) as response:
            response.raise_for_status()

    async def heal(self) -> None:
        """End all of its faults."""
        self._wrong.clear()
        await self.tell()

    async def stats(self) -> Json:
        """Return its counts."""
        return await self._get("stats")

    async def books(self) -> Books:
        """Return everything that it has on record."""
        charges, requests, callbacks = [await self._all(page) for page in ("ledger", "requests", "callbacks")]
        return Books(charges, requests, callbacks, await self.stats())

    async def truth(self, identifiers: Mapping[str, str]) -> Json:
        """Return what it knows about a person."""
        return await self._get("truth", **identifiers)

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def _all(self, page: str) -> list[Json]:
        entries: list[Json] = []
        after: int | None = 0
        while after is not None:
            answer = await self._get(page, after=str(after), limit=str(PAGE))
            entries += answer["entries"]
            after = answer["next"]
        return entries

    async def _get(self, page: str, **query: str) -> Json:
        async with self._open().get(f"{self.url}/sandbox/{page}", params=query) as response:
            response.raise_for_status()
            answer: Json = await response.json()
            return answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=PATIENCE)
        return self._session


@dataclass(frozen=True, slots=True)
class Books:
    """One vendor's own records: its charges, the questions it got, and its callbacks."""

    charges: list[Json] = field(default_factory=list)
    requests: list[Json] = field(default_factory=list)
    callbacks: list[Json] = field(default_factory=list)
    stats: Json = field(default_factory=dict)
