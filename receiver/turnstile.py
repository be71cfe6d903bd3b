"""Slow down floods of what costs us little: refusals, and public pages.

An event takes a dozen turns of the event loop, and each turn answers every request that has arrived. Hundreds of
callers that ask again as soon as they are answered fill each turn, however cheap their answers are. While they wait for
an answer they ask nothing.
"""

from __future__ import annotations

import asyncio
import time

PER_SECOND = 1_000  # answers; a scrape or a check takes one
AT_ONCE = 20  # answers; more would hold up everything else for as long as they take
LONGEST = 0.5  # seconds; load balancers usually wait for one

REFUSALS = frozenset({303, 401, 404, 405, 429})  # 303: to the login, for one; a form's is seldom, and may wait as well
# The stream tells a page without a session that it has ended.
PUBLIC = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/", "/login", "/live"})
PUBLIC_FILES = ("/docs/", "/static/")


class Turnstile:
    """Delay such answers beyond *per_second* until it is their turn, and none by more than LONGEST."""

    def __init__(self, *, per_second: int = PER_SECOND, at_once: int = AT_ONCE) -> None:
        self._every = 1 / per_second
        self._ahead = at_once / per_second  # answers that may pass without a wait after a quiet time
        self._turn = float("-inf")  # when the next answer may pass

    async def wait(self, path: str, status: int) -> None:
        """Wait until the answer with *status* may be sent to who asked for *path*."""
        if status in REFUSALS or path in PUBLIC or path.startswith(PUBLIC_FILES):
            delay = self.take_turn(time.monotonic())
            if delay > 0:
                await asyncio.sleep(delay)

    def take_turn(self, now: float) -> float:
        """Take the next turn; return the seconds until it comes."""
        delay = self._turn - now
        self._turn = min(max(self._turn, now - self._ahead) + self._every, now + LONGEST)
        return max(delay, 0.0)
