"""Receive a file from a form piece by piece, so that no process ever holds all of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from receiver.bodies import SLOWEST, believe
from receiver.problems import Problem, too_large
from receiver.room import MEBIBYTE, Hold
from store.campaign_files import PIECE

MOST_OF_AN_UPLOAD = 64 * MEBIBYTE
AROUND = 16_384  # bytes of the form around the file
WITHIN = 600.0  # seconds for all of it
LONGEST_NAME = 200  # characters
FIELD = b"file"

Keep = Callable[[bytes], Awaitable[None]]


@dataclass(slots=True)
class Received:
    """The file of a form, as far as it has arrived."""

    name: str = ""
    size: int = 0
    pieces: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)


async def receive_file(request: Request, keep: Keep) -> Received:
    """Give each piece of the form's file to *keep* as it arrives. Raise Problem (400, 408, 413, 415, 503)."""
    believe(request)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 19 or int(declared) > MOST_OF_AN_UPLOAD + AROUND):
        raise too_large(MOST_OF_AN_UPLOAD)
    hold: Hold = request.scope["hold"]
    hold.take(2 * PIECE)  # what has arrived and is not stored yet
    form = _Form(_boundary(request))
    try:
        async with asyncio.timeout(WITHIN):
            await _read(request, form, keep)
    except TimeoutError:
        raise Problem(
            408, "The file came too slowly, or not at all. Send it again.", headers={"Connection": "close"}
        ) from None
    if not form.is_whole:
        raise Problem(400, "The form ended in the middle of the file, so it was not kept. Send it again.")
    if not form.received.size:
        raise Problem(400, "The form has no file in it, or an empty one. Choose a file, and send it again.")
    return form.received


async def _read(request: Request, form: _Form, keep: Keep) -> None:
    more = True
    while more:
        async with asyncio.timeout(SLOWEST):
            message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        form.feed(message.get("body", b""))
        more = message.get("more_body", False)
        while len(form.arrived) >= PIECE or (form.arrived and not more):
            piece = bytes(form.arrived[:PIECE])
            del form.arrived[:PIECE]
            form.received.pieces += 1
            form.received.digest.update(piece)
            await keep(piece)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Problem(415, "This address takes a file from a form of the dashboard, as multipart/form-data.")
    return options[b"boundary"]


class _Form:
    """The form, parsed as it arrives: its first field called `file` is the file, and others are passed over."""

    def __init__(self, boundary: bytes) -> None:
        self.received = Received()
        self.arrived = bytearray()
        self.is_whole = False  # its end has arrived
        self._all = 0
        self._is_file = False
        self._header = b""
        self._value = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Parse what has arrived. Raise Problem (400, 413)."""
        self._all += len(chunk)
        if self._all > MOST_OF_AN_UPLOAD + AROUND:
            raise too_large(MOST_OF_AN_UPLOAD)
        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise Problem(400, "The form cannot be read. Load the page again, and send the file once more.") from None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition" and not self.received.size:
            _, options = parse_options_header(self._value)
            self._is_file = options.get(b"name") == FIELD and b"filename" in options
            if self._is_file:
                self.received.name = plain_name(options[b"filename"].decode("utf-8", "replace"))
        self._header = self._value = b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.arrived += data[start:end]
            self.received.size += end - start

    def _on_part_end(self) -> None:
        self._is_file = False

    def _on_end(self) -> None:
        self.is_whole = True


def plain_name(name: str) -> str:
    """Return the last part of a file's name, on one line and without what a header or a page could stumble over."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isprintable() and letter not in '"<>&%;').strip(" .")
    return kept[-LONGEST_NAME:] or "contacts"
