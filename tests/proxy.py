"""A TCP proxy in front of PostgreSQL that can be cut and mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit


class Proxy:
    """Passes bytes on, until it is cut; then nobody gets through, and who was connected is cut off."""

    def __init__(self, database_url: str) -> None:
        self._target = urlsplit(database_url)
        self._open: set[asyncio.StreamWriter] = set()
        self._whole = True
        self.knocked = asyncio.Event()  # somebody has tried to connect since this was cleared
        self.url = ""
        self.loses_commits = False  # PostgreSQL commits, and whoever asked for it is cut off before the answer

    def cut(self) -> None:
        """The database is away from now on."""
        self._whole = False
        self.knocked.clear()
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        """The database is back."""
        self._whole = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.knocked.set()
        if not self._whole:
            writer.transport.abort()
            return
        there_reader, there_writer = await self._connect()
        self._open |= {writer, there_writer}
        if not self._whole:  # cut while it was connecting: it must not be the one that gets through
            writer.transport.abort()
            there_writer.transport.abort()
        with suppress(ConnectionError):
            await asyncio.gather(self._pass_requests(reader, there_writer, writer), _pass_on(there_reader, writer))
        self._open -= {writer, there_writer}

    async def _pass_requests(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if self.loses_commits and b"COMMIT" in data:
                    back.transport.abort()
                there.write(data)
                await there.drain()
        finally:
            there.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if folder := parse_qs(self._target.query).get("host"):
            return await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.{self._target.port or 5432}")
        return await asyncio.open_connection(self._target.hostname, self._target.port or 5432)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def proxied(database_url: str) -> AsyncIterator[Proxy]:
    """Inside the block the database at *database_url* is reached through `proxy.url`, too."""
    proxy = Proxy(database_url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    given = urlsplit(database_url)
    user = f"{given.username or 'postgres'}:{given.password or ''}"
    proxy.url = given._replace(netloc=f"{user}@127.0.0.1:{port}", query="sslmode=disable").geturl()
    try:
        yield proxy
    finally:
        proxy.cut()
        server.close()
