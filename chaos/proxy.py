"""A TCP proxy on loopback whose weather can be changed: refused, swallowed, cut off after the request, slow."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

HOST = "127.0.0.1"
CHUNK = 65_536  # bytes
# Below the range from which the kernel picks ports for outgoing connections: a port that is shut for a while, or
# whose process was killed, is still free when it is opened again.
PORTS = range(20_000, 32_000)
CONNECT_TIMEOUT = 2.0  # seconds
SLOW_CHUNK, SLOW_PAUSE = 128, 0.02  # bytes, seconds: 6 kB a second
# After a black hole nobody tells one side that the other has gone; its kernel finds out by keepalives.
KEEPALIVE = 12.0  # seconds


@dataclass(frozen=True, slots=True)
class Weather:
    """What befalls a network; the default is none of it."""

    refuse: bool = False  # connections are refused, and those that exist are cut
    black_hole: bool = False  # bytes are swallowed, both ways; a connection that lost some never lives again
    reset: float = 0.0  # this share of the answers is not delivered: the asker gets an RST instead
    slow: bool = False  # bytes trickle, both ways


FAIR = Weather()


def _together(all_at_once: Sequence[Weather]) -> Weather:
    return Weather(
        refuse=any(weather.refuse for weather in all_at_once),
        black_hole=any(weather.black_hole for weather in all_at_once),
        reset=max((weather.reset for weather in all_at_once), default=0.0),
        slow=any(weather.slow for weather in all_at_once),
    )


class Ear(Protocol):
    """Overhears one connection."""

    def asked(self, data: bytes) -> None:
        """Bytes that the asker wrote, delivered or not."""

    def answered(self, data: bytes) -> None:
        """Bytes that the asker was given."""


class Proxy:
    """Listens on *port* and carries each connection to one of *targets*, in turn."""

    def __init__(
        self, name: str, targets: Sequence[int], dice: random.Random, hear: Callable[[], Ear] | None = None
    ) -> None:
        """Nothing listens yet; *targets* are ports."""
        self.name = name
        self.port = free_port()
        self.weather = FAIR
        self.cut = 0  # answers that were not delivered
        self._befallen: list[Weather] = []
        self._targets = list(targets)
        self._turn = 0
        self._dice = dice
        self._hear = hear
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def open(self) -> None:
        """Connections are taken."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port, backlog=1024)

    async def close(self) -> None:
        """No connection is taken, and none is left."""
        if self._server is not None:
            self._server.close()
            self._server = None
        links = list(self._links)
        for link in links:
            link.cancel()
        if links:
            await asyncio.wait(links, timeout=CONNECT_TIMEOUT)

    @asynccontextmanager
    async def under(self, weather: Weather) -> AsyncIterator[None]:
        """Inside the block this befalls it, beside whatever else does."""
        self._befallen.append(weather)
        try:
            await self._change()
            yield
        finally:
            if weather in self._befallen:
                self._befallen.remove(weather)
            await self._change()

    async def clear_up(self) -> None:
        """The weather is fair, whatever it was."""
        self._befallen.clear()
        await self._change()

    async def _change(self) -> None:
        before, self.weather = self.weather, _together(self._befallen)
        if self.weather.refuse and not before.refuse:
            await self.close()
        elif before.refuse and not self.weather.refuse:
            await self.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = writer
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            reset(writer)
        finally:
            del self._links[task]
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = await self._connect()
        if far is None:
            reset(writer)
            return
        link = _Link(self, self._hear() if self._hear else None)
        pumps = [
            asyncio.create_task(link.forth(reader, far[1])),
            asyncio.create_task(link.back(far[0], writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if link.dead:
                await asyncio.wait(pumps, timeout=KEEPALIVE)
            else:
                with suppress(OSError):  # what was written last still arrives
                    async with asyncio.timeout(CONNECT_TIMEOUT):
                        await asyncio.gather(writer.drain(), far[1].drain())
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
            far[1].close()
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._targets:
            self._turn = (self._turn + 1) % len(self._targets)
            with suppress(OSError):
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    return await asyncio.open_connection(HOST, self._targets[self._turn])
        return None

    def strikes(self) -> bool:
        """Whether this answer is cut off."""
        struck = self.weather.reset > 0 and self._dice.random() < self.weather.reset
        self.cut += struck
        return struck


class _Link:
    """One connection through a proxy."""

    def __init__(self, proxy: Proxy, ear: Ear | None) -> None:
        self.dead = False
        self._proxy = proxy
        self._ear = ear

    async def forth(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """What the asker writes is carried to the other side, until it has no more."""
        with suppress(OSError):
            while data := await source.read(CHUNK):
                if self._ear:
                    self._ear.asked(data)
                if not self._swallowed():
                    await self._write(sink, data)

    async def back(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """What the other side writes is carried to the asker, until it has no more, or an RST takes its place."""
        with suppress(OSError):
            while data := await source.read(CHUNK):
                if self._swallowed():
                    continue
                if self._proxy.strikes():
                    reset(sink)
                    return
                await self._write(sink, data, self._ear)

    def _swallowed(self) -> bool:
        self.dead = self.dead or self._proxy.weather.black_hole
        return self.dead

    async def _write(self, sink: asyncio.StreamWriter, data: bytes, ear: Ear | None = None) -> None:
        size = SLOW_CHUNK if self._proxy.weather.slow else len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            sink.write(piece)
            if ear:
                ear.answered(piece)
            await sink.drain()
            if self._proxy.weather.slow:
                await asyncio.sleep(SLOW_PAUSE)


def reset(writer: asyncio.StreamWriter) -> None:
    """The connection ends with an RST."""
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


_taken: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, never given out before."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        if port in _taken:
            continue
        with suppress(OSError), socket.create_server((HOST, port)):
            _taken.add(port)
            return port
