"""Write lines to stderr or stdout from a thread of their own, so that a reader who stalls holds up nothing else.

Lines wait in a bounded queue, in order. When it is full they are dropped and counted, and the count is written once
the reader is back. A thread does not survive a fork: the child begins with an empty queue and a thread of its own.
"""

from __future__ import annotations

import atexit
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

MOST_WAITING = 4 * 1024 * 1024  # bytes; a busy receiver's log of half a minute
MOST_AT_ONCE = 64 * 1024  # bytes of one write: what a pipe holds
# After a write, lines of the next moments are collected: waking a thread costs more than writing a line.
PAUSE = 0.01  # seconds
PATIENCE = 2.0  # seconds for what waits to be written when the process ends


class Lines:
    """The lines that a process writes to the file *fd*."""

    def __init__(self, fd: int, *, most: int = MOST_WAITING) -> None:
        self._fd = fd
        self._most = most
        self.say_dropped: Callable[[int], str] = "{} lines were dropped: they were not read in time\n".format
        self.dropped = 0  # so far: the queue was full, or the file refused them
        self._said = 0
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.flush)

    def _begin(self) -> None:
        # Reentrant: the garbage collector may run a finalizer that logs, in the middle of `write`.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[str] = deque()
        self._size = 0
        self._is_writing = False
        self._thread: threading.Thread | None = None

    def write(self, text: str, *, must: bool = False) -> None:
        """Queue *text*, which ends with a newline; drop it if the queue is full, unless it *must* be kept."""
        with self._changed:
            if self._size + len(text) > self._most and not must:
                self.dropped += 1
                return
            self._waiting.append(text)
            self._size += len(text)
            self._changed.notify()
            if self._thread is None:
                self._start()

    def flush(self, within: float = PATIENCE) -> bool:
        """Wait until everything is written, for *within* seconds at most; tell whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._is_writing, within)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="lines", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter ends: the lines wait for the next try
            return
        self._thread = thread

    def _run(self) -> None:
        torn = b""
        while True:
            data = torn + "".join(self._next()).encode("utf-8", "backslashreplace")
            left = _write(self._fd, data)
            if written := data[: len(data) - len(left)]:
                torn = b"" if written.endswith(b"\n") else b"\n"
            with self._changed:
                self._is_writing = False
                self.dropped += left.count(b"\n")
                if not left and self.dropped > self._said:
                    self.write(self.say_dropped(self.dropped - self._said), must=True)
                    self._said = self.dropped
                self._changed.notify_all()
                is_behind = self._size > MOST_AT_ONCE
            if not is_behind:
                time.sleep(PAUSE)

    def _next(self) -> list[str]:
        """Wait for lines; return the first of them, as many as one write may take."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            batch = [self._waiting.popleft()]
            size = len(batch[0])
            while self._waiting and size + len(self._waiting[0]) <= MOST_AT_ONCE:
                batch.append(self._waiting.popleft())
                size += len(batch[-1])
            self._size -= size
            self._is_writing = True
            return batch


def _write(fd: int, data: bytes) -> bytes:
    """Write *data*, however long it takes; return what could not be written because the file refuses it."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # its opener made it so, and we leave it: others write to it as well
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
        except OSError:  # its reader is gone, the disk is full, or it was opened for reading
            break
    return data


stderr = Lines(2)
stdout = Lines(1)
