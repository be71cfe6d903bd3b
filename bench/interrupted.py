"""Long runs of the benchmark, which a signal ends in good order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

INTERRUPTED = 130  # the exit code of a shell's Ctrl-C


def run_until_interrupted(work: Coroutine[Any, Any, T]) -> T | None:
    """What came of *work*; None when a signal ended it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_interrupted(work))


async def _until_interrupted(work: Coroutine[Any, Any, T]) -> T | None:
    running = asyncio.create_task(work)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        return await running
    except asyncio.CancelledError:
        return None
