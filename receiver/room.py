"""The room for bodies: the bytes that all requests of the process may hold together, and strangers among them.

A signature can be checked only when the body is there, so any client that names a signature may send one. Those bodies
share a small room until they are verified; senders with a token or a callback address have all of it. Room is taken as
bytes arrive, never as they are announced, and given back when the request ends.

When there is none left, the bodies that are still arriving make room, the costliest first: bytes held times seconds. So
slow or large strangers go before a genuine sender, whose body arrives within milliseconds.
"""

from __future__ import annotations

import asyncio
import math

from receiver.problems import RETRY_AFTER, Problem

MEBIBYTE = 1 << 20
MOST_BODY_BYTES_IN_FLIGHT = 64 * MEBIBYTE
MOST_UNVERIFIED_BYTES = 8 * MEBIBYTE  # of these
CLEARED = 1 / 8  # of the room, at a time: the search for the costliest looks at every body that is arriving


class Share:
    """A number of bytes, and the bodies that share them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self.arriving: set[Hold] = set()

    def clear(self, size: int) -> None:
        """Make room for *size* bytes. Raise Problem (503) when bodies that have arrived take it all."""
        if self.held + size <= self.most:
            return
        now = asyncio.get_running_loop().time()
        for hold in sorted(self.arriving, key=lambda hold: hold.cost(now), reverse=True):
            hold.evict()
            if self.held + size <= self.most * (1 - CLEARED):
                return
        if self.held + size > self.most:
            raise no_room()


class Room:
    """The room of one process."""

    def __init__(self, most: int = MOST_BODY_BYTES_IN_FLIGHT, most_unverified: int = MOST_UNVERIFIED_BYTES) -> None:
        self.all = Share(most)
        self.unverified = Share(most_unverified)


class Hold:
    """The bytes of one request, from the first of its body to its end."""

    __slots__ = ("_arriving_since", "_room", "_shares", "_timeout", "evicted", "size")

    def __init__(self, room: Room) -> None:
        self.size = 0
        self.evicted = False
        self._room = room
        self._shares: tuple[Share, ...] = (room.all, room.unverified)
        self._arriving_since = math.inf
        self._timeout: asyncio.Timeout | None = None

    def verify(self) -> None:
        """Leave the strangers' share: the sender is known."""
        if len(self._shares) > 1:
            self._room.unverified.held -= self.size
            self._shares = (self._room.all,)

    def take(self, size: int) -> None:
        """Hold *size* bytes more. Raise Problem (503) if there is no room, or this body has had to make room."""
        for share in self._shares:
            if not self.evicted:
                share.clear(size)
        if self.evicted:
            raise no_room()
        for share in self._shares:
            share.held += size
        self.size += size

    def begin(self, timeout: asyncio.Timeout) -> None:
        """Wait for more of the body within *timeout*: from now on it may have to make room."""
        self._timeout = timeout
        self._arriving_since = asyncio.get_running_loop().time()
        for share in self._shares:
            share.arriving.add(self)

    def end(self) -> None:
        """Wait no more: the body has arrived, or will not."""
        for share in self._shares:
            share.arriving.discard(self)

    def cost(self, now: float) -> float:
        """Return the bytes times the seconds that a body which is arriving has been held."""
        return self.size * (now - self._arriving_since)

    def evict(self) -> None:
        """Make room: give everything back, and end the wait."""
        self.evicted = True
        self.end()
        self.release()
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(0.0)  # long ago

    def release(self) -> None:
        """Give everything back."""
        for share in self._shares:
            share.held -= self.size
        self.size = 0


def no_room() -> Problem:
    """Return the 503 for a body that the process has no room for."""
    return Problem(
        503,
        "More bodies are arriving than this process may hold; nothing was acknowledged. Send it again.",
        headers={"Retry-After": RETRY_AFTER, "Connection": "close"},
    )
