"""Log one JSON line per event on stderr, without personal data, secrets, or URLs that carry a token.

An exception's message may repeat what a sender wrote, so only its type and place are logged.
"""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

FRAMES = 6  # of a traceback, innermost: enough to find the line


def configure(level: str, process: str) -> None:
    """Write all log events from *level* on, ours and libraries', as JSON lines on stderr that name *process*."""
    least = logging.getLevelNamesMapping()[level.upper()]

    def named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    shared: list[structlog.typing.Processor] = [
        named,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _place_instead_of_words,
    ]
    as_json = structlog.processors.JSONRenderer(default=str)
    stderr = cast("TextIO", _stderr)
    structlog.configure(
        processors=[*shared, as_json],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared, _first_line],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, as_json],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(least)


def without_words(reason: str | None) -> str | None:
    """Return *reason* without the provider's own words, which may name the person in question."""
    ours, colon, _ = (reason or "").partition(": ")
    return f"{ours})" if colon and ours.count("(") > ours.count(")") else ours or None


def place(error: BaseException) -> list[str]:
    """Return the frames where *error* was raised, as file:line, innermost last."""
    return _frames(error.__traceback__)


def _frames(start: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(start)[-FRAMES:]]


def _place_instead_of_words(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["at"] = place(error)
    return event


def _first_line(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # asyncio appends the repr of the task, and with it the exception's words.
    event["event"] = str(event["event"]).partition("\n")[0]
    return event


class _Stderr(io.TextIOBase):
    """A stderr that ignores broken pipes: a reader that is gone must not stop the work."""

    def __init__(self) -> None:
        self._held: list[str] | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hold the log lines inside the block and write them together at its end. Do not await or nest inside it."""
        self._held = []
        try:
            yield
        finally:
            lines, self._held = "".join(self._held), None
            self.write(lines)
            self.flush()

    def write(self, text: str) -> int:
        if self._held is not None:
            self._held.append(text)
            return len(text)
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        if self._held is None:
            with suppress(OSError):
                sys.stderr.flush()


_stderr = _Stderr()
together = _stderr.together
