"""Tune the garbage collector for processes that run for months."""

from __future__ import annotations

import asyncio
import gc

# Reference counting frees almost everything here: there are hardly any cycles. Python's default, a collection after
# every 700 objects, took a tenth of the submitter's CPU (make bench-lookups).
YOUNG, MIDDLE, OLD = 20_000, 20, 20
# These thresholds alone would keep what a burst of requests left behind until eight million objects more.
OLDEST_EVERY = 60.0  # seconds


def collect_rarely(oldest_every: float = OLDEST_EVERY) -> None:
    """Exempt all loaded objects from collection, and collect later ones rarely. Call once, at the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    _collect_again(asyncio.get_running_loop(), oldest_every)


def _collect_again(loop: asyncio.AbstractEventLoop, every: float) -> None:
    """Collect the oldest generation, unless nothing was collected since the last time; call again after *every*."""
    _, middle, old = gc.get_count()
    if middle or old:
        gc.collect()
    loop.call_later(every, _collect_again, loop, every)
