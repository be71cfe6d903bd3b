"""Logs: one JSON line per thing, on stderr. No personal data, no secrets, no URL that carries a token.

Messages of exceptions may repeat what somebody sent, so only their type and place are logged.
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

FRAMES = 6  # of a traceback, the innermost: enough to find the line


def configure(level: str, process: str) -> None:
    """Everything logged from *level* on, by us or by a library, is one JSON line on stderr that names *process*."""
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
    """*reason* up to the provider's own words: those may name the person who was asked about."""
    ours, colon, _ = (reason or "").partition(": ")
    return f"{ours})" if colon and ours.count("(") > ours.count(")") else ours or None


def place(error: BaseException) -> list[str]:
    """Where *error* was raised, as file:line, the innermost last."""
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
    """stderr for as long as somebody reads it: a reader that went away must not end the work that is told about."""

    def __init__(self) -> None:
        self._held: list[str] | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is logged inside the block is written at its end, in one go; nobody may wait, or nest, inside it."""
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
