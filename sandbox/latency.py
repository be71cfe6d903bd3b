"""The time that LeadMagic takes to answer."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

# https://leadmagic.io/docs/v1/reference/mobile-finder: P50 300 ms, P95 1 s, P99 2 s. No log-normal curve goes
# through all three, so its tail is steeper from P95 on. The z are those of the normal distribution.
MEDIAN, P95, P99 = 0.3, 1.0, 2.0
Z95, Z99 = 1.6449, 2.3263
BODY_SLOPE = math.log(P95 / MEDIAN) / Z95
TAIL_SLOPE = math.log(P99 / P95) / (Z99 - Z95)
LONGEST = 10.0


def latency(spec: str, dice: random.Random) -> Callable[[], float]:
    """Return a draw of seconds: `page` for the distribution of the vendor's page, else so many milliseconds."""
    if spec == "page":
        return lambda: of_page(dice.gauss(0, 1))
    seconds = milliseconds(spec) / 1000
    return lambda: seconds


def of_page(z: float) -> float:
    """Return the seconds that stand *z* standard deviations off the median."""
    if z <= Z95:
        return MEDIAN * math.exp(BODY_SLOPE * z)
    return min(LONGEST, P95 * math.exp(TAIL_SLOPE * (z - Z95)))


def milliseconds(spec: str) -> float:
    """Return the number that *spec* writes. Raise ValueError when it is none, negative or infinite."""
    value = float(spec)
    if not 0 <= value < math.inf:
        raise ValueError(spec)
    return value
