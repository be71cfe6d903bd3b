"""The brake as one process knows it: looked at immediately before each question is sent.

The claim reads the pauses, too, but a job may wait for its permit or its connection after that. The pauses are read
again when a question needs them and they are older than FRESH, or after a hint; while nothing is asked, none is read.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg

from store.pauses import Brake, read_brake
from submitter.failures import log_failure

FRESH = 0.5  # seconds
PAUSED = "a person has paused it"
UNKNOWN = "it cannot be read whether a person has paused it"


class BrakeView:
    """The pauses as last read; one for all providers of a process."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool
        self._brake = Brake()
        self._as_of = float("-inf")  # by time.monotonic(), before it was read
        self._hinted_at = float("-inf")  # what was read before says nothing
        self._reading: asyncio.Task[bool] | None = None

    def note(self, brake: Brake, as_of: float) -> None:
        """Take over what was read, unless that is older than what is known."""
        if as_of >= max(self._as_of, self._hinted_at):
            self._brake, self._as_of = brake, as_of

    def expire(self) -> None:
        """Read again before the next question: a hint says that the pauses have changed."""
        self._hinted_at = time.monotonic()
        self._as_of, self._reading = float("-inf"), None

    async def forbids(self, provider: str, source: str, patience: float) -> str | None:
        """Return why *provider* may not be asked a question that *source* pays for; None when it may.

        While the pauses cannot be read within *patience* seconds, it may not: nothing was sent, so it costs nothing
        to ask later.
        """
        asked_at = time.monotonic()
        while self._as_of < asked_at - FRESH:
            if not await self._read_again(asked_at + patience - time.monotonic()):
                return UNKNOWN
        return PAUSED if self._brake.stops(provider, source) else None

    async def _read_again(self, patience: float) -> bool:
        """Wait until the pauses are read once more; concurrent questions share one reading."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        reading = self._reading
        done, _ = await asyncio.wait([reading], timeout=max(0.0, patience))  # others may wait for it: not cancelled
        return bool(done) and reading.result()

    async def _read(self) -> bool:
        as_of = time.monotonic()
        try:
            brake = await read_brake(self._pool)
        except Exception as error:  # noqa: BLE001  whatever it is, the question was not sent
            log_failure(error, reading="pauses")
            return False
        self.note(brake, as_of)
        return True
