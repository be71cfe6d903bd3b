"""What every process of ours does first and last: sound standard files, and the signals that make it drain."""

from __future__ import annotations

import os
import signal
import sys


def open_closed_files() -> None:
    """Open /dev/null in the place of standard files that were closed when the process began (`2>&-`).

    Otherwise a socket would get the number of stderr, and log lines would go to it; and libuv aborts when it closes a
    file with such a number: https://github.com/libuv/libuv/blob/v1.x/src/unix/core.c (uv__close)
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  until the process ends
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def draining_signals() -> list[signal.Signals]:
    """Return the signals that drain: SIGTERM, Ctrl-C, and a lost terminal unless it is ignored, as under nohup."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if ignored else [signal.SIGHUP])]
