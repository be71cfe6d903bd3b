"""The vendors' rate limits, and the headers that describe them."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from sandbox.wire import Headers

DAY = 86_400
WindowKind = Literal["fixed", "sliding"]
Clock = Callable[[], float]


class Standing(NamedTuple):
    """The account's standing with one window; *reset* is in seconds from now."""

    allowed: bool
    limit: int
    remaining: int
    reset: float
    seconds: int

    @property
    def retry_after(self) -> int:
        """Return the whole seconds after which a request is let through again."""
        return max(1, math.ceil(self.reset))

    def headers(self) -> Headers:
        """Return the standing as RateLimit-* (seconds) and X-RateLimit-* (unix time); nothing without a limit."""
        if not self.limit:
            return []
        limit, remaining = b"%d" % self.limit, b"%d" % self.remaining
        return [
            (b"ratelimit-limit", limit),
            (b"ratelimit-remaining", remaining),
            (b"ratelimit-reset", b"%d" % math.ceil(self.reset)),
            (b"x-ratelimit-limit", limit),
            (b"x-ratelimit-remaining", remaining),
            (b"x-ratelimit-reset", b"%d" % math.ceil(time.time() + self.reset)),
        ]


UNLIMITED = Standing(allowed=True, limit=0, remaining=0, reset=0.0, seconds=0)


class Limiter:
    """A limit on the requests of every window; refused requests are not counted."""

    def __init__(
        self, limits: Sequence[tuple[int, int]], kind: WindowKind = "fixed", clock: Clock = time.monotonic
    ) -> None:
        """Take limits as (allowance, seconds), the shortest first; an allowance of 0 is no limit."""
        self._clock = clock
        make: type[FixedWindow | SlidingLog] = FixedWindow if kind == "fixed" else SlidingLog
        self._windows = [make(allowance, seconds, clock()) for allowance, seconds in limits if allowance]
        self._day = next((window for window in self._windows if window.seconds == DAY), None)

    def take(self) -> Standing:
        """Count one request, unless a window is full; then say so and count nothing."""
        now = self._clock()
        for window in reversed(self._windows):  # the longest first: a full hour matters more than a full minute
            if window.left(now) <= 0:
                return window.standing(now, allowed=False)
        for window in self._windows:
            window.count(now)
        return self._windows[0].standing(now) if self._windows else UNLIMITED

    def peek(self) -> Standing:
        """Return the standing with the shortest window, counting nothing."""
        return self._windows[0].standing(self._clock()) if self._windows else UNLIMITED

    def day(self) -> tuple[int, int] | None:
        """Return how many requests are left today and how many were allowed, None without a daily limit."""
        return (self._day.left(self._clock()), self._day.allowance) if self._day else None


class FixedWindow:
    """A count that starts again every *seconds*, reckoned from the start."""

    __slots__ = ("_opened", "_used", "allowance", "seconds")

    def __init__(self, allowance: int, seconds: int, now: float) -> None:
        self.allowance = allowance
        self.seconds = seconds
        self._opened = now
        self._used = 0

    def left(self, now: float) -> int:
        """Return how many more requests this window lets through."""
        if now >= self._opened + self.seconds:
            self._opened += (now - self._opened) // self.seconds * self.seconds
            self._used = 0
        return self.allowance - self._used

    def count(self, now: float) -> None:
        """Count one request."""
        self._used += 1

    def standing(self, now: float, *, allowed: bool = True) -> Standing:
        """Return the account's standing."""
        return Standing(allowed, self.allowance, self.left(now), self._opened + self.seconds - now, self.seconds)


class SlidingLog:
    """A log with the time of each request of the last *seconds*."""

    __slots__ = ("_times", "allowance", "seconds")

    def __init__(self, allowance: int, seconds: int, now: float) -> None:
        self.allowance = allowance
        self.seconds = seconds
        self._times: deque[float] = deque()

    def left(self, now: float) -> int:
        """Return how many more requests are let through now."""
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        return self.allowance - len(self._times)

    def count(self, now: float) -> None:
        """Remember the time of one request."""
        self._times.append(now)

    def standing(self, now: float, *, allowed: bool = True) -> Standing:
        """Return the account's standing; it resets when the oldest request is forgotten."""
        left = self.left(now)
        reset = self._times[0] + self.seconds - now if self._times else 0.0
        return Standing(allowed, self.allowance, left, reset, self.seconds)
