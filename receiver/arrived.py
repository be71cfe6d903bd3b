"""What has arrived on a connection and is not parsed yet."""

from __future__ import annotations

MOST_OF_A_PIECE = 32 * 1024  # bytes that the parser gets at a time
BLANK_LINE = b"\r\n\r\n"


class Arrived:
    """Bytes, handed out in pieces, none of which goes past the end of one message.

    A head and a chunked body end with a blank line (RFC 9112, 2.1 and 7.1), any other body after its length. So one
    piece never holds more than one whole request, and the parser never begins two.
    """

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._tail = b""  # the last bytes handed out: a blank line may arrive in two pieces

    def __bool__(self) -> bool:
        return bool(self._data)

    @property
    def size(self) -> int:
        """Return the bytes of memory that are taken."""
        return len(self._data)

    def add(self, data: bytes) -> None:
        """Take what has arrived."""
        self._data = self._data[self._at :] + data if self._data else data
        self._at = 0

    def drop(self) -> None:
        """Forget everything."""
        self._data, self._at = b"", 0

    def next_piece(self, left: int | None) -> bytes:
        """Take out what can be parsed next: of a body of which *left* bytes are to come, or else to a blank line."""
        data, at = self._data, self._at
        if left is not None:
            end = at + left
        elif self._tail and (seam := (self._tail + data[at : at + 3]).find(BLANK_LINE)) >= 0:
            end = at + seam + len(BLANK_LINE) - len(self._tail)
        elif (found := data.find(BLANK_LINE, at)) >= 0:
            end = found + len(BLANK_LINE)
        else:
            end = len(data)
        end = min(end, at + MOST_OF_A_PIECE)
        piece = data if at == 0 and end >= len(data) else data[at:end]
        # A blank line that ends a head or a body is over; the last bytes of a body of known length are no part of one.
        tail = b"" if left is not None else (self._tail + piece[-4:])[-4:]
        self._tail = b"" if tail == BLANK_LINE else tail[-3:]
        self._at = end
        if end >= len(data):
            self.drop()
        return piece
