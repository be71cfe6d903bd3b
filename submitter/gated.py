"""Connections that ask, once they are made and before anything is written to them, whether to go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import aiohttp

# Takes the seconds that it may take; returns why the request must not be sent, or None.
Question = Callable[[float], Awaitable[str | None]]

_question: ContextVar[Question | None] = ContextVar("question", default=None)
LONGEST = 0.5  # seconds for an answer


class Forbidden(Exception):
    """The request was not sent, for this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@contextmanager
def gated(question: Question) -> Iterator[None]:
    """Ask *question* before the requests of this task in the block are written. They raise Forbidden if it says why."""
    token = _question.set(question)
    try:
        yield
    finally:
        _question.reset(token)


class GatedConnector(aiohttp.TCPConnector):
    """Asks the task's question after every wait for a connection, so that nothing but the request follows."""

    async def connect(self, req: Any, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:
        """Return a connection, or raise Forbidden."""
        connection = await super().connect(req, traces, timeout)
        question = _question.get()
        if question is None:
            return connection
        try:
            # With the wait for the connection it takes less than the whole timeout: a request that was not written
            # must not look like one without an answer.
            reason = await question(min(LONGEST, (timeout.connect or LONGEST) / 2))
            if reason is not None:
                raise Forbidden(reason)
        except BaseException:
            connection.release()
            raise
        return connection
