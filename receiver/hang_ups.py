"""Log clients that hang up on the level debug: it happens all the time, and there is nothing to do about it."""

from __future__ import annotations

import logging

from starlette.requests import ClientDisconnect

# asyncio and uvloop, about a connection that is gone: https://github.com/python/cpython/blob/main/Lib/asyncio
WRITTEN_TO_NOBODY = "socket.send() raised exception."

# uvloop, to who writes in the moment between the end of a connection and the news of it.
CLOSED = "the handler is closed"


def hang_up_or_itself(error: RuntimeError) -> Exception:
    """Return the ClientDisconnect that *error* of a write stands for; otherwise *error*."""
    return ClientDisconnect() if CLOSED in str(error) else error


def expect_hang_ups() -> None:
    """Turn what libraries log about a client that hung up into debug messages."""
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(_expect)


def _expect(record: logging.LogRecord) -> bool:
    if not _is_hang_up(record):
        return True
    record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def _is_hang_up(record: logging.LogRecord) -> bool:
    if record.name == "asyncio":
        return record.msg == WRITTEN_TO_NOBODY
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, ClientDisconnect | ConnectionError)
