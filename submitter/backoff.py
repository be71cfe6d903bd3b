"""Exponential backoff with jitter."""

from __future__ import annotations

import random

FIRST = 1.0  # seconds
LONGEST = 600.0  # seconds


def backoff(tries: int, *, first: float = FIRST, longest: float = LONGEST) -> float:
    """Return the seconds to wait after *tries* failures: twice as long each time, half of it random."""
    whole = min(longest, first * 2.0 ** min(tries, 30))
    return whole * (0.5 + random.random() / 2)  # noqa: S311  not a secret
