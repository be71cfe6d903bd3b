"""Slow down those who ask for public pages more often than anybody needs to.

An event takes a dozen turns of the event loop, and each turn answers every request that has arrived. Hundreds of
callers that ask again as soon as they are answered fill each turn, however cheap their answers are. While they wait for
an answer they ask nothing.
"""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import Response

from receiver.auth import Handler

PER_SECOND = 1_000  # answers; a scrape or a check takes one
AT_ONCE = 100  # answers
LONGEST = 0.5  # seconds; load balancers usually wait for one


class Turnstile:
    """Delay the requests beyond PER_SECOND until it is their turn, and none longer than LONGEST."""

    def __init__(self) -> None:
        self._turn = float("-inf")  # when the next request may pass

    def slow(self, handler: Handler) -> Handler:
        """Wrap *handler* so that its requests pass here."""

        async def slowed(request: Request) -> Response:
            delay = self.take_turn(time.monotonic())
            if delay > 0:
                await asyncio.sleep(delay)
            return await handler(request)

        return slowed

    def take_turn(self, now: float) -> float:
        """Take the next turn; return the seconds until it comes."""
        delay = self._turn - now
        self._turn = min(max(self._turn, now - AT_ONCE / PER_SECOND) + 1 / PER_SECOND, now + LONGEST)
        return max(delay, 0.0)
