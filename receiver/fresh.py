"""Compute a value once in a while, and share it among all who ask for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")

FRESH = 1.0  # seconds that a value is used, from when its computation began


class Fresh(Generic[Value]):
    """The value of *compute*, which has deadlines of its own; after *fresh* seconds it is computed again."""

    def __init__(self, compute: Callable[[], Coroutine[Any, Any, Value]], fresh: float = FRESH) -> None:
        self._compute = compute
        self._fresh = fresh
        self._computing: asyncio.Task[Value] | None = None
        self._began = float("-inf")

    async def get(self, patience: float | None = None) -> Value:
        """Return the value. Raise what *compute* raises, or TimeoutError after *patience* seconds.

        A late computation is not cancelled: others wait for it, and on a dead network cancelling takes too long.
        """
        task = self._computing
        if task is None or (task.done() and time.monotonic() - self._began >= self._fresh):
            self._began = time.monotonic()
            task = self._computing = asyncio.create_task(self._compute())
        if not task.done():
            await asyncio.wait([task], timeout=patience)
            if not task.done():
                raise TimeoutError
        return task.result()

    def forget(self) -> None:
        """Compute anew at the next `get`: what is known, or being computed, is from before a change."""
        self._computing = None

    def close(self) -> None:
        """Cancel a computation that is still under way."""
        if self._computing is not None:
            self._computing.cancel()
