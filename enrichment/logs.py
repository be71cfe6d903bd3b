"""Log one JSON line per event on stderr, without personal data, secrets, or URLs that carry a token.

An exception's message may repeat what a sender wrote, so only its type and place are logged.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, cast

import structlog

from enrichment import lines
from enrichment.log_limit import OnceASecond

FRAMES = 6  # of a traceback, innermost: enough to find the line

_as_json = structlog.processors.JSONRenderer(default=str)


def configure(level: str, process: str, *, once_a_second: bool = False) -> None:
    """Write all log events from *level* on, ours and libraries', as JSON lines on stderr that name *process*.

    *once_a_second*: warnings and errors of one kind, because strangers may cause them.
    """
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
    last: list[structlog.typing.Processor] = [OnceASecond(_write)] if once_a_second else []
    structlog.configure(
        processors=[*shared, *last, _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_Ours,
        cache_logger_on_first_use=True,
    )
    theirs = _Theirs()
    theirs.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared, _first_line],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, _as_json],
        )
    )

    def say_dropped(count: int) -> str:
        event: structlog.typing.EventDict = {"event": "log_lines_dropped", "count": count}
        for processor in shared:
            event = cast("structlog.typing.EventDict", processor(None, "warning", event))
        return _line(event)

    lines.stderr.say_dropped = say_dropped
    root = logging.getLogger()
    root.handlers = [theirs]
    root.setLevel(least)


def last_words(text: str) -> None:
    """Write why the process ends, in plain text, behind what it has logged."""
    lines.stderr.write(f"{text}\n", must=True)


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


class _Ours:
    """The logger behind structlog's: it writes what the processors made."""

    def __init__(self, *_: Any) -> None:
        pass

    def _write(self, line: str) -> None:
        lines.stderr.write(f"{line}\n")

    debug = info = warning = error = critical = _write


class _Theirs(logging.Handler):
    """The handler of what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record* as a line."""
        try:
            lines.stderr.write(f"{self.format(record)}\n")
        except structlog.DropEvent:
            pass
        except Exception as error:  # noqa: BLE001  a message that does not fit its arguments must not stop the work
            _write({"event": "unreadable_log_record", "logger": record.name, "error": type(error).__name__})


def _line(event: MutableMapping[str, Any]) -> str:
    return f"{_as_json(None, '', event)!s}\n"


def _write(event: MutableMapping[str, Any]) -> None:
    lines.stderr.write(_line(event))


def _first_line(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # asyncio appends the repr of the task, and with it the exception's words.
    event["event"] = str(event["event"]).partition("\n")[0]
    return event
