"""One client's connection: what it may send, in which portions, and how long each part may take.

uvicorn parses all that arrives at once, and begins a task for each request in it; it reads heads and trailers without
a limit, and keeps a connection for as long as its client likes. Here the parser is fed one message at a time: what
follows a request waits, unparsed, until that request is answered and its answer is on its way, and meanwhile the
connection is not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from receiver.arrived import Arrived
from receiver.clients import Clients, unacknowledged
from receiver.framing import FRAMING, Refused, body_length, farewell, without_upgrade

MOST_OF_A_HEAD = 64 * 1024  # bytes of a request line, its headers and its trailers
MOST_HEADERS = 256  # an object each: in 64 KiB there is room for 16,000
HEADER_OBJECTS = 160  # bytes of memory for a header, besides its text
MOST_OF_A_TURN = 32 * 1024  # bytes parsed before other connections get their turn: they may be thousands of chunks
MOST_UNASKED = 4 * 1024  # bytes of a body that is parsed before the application asks for it: most need no second turn
MOST_DISCARDED = 2 * 1024 * 1024  # bytes of a body whose answer was given before it was read
LINGER = 2.0  # seconds for a client to read why it was refused; closing at once would reset the connection


class Part(Enum):
    """What a connection receives: nothing yet, a request's head or body, or what is discarded after a refusal."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
    REFUSED = auto()


class Reading(FlowControl):
    """uvicorn's flow control; the connection alone decides when its transport reads."""

    def __init__(self, transport: asyncio.Transport, advance: Callable[[], None]) -> None:
        super().__init__(transport)
        self._advance: Callable[[], None] | None = advance

    def pause_reading(self) -> None:
        """Stop feeding: the request's unread body is large."""
        self.read_paused = True

    def resume_reading(self) -> None:
        """Go on feeding: the application waits for more of the body."""
        if self.read_paused:
            self.read_paused = False
            if self._advance is not None:
                self._advance()

    def end(self) -> None:
        """Forget the connection, which is lost: it shall not wait for the garbage collector."""
        self._advance = None


class Answering:
    """A connection's transport as uvicorn's answer sees it: closing it leaves the client time to read."""

    def __init__(self, connection: Connection) -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.leave


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, within limits. The clock is that of the event loop."""

    def __init__(
        self,
        config: Config,
        server_state: Clients,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._clients = server_state
        self._reading: Reading | None = None  # None: the connection was refused
        self._part = Part.NOTHING
        self._since = 0.0  # when the wait for the next part began
        self._upgrading = False
        self._ended = False  # the client has shut down its side
        self._arrived = Arrived()
        self._weight = 0  # bytes that `_clients` counts for this connection
        # Of the request that is being received:
        self._left: int | None = 0  # bytes of its body still to come; None: chunked
        self._head = 0  # bytes of its head and trailers
        self._extra = 0  # bytes since then that were no body: sizes of chunks, and what may become a trailer
        self._discarded = 0
        self._framing: list[tuple[bytes, bytes]] = []
        # Of the answers that the client has not read:
        self._unread = 0
        self.unread_since = 0.0

    # The transport calls these

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it when there are too many."""
        if self._clients.full:
            self.transport = transport
            self._clients.refuse_connection()
            transport.write(farewell(self._clients, 503, "This process has no room for more connections."))
            transport.close()
            return
        super().connection_made(transport)
        self.flow = self._reading = Reading(transport, self.advance)
        self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._clients.weight -= self._weight
        self._weight = 0
        self._arrived.drop()
        if self._reading is not None:
            self._reading.end()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what was asked completely before the client shut down its side; then, or else at once, close."""
        self._ended = True
        return self._part is Part.NOTHING and (bool(self._arrived) or not self._is_idle())

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        if self._part is Part.REFUSED:
            self._discard(len(data))
            return
        self._arrived.add(data)
        self.advance()

    def resume_writing(self) -> None:
        """Go on with the next request: the client has read enough of the answers."""
        super().resume_writing()
        self.advance()

    # From the bytes to the parser

    def advance(self) -> None:
        """Feed the parser as far as the request in hand allows; read on when nothing is left."""
        fed = 0
        while self._arrived and self._may_feed() and fed < MOST_OF_A_TURN:
            piece = self._arrived.next_piece(self._left if self._part is Part.BODY else None)
            fed += len(piece)
            self._feed(piece)
        if self.transport.is_closing():
            return
        if self._arrived and self._may_feed():
            self.loop.call_soon(self.advance)
        self._weigh()
        if self._part is Part.REFUSED or self.transport.is_closing():
            return
        if self._arrived or self.flow.read_paused:
            self.transport.pause_reading()
        elif not self._ended:
            self.transport.resume_reading()
        elif self._is_idle():
            self.transport.close()
        else:
            self.transport.pause_reading()

    def _may_feed(self) -> bool:
        """Tell whether the next piece may be parsed now."""
        if self.transport.is_closing() or self._part is Part.REFUSED:
            return False
        if self._part is Part.BODY:
            return not self.flow.read_paused
        return self._is_idle() and not self.flow.write_paused

    def _is_idle(self) -> bool:
        """Tell whether no request waits for its answer."""
        return self.cycle is None or self.cycle.response_complete

    def _feed(self, piece: bytes) -> None:
        if self._part is not Part.BODY:
            self._head += len(piece)
            if self._head > MOST_OF_A_HEAD:
                self._refuse(_too_large())
                return
        elif self._left is None:
            self._extra += len(piece)  # until the parser finds a part of the body in it, or a trailer
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_without_upgrade(all_of_it=upgrade.args[0] == len(piece))
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, Refused) else Refused(400, "This is no valid HTTP request."))
        else:
            if self._head + self._extra > MOST_OF_A_HEAD:
                self._refuse(_too_large())

    def _read_without_upgrade(self, *, all_of_it: bool) -> None:
        """Parse the head again without its wish for another protocol, which RFC 9110 (7.8) lets us ignore.

        httptools takes what follows such a head for the other protocol, so the body would be lost.
        """
        if not all_of_it:
            self._refuse(Refused(400, "The end of the head is not clear."))
            return
        head = without_upgrade(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
        self._upgrading = False
        self._part, self._head = Part.NOTHING, 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(head)

    def _weigh(self) -> None:
        """Let the process count what this connection keeps; give up when all of them keep too much."""
        weight = self._arrived.size
        if self._part is Part.HEAD:
            weight += self._head + len(self.headers) * HEADER_OBJECTS
        if weight == self._weight:
            return
        self._clients.weight += weight - self._weight
        grown, self._weight = weight > self._weight, weight
        if not grown or not self._clients.overweight:
            return
        if self._is_idle() or self._part is Part.BODY:
            has_begun = self._part is not Part.NOTHING
            self._refuse(Refused(503, "This process has no memory for more requests that wait."))
            if not has_begun and not self.transport.is_closing():
                self.transport.pause_reading()  # there is no request whose rest would have to be taken
        else:  # the request in hand, which has arrived, is answered; those after it are not
            self._arrived.drop()
            self._ended = True
            self.cycle.keep_alive = False
        self._weigh()  # what was dropped counts no more

    # The parser calls these

    def on_message_begin(self) -> None:
        """Begin a request."""
        if not self._is_idle():
            raise Refused(400, "The end of the request before this one is not clear.")
        super().on_message_begin()
        self._part = Part.HEAD
        self._since = self.loop.time()
        self._framing = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. A trailer is only counted: the application has the headers already."""
        if self._part is Part.BODY:
            self._head += len(name) + len(value) + 4
            self._extra = 0
            if self._head > MOST_OF_A_HEAD:
                raise _too_large()
            return
        super().on_header(name, value)
        if len(self.headers) > MOST_HEADERS:
            raise Refused(431, f"A request may have at most {MOST_HEADERS} headers.")
        lowered = self.headers[-1][0]
        if lowered in FRAMING:
            self._framing.append((lowered, value))

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._upgrading = True
            return
        self._left = body_length(self.parser.get_method(), self.parser.get_http_version(), self._framing)
        self._part = Part.BODY
        self._extra = self._discarded = 0
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", Answering(self))
        # uvicorn would keep 64 KiB for each sender, uncounted, whether or not the body is ever asked for.
        if not self.cycle.response_complete and (self._left is None or self._left > MOST_UNASKED):
            self.flow.pause_reading()

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body to the application, or discard it when the answer is given."""
        if self._left is not None:
            self._left -= len(body)
        self._extra = 0
        if self.cycle.response_complete:
            self._discard(len(body))
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if self._upgrading or self._part is Part.REFUSED:
            return
        self._part = Part.NOTHING
        self._head = self._extra = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        self.server_state.total_requests += 1
        if self._is_idle():  # else the next one has begun: its answer was one that Front gave
            self._since = self.loop.time()
            self.cycle.body.clear()  # what the application has not asked for
            self.flow.read_paused = False
        self.advance()

    # The end

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > MOST_DISCARDED:
            self.transport.close()

    def leave(self) -> None:
        """Close after the answer; when its request is still arriving, leave the client time to read the answer."""
        if self._part is Part.BODY and self._left != 0 and not self._ended:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._arrived.drop()
        self.flow.read_paused = False
        self._part = Part.REFUSED
        self._since = self.loop.time()
        self._discarded = 0
        if not self.transport.is_closing():
            self.transport.write_eof()
            self.transport.resume_reading()

    def _refuse(self, refused: Refused) -> None:
        """Answer with an error, read no further, and close when the client has had time to read the answer."""
        begun = False
        if not self._is_idle():
            begun = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if begun or (self._part is Part.BODY and self._is_idle()):
            self.transport.close()  # there is an answer already
            return
        self._clients.refuse_request(refused.status)
        self.transport.write(farewell(self._clients, refused.status, refused.detail))
        self._linger()

    def check(self, now: float) -> None:
        """Close the connection when what it waits for did not come in time."""
        if self._is_stuck(now):
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif self._part is Part.REFUSED:
            if now - self._since > LINGER:
                self.transport.close()
        elif not self._is_idle():
            return  # the client waits for us, or the application for the body, and for how long is its business
        elif self._part is Part.NOTHING:
            if now - self._since > (self._clients.head_timeout if self.cycle is None else self._clients.idle_timeout):
                self.transport.close()
        elif now - self._since > self._clients.head_timeout:
            if self._part is Part.HEAD:
                self._refuse(Refused(408, f"The head did not arrive within {self._clients.head_timeout:g} seconds."))
            else:
                self.transport.close()  # the answer was given long before the end of the body

    @property
    def unread(self) -> int:
        """Return the bytes of answers that wait for the client."""
        return self.transport.get_write_buffer_size()

    def _is_stuck(self, now: float) -> bool:
        """Tell whether the client has read nothing of the answers that wait for it, for too long."""
        size = self.transport.get_write_buffer_size()
        if size:  # the kernel's part shrinks long before it takes more of ours
            size += unacknowledged(self.transport.get_extra_info("socket").fileno())
        if not self._unread or size < self._unread:
            self.unread_since = now
        self._unread = size
        return size > 0 and now - self.unread_since > self._clients.write_timeout


def _too_large() -> Refused:
    return Refused(431, f"Request line, headers and trailers may have {MOST_OF_A_HEAD:,} bytes together.")
