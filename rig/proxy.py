"""A TCP proxy on this machine whose weather can be changed."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rig.link import Ear, Link, Sky, reset
from rig.ports import HOST, free_port
from rig.weather import FAIR, Weather, together

CONNECT_TIMEOUT = 2.0  # seconds

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Target = int | str | tuple[str, int]  # a port of this machine, the path of a UNIX socket, or host and port


class Proxy:
    """A proxy that listens on *port* and carries each connection to one of *targets*, in turn."""

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        dice: random.Random | None = None,
        hear: Callable[[], Ear] | None = None,
    ) -> None:
        """Prepare the proxy. *dice* draw the answers that are cut off; *hear* gives each connection its ear."""
        self.port = free_port()
        self.knocked = asyncio.Event()  # set when a connection is tried; the user clears it
        self._sky = Sky(dice or random.Random())  # noqa: S311  nothing secret is drawn
        self._sky.talking.set()
        self._befalling: list[Weather] = []
        self._targets = list(targets)
        self._turn = 0
        self._hear = hear
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    @property
    def weather(self) -> Weather:
        """Return the weather now."""
        return self._sky.weather

    @property
    def cut_answers(self) -> int:
        """Count the answers that were not delivered."""
        return self._sky.cut

    async def open(self, listener: socket.socket | None = None) -> None:
        """Take connections, on *listener* where one is given."""
        if listener is None:
            self._server = await asyncio.start_server(self._take, HOST, self.port, backlog=1024)
        else:
            self._server = await asyncio.start_server(self._take, sock=listener)

    async def close(self) -> None:
        """Take no more connections, and cut the existing ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        links = dict(self._links)
        for link, writer in links.items():
            link.cancel()
            reset(writer)  # a link that has not begun yet cannot do it
        if links:
            await asyncio.wait(links, timeout=CONNECT_TIMEOUT)

    @asynccontextmanager
    async def under(self, weather: Weather) -> AsyncIterator[None]:
        """Add *weather* to the present one inside the block."""
        self._befalling.append(weather)
        try:
            await self._change()
            yield
        finally:
            if weather in self._befalling:
                self._befalling.remove(weather)
            await self._change()

    async def clear_up(self) -> None:
        """Make the weather fair, whatever it was."""
        self._befalling.clear()
        await self._change()

    def cut(self) -> None:
        """Cut every connection from now on: the existing ones, and new ones at once."""
        self.knocked.clear()
        self._set(Weather(cut=True))
        for writer in list(self._links.values()):
            writer.transport.abort()

    def fall_silent(self) -> None:
        """Hold back all bytes from now on; connections stay open."""
        self._set(Weather(silent=True))

    def lose_answers_to(self, words: bytes) -> None:
        """Deliver from now on requests that contain *words*, and reset their connections."""
        self._set(Weather(unanswered=words))

    def mend(self) -> None:
        """Undo `cut`, `fall_silent` and `lose_answers_to`."""
        self._set(FAIR)

    async def _change(self) -> None:
        before = self.weather
        self._set(together(self._befalling))
        if self.weather.refuse and not before.refuse:
            await self.close()
        elif before.refuse and not self.weather.refuse:
            await self.open()

    def _set(self, weather: Weather) -> None:
        self._sky.weather = weather
        if weather.silent:
            self._sky.talking.clear()
        else:
            self._sky.talking.set()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            reset(writer)
            return
        link = asyncio.create_task(self._serve(reader, writer))
        self._links[link] = writer
        link.add_done_callback(self._links.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.knocked.set()
        try:
            await self._carry((reader, writer))
        except (OSError, asyncio.CancelledError):
            reset(writer)
        finally:
            writer.transport.abort()

    async def _carry(self, near: Streams) -> None:
        await self._sky.talking.wait()
        far = None if self.weather.cut else await self._connect()
        if far is None:
            reset(near[1])
        elif self.weather.cut:  # cut while it was connecting: it must not get through
            reset(near[1])
            far[1].transport.abort()
        else:
            await Link(self._sky, self._hear() if self._hear else None).carry(near, far)

    async def _connect(self) -> Streams | None:
        for _ in self._targets:
            self._turn = (self._turn + 1) % len(self._targets)
            with suppress(OSError):
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    return await _open(self._targets[self._turn])
        return None


async def _open(target: Target) -> Streams:
    match target:
        case int():
            return await asyncio.open_connection(HOST, target)
        case str():
            return await asyncio.open_unix_connection(target)
        case (host, port):
            return await asyncio.open_connection(host, port)


def database_target(url: str) -> Target:
    """Return where the PostgreSQL of *url* listens."""
    parts = urlsplit(url)
    port = parts.port or 5432
    if folder := parse_qs(parts.query).get("host"):
        return f"{folder[0]}/.s.PGSQL.{port}"
    return parts.hostname or HOST, port


def through(url: str, host: str, port: int) -> str:
    """Return the URL of the same database, reached at another address."""
    parts = urlsplit(url)
    user = f"{parts.username or 'postgres'}:{parts.password or ''}"
    return parts._replace(netloc=f"{user}@{host}:{port}", query="sslmode=disable").geturl()


class DatabaseProxy(Proxy):
    """A proxy in front of PostgreSQL; *url* leads to the same database through it."""

    def __init__(self, database_url: str) -> None:
        super().__init__([database_target(database_url)])
        self.url = through(database_url, HOST, self.port)


@asynccontextmanager
async def proxied(database_url: str) -> AsyncIterator[DatabaseProxy]:
    """Put a proxy in front of the database inside the block."""
    proxy = DatabaseProxy(database_url)
    await proxy.open()
    try:
        yield proxy
    finally:
        proxy.mend()
        await proxy.close()
