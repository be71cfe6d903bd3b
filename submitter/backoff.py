"""How long to wait before asking again."""

from __future__ import annotations

import random

FIRST = 1.0  # seconds
LONGEST = 600.0  # seconds


def backoff(tries: int, *, first: float = FIRST, longest: float = LONGEST) -> float:
    """Seconds before the next try after *tries* failures: twice as long each time, with half of it left to chance."""
    whole = min(longest, first * 2.0 ** min(tries, 30))
    return whole * (0.5 + random.random() / 2)  # noqa: S311  not a secret
