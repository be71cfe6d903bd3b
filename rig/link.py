"""One connection through a proxy: it carries bytes both ways, as far as the weather allows."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from rig.weather import FAIR, Weather

CHUNK = 65_536  # bytes
SLOW_CHUNK, SLOW_PAUSE = 128, 0.02  # bytes, seconds: 6 kB a second
LAST_BYTES = 2.0  # seconds to deliver the last bytes written
# After a black hole neither side sees the other go; its kernel notices by keepalives.
KEEPALIVE = 12.0  # seconds


class Ear(Protocol):
    """A listener on one connection."""

    def asked(self, data: bytes) -> None:
        """Take bytes that the asker wrote, delivered or not."""

    def answered(self, data: bytes) -> None:
        """Take bytes that were delivered to the asker."""


@dataclass(slots=True)
class Sky:
    """The weather of a proxy, and the number of answers it cut off."""

    dice: random.Random
    weather: Weather = FAIR
    cut: int = 0  # answers that were not delivered
    talking: asyncio.Event = field(default_factory=asyncio.Event)  # set while the network is not silent

    def strikes(self) -> bool:
        """Draw whether this answer is cut off."""
        struck = self.weather.reset > 0 and self.dice.random() < self.weather.reset
        self.cut += struck
        return struck


class Link:
    """The two directions of one connection."""

    def __init__(self, sky: Sky, ear: Ear | None) -> None:
        self._sky = sky
        self._ear = ear
        self._dead = False

    async def carry(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Carry bytes both ways until one side has no more."""
        pumps = [asyncio.create_task(self._forth(near, far[1])), asyncio.create_task(self._back(far[0], near[1]))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if self._dead:
                await asyncio.wait(pumps, timeout=KEEPALIVE)
            else:
                with suppress(OSError):
                    async with asyncio.timeout(LAST_BYTES):
                        await asyncio.gather(near[1].drain(), far[1].drain())
        finally:
            for pump in pumps:
                pump.cancel()
            far[1].close()  # before any wait: this may be cancelled a second time
            near[1].close()
            await asyncio.wait(pumps)

    async def _forth(self, near: tuple[asyncio.StreamReader, asyncio.StreamWriter], sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await near[0].read(CHUNK):
                if self._ear:
                    self._ear.asked(data)
                if not self._swallows():
                    await self._write(sink, data)
                if self._sky.weather.unanswered and self._sky.weather.unanswered in data:
                    reset(near[1])

    async def _back(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                if self._swallows():
                    continue
                if self._sky.strikes():
                    reset(sink)
                    return
                await self._write(sink, data, self._ear)

    def _swallows(self) -> bool:
        self._dead = self._dead or self._sky.weather.black_hole
        return self._dead

    async def _write(self, sink: asyncio.StreamWriter, data: bytes, ear: Ear | None = None) -> None:
        await self._sky.talking.wait()
        size = SLOW_CHUNK if self._sky.weather.slow else len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            sink.write(piece)
            if ear:
                ear.answered(piece)
            await sink.drain()
            if self._sky.weather.slow:
                await asyncio.sleep(SLOW_PAUSE)


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with an RST."""
    connection = writer.get_extra_info("socket")
    # A connection that its kernel has given up has no socket; ValueError is uvloop's word for a closed one.
    with suppress(OSError, ValueError, AttributeError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
