"""Ctrl-C, SIGTERM and a lost terminal: cancel the work, and let it tidy up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")
INTERRUPTED = 130  # the exit code of a shell's Ctrl-C
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def call_at_signals(call: Callable[[], object]) -> None:
    """Call *call* from now on at each signal that ends a process; not at a SIGHUP that is ignored, as under nohup."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, call)


def stop_at_signals() -> asyncio.Event:
    """Return an event that is set by the first signal."""
    stop = asyncio.Event()
    call_at_signals(stop.set)
    return stop


def run_until_interrupted(work: Coroutine[Any, Any, T]) -> T | None:
    """Run *work* and return what it returns; a signal cancels it once, and the result is None."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_interrupted(work))


async def _until_interrupted(work: Coroutine[Any, Any, T]) -> T | None:
    running = asyncio.create_task(work)

    def interrupt() -> None:
        call_at_signals(lambda: None)  # a second signal must not disturb the tidying up
        running.cancel()

    call_at_signals(interrupt)
    try:
        return await running
    except asyncio.CancelledError:
        return None
