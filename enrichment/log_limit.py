"""Log warnings and errors of one kind once a second, and how many more there were: strangers may cause any number."""

from __future__ import annotations

import asyncio
import atexit
import re
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

SECOND = 1.0
LIMITED = frozenset({"warning", "error", "critical"})
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")  # asyncio names objects by their addresses: each would be a kind of its own

Event = MutableMapping[str, Any]
Kind = tuple[str, str | None]


class OnceASecond:
    """A processor of structlog that lets the first event of a kind pass, and holds back those of the second after it.

    At the end of the second, *write* is called with the last of them, and with their number as `more`. A kind is the
    text of the event, whatever its numbers, with the type of its error: both come from code, so there are few.
    """

    def __init__(self, write: Callable[[Event], None]) -> None:
        self._write = write
        self._more: dict[Kind, int] = {}
        self._last: dict[Kind, Event] = {}
        atexit.register(self.say_the_rest)

    def __call__(self, _: Any, __: str, event: Event) -> Event:
        """Return the event, or raise DropEvent if it is held back. Before and after the event loop, all pass."""
        if event["level"] not in LIMITED:
            return event
        kind = (_NUMBERS.sub("#", str(event["event"])), event.get("error"))
        if kind in self._more:
            self._more[kind] += 1
            self._last[kind] = event
            raise structlog.DropEvent
        try:
            self._begin_second(kind, asyncio.get_running_loop())
        except RuntimeError:
            return event
        return event

    def say_the_rest(self) -> None:
        """Write what is held back, because the process ends."""
        for kind in list(self._last):
            self._say(kind)

    def _begin_second(self, kind: Kind, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(SECOND, self._end_second, kind, loop)
        self._more[kind] = 0

    def _end_second(self, kind: Kind, loop: asyncio.AbstractEventLoop) -> None:
        if self._more[kind]:
            self._say(kind)
            self._begin_second(kind, loop)
        else:
            del self._more[kind]

    def _say(self, kind: Kind) -> None:
        self._write({**self._last.pop(kind), "more": self._more[kind]})
