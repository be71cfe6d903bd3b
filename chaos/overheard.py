"""HTTP as overheard by a proxy between the two sides: each request, and whether its answer arrived whole."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import httptools


@dataclass(slots=True)
class Exchange:
    """One request and its outcome; *status* is None unless the whole answer reached the asker."""

    at: float
    method: str = ""
    path: str = ""
    body: bytes = b""
    written: bool = False  # to its end
    status: int | None = None
    answered_at: float | None = None


@dataclass(slots=True)
class Overheard:
    """All exchanges through one proxy, in the order in which they began."""

    exchanges: list[Exchange] = field(default_factory=list)
    garbled: int = 0  # connections that could not be followed

    def listen(self) -> _Conversation:
        """Return an ear for one connection."""
        return _Conversation(self)


class _Conversation:
    """One connection's requests and answers; without pipelining, they alternate."""

    def __init__(self, book: Overheard) -> None:
        self._book = book
        self._requests = httptools.HttpRequestParser(_Requests(self))
        self._answers = httptools.HttpResponseParser(_Answers(self))
        self._open: Exchange | None = None
        self._deaf = False

    def asked(self, data: bytes) -> None:
        """Take bytes that the asker wrote, delivered or not."""
        self._feed(self._requests, data)

    def answered(self, data: bytes) -> None:
        """Take bytes that were delivered to the asker."""
        self._feed(self._answers, data)

    def begin(self) -> Exchange:
        """Begin a new request; the one before it is over."""
        self._open = Exchange(time.time())
        self._book.exchanges.append(self._open)
        return self._open

    @property
    def method(self) -> str:
        """Return the method of the request that was read last."""
        return self._requests.get_method().decode("latin-1")

    def end(self) -> None:
        """Note that the request's answer has arrived whole."""
        if self._open is not None:
            self._open.status = self._answers.get_status_code()
            self._open.answered_at = time.time()
            self._open = None

    def _feed(self, parser: httptools.HttpRequestParser | httptools.HttpResponseParser, data: bytes) -> None:
        if self._deaf:
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            self._deaf = True
            self._book.garbled += 1


class _Requests:
    """The functions that httptools calls for requests."""

    def __init__(self, conversation: _Conversation) -> None:
        self._conversation = conversation
        self._exchange = Exchange(0)

    def on_message_begin(self) -> None:
        self._exchange = self._conversation.begin()

    def on_url(self, url: bytes) -> None:
        self._exchange.method = self._conversation.method
        self._exchange.path += url.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._exchange.body += body

    def on_message_complete(self) -> None:
        self._exchange.written = True


class _Answers:
    """The functions that httptools calls for answers."""

    def __init__(self, conversation: _Conversation) -> None:
        self._conversation = conversation

    def on_message_complete(self) -> None:
        self._conversation.end()
