"""Permits of a shared rate limit. Pure: `store/gate.py` stores the meters in PostgreSQL, under lock.

A short window is paced: permits are (window + slack) / allowance apart (GCRA without a burst), so that no window of
the provider, fixed or sliding, sees more than its allowance, even when the network delays one of two requests. A long
window is counted in slices, so that a burst may use the rest of the hour, and every sliding hour keeps the limit: a
request counts in the latest slice in which it may arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

PACED_UP_TO = 60  # seconds
ROLLING = 10  # seconds: a CRM's window, counted, so that the few calls about one contact need not wait for a pace
SLICES = 120  # of a long window: the oldest expires one slice late, so at most 1/120 stays unused
RING = SLICES + 2  # slices kept: a window, the current one, and the next, in which a request sent now may arrive
# Requests do not arrive as evenly as they leave. The slack keeps late ones out of the next window.
SLACK = 0.015  # of the window,
SLACK_MOST = 0.5  # but at most this, in seconds
# Permits are handed out this far ahead: enough to keep the wire busy between two claims.
HORIZON = 0.25  # seconds
# Meters are read under lock, but their time a little before: less than this is no jump of the clock.
CLOCK_SLACK = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Meter:
    """One limit's state. Times are seconds of the database's clock."""

    purpose: str
    window: int
    allowance: int
    next_at: float = 0.0
    spent: tuple[int, ...] = ()
    spent_at: int = 0

    @property
    def paced(self) -> bool:
        return self.window <= PACED_UP_TO and self.window != ROLLING

    @property
    def interval(self) -> float:
        """Return the seconds between two permits of a paced window."""
        return (self.window + self.slack) / self.allowance

    @property
    def slack(self) -> float:
        """Return the seconds by which a request may arrive late."""
        return min(self.window * SLACK, SLACK_MOST)

    def slice_at(self, time: float) -> int:
        return int(time * SLICES / self.window)

    def ahead(self, now: float) -> float:
        """Return by how many seconds the meter is ahead of what requests up to *now* can have made of it.

        More than CLOCK_SLACK means that the clock went back, by at least so much.
        """
        if self.paced:  # the allowance may have been 1 per window when a permit was taken
            return self.next_at - (now + HORIZON + self.window + self.slack)
        return (self.spent_at - self.slice_at(now) - 2) * self.window / SLICES

    def brought_back(self, now: float) -> Meter:
        """Return the meter as it was, on a clock that went back to *now*; the limit is kept across the jump."""
        if self.ahead(now) <= CLOCK_SLACK:
            return self
        if self.paced:
            return replace(self, next_at=now + HORIZON + self.interval)
        # The latest request may be older, but counts as of now: nothing is forgotten before a window is over.
        newest = self.slice_at(now) + 1
        *older, current, following = self.spent if len(self.spent) == RING else [0] * RING
        return replace(self, spent=(0, *older, current + following), spent_at=newest)

    def rolled(self, now: float) -> Meter:
        """Return the meter of a counted window with its ring turned to *now*; the newest slice is the next one."""
        newest = self.slice_at(now) + 1
        turned = max(0, newest - self.spent_at)
        kept = self.spent[turned:] if len(self.spent) == RING else ()
        return replace(self, spent=(*kept, *([0] * (RING - len(kept)))), spent_at=max(newest, self.spent_at))

    def counted(self, now: float, times: Sequence[float]) -> Meter:
        """Return the meter of a counted window after requests sent at *times*."""
        rolled = self.rolled(now)
        late = sum(self.slice_at(time + self.slack) >= rolled.spent_at for time in times)
        *past, current, following = rolled.spent
        return replace(rolled, spent=(*past, current + len(times) - late, following + late))

    def room(self, now: float) -> int:
        """Return how many more requests a counted window allows now."""
        return max(0, self.allowance - sum(self.rolled(now).spent))


def permits(meters: Sequence[Meter], now: float, wanted: int) -> list[float]:
    """Return the times at which up to *wanted* requests may be sent, in order, none later than HORIZON from *now*."""
    most = min([wanted, *(meter.room(now) for meter in meters if not meter.paced)])
    paced = [meter for meter in meters if meter.paced]
    next_at = [meter.next_at for meter in paced]
    times: list[float] = []
    while len(times) < most:
        at = max([now, *next_at])
        if at > now + HORIZON:
            break
        times.append(at)
        next_at = [at + meter.interval for meter in paced]
    return times


def spend(meters: Sequence[Meter], now: float, times: Sequence[float]) -> list[Meter]:
    """Return the meters after requests sent at *times*."""
    if not times:
        return list(meters)
    after = []
    for meter in meters:
        if meter.paced:
            after.append(replace(meter, next_at=times[-1] + meter.interval))
        else:
            after.append(meter.counted(now, times))
    return after


def wait(meters: Sequence[Meter], now: float) -> float:
    """Return the seconds until `permits` may give a permit again; 0 if it would now."""
    waits = [0.0]
    for meter in meters:
        if meter.paced:
            waits.append(meter.next_at - now - HORIZON)
        elif meter.room(now) == 0:
            waits.append(_until_a_slice_is_forgotten(meter.rolled(now), now))
    return max(waits)


def _until_a_slice_is_forgotten(meter: Meter, now: float) -> float:
    oldest = next(index for index, count in enumerate(meter.spent) if count)
    return (meter.spent_at + oldest) * meter.window / SLICES - now
