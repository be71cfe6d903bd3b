"""Tune the garbage collector for processes that run for months."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys

# Reference counting frees almost everything here: there are hardly any cycles. Python's default, a collection after
# every 700 objects, took a tenth of the submitter's CPU (make bench-lookups).
YOUNG, MIDDLE, OLD = 20_000, 20, 20
# These thresholds alone would keep what a burst of requests left behind until eight million objects more.
OLDEST_EVERY = 60.0  # seconds
QUIET = 1_000  # objects; a process that made no more since the last collection has nothing to give back


def collect_rarely(oldest_every: float = OLDEST_EVERY) -> None:
    """Exempt all loaded objects from collection, and collect later ones rarely. Call once, at the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    _collect_again(asyncio.get_running_loop(), oldest_every)


def _collect_again(loop: asyncio.AbstractEventLoop, every: float) -> None:
    """Collect the oldest generation and give memory back, unless hardly anything happened; again after *every*."""
    young, middle, old = gc.get_count()
    if young > QUIET or middle or old:
        gc.collect()
        _trim()
    loop.call_later(every, _collect_again, loop, every)


def _trim() -> None:
    """Let the C library give back what it keeps for later: glibc returns by itself only what lies at the end.

    https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
