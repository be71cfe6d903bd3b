"""Decode an event's body, as its headers say, to JSON in UTF-8."""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Iterator

from starlette.datastructures import Headers

from receiver.problems import Problem, too_large

JSON_TYPES = frozenset({"application/json", "text/json", "application/x-json"})
MOST_LAYERS = 2  # a client and a proxy that both compress
MOST_MEMBERS = 64  # parts of one gzip stream; each costs a copy of the rest

# By name without hyphens. Latin-1 is read as Windows-1252, like in browsers.
CHARSETS = {
    "": "utf-8", "utf8": "utf-8", "usascii": "utf-8", "ascii": "utf-8",
    "utf16": "utf-16", "utf16le": "utf-16-le", "utf16be": "utf-16-be",
    "utf32": "utf-32", "utf32le": "utf-32-le", "utf32be": "utf-32-be",
    "iso88591": "cp1252", "latin1": "cp1252", "windows1252": "cp1252", "cp1252": "cp1252",
}  # fmt: skip
# UTF-32's little-endian mark begins with UTF-16's, so it comes first.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# The byte order mark of UTF-8, perhaps repeated, perhaps encoded again by a program that took it for Latin-1.
_UTF8_MARKS = re.compile(rb"(?:\xef\xbb\xbf|\xc3\xaf\xc2\xbb\xc2\xbf)+")
_TYPE = re.compile(r"[^\s;,]*")
_CHARSET = re.compile(r"""[;\s]charset\s*=\s*["']?([^\s"';,]*)""", re.IGNORECASE)
# A parameter may hold commas, semicolons and the word charset in quotes.
_QUOTED = re.compile(r"""([;\s]charset\s*=\s*)?"(?:[^"\\]|\\.)*\"""", re.IGNORECASE)
_SAFE_TO_REPEAT = re.compile(r"[A-Za-z0-9._-]{1,40}")


def json_text(headers: Headers, body: bytes, most: int) -> bytes:
    """Decode *body* to JSON in UTF-8 without a byte order mark. Bytes labelled UTF-8 are not checked here.

    Raise Problem: 415 for another type, charset or coding; 413 for more than *most* bytes when decompressed;
    400 for bytes that are not what the headers say; 422 for JSON inside a JSON string.
    """
    codec = _codec(headers)
    text = _as_utf8(plain_body(headers, body, most), codec)
    if text.lstrip(b" \t\r\n").startswith(b'"'):
        raise Problem(
            422,
            "The body is a JSON string, not an object: the event was encoded twice. Send the object itself "
            "(in n8n and Make: pass the data, not its JSON.stringify).",
            errors=[("", "JSON within a string: send the object itself, without quotes around it")],
        )
    if text.startswith(b"\x1f\x8b"):
        raise Problem(400, "The body is compressed, and no header says so: send Content-Encoding: gzip with it.")
    return text


def readable_text(headers: Headers, body: bytes, most: int) -> bytes:
    """Decode *body* if that makes it JSON; else return it as it came. For callbacks, whose form is never refused."""
    try:
        text = _as_utf8(plain_body(headers, body, most), _codec_said(_content_types(headers)))
    except Problem:
        return body
    return text if text.lstrip(b" \t\r\n").startswith((b"{", b"[")) else body


def as_signed(headers: Headers, body: bytes, most: int) -> Iterator[bytes]:
    """Yield the bodies that the sender may have signed: as it came, and decompressed."""
    yield body
    try:
        plain = plain_body(headers, body, most)
    except Problem:
        return
    if plain is not body:
        yield plain


def _codec(headers: Headers) -> str:
    """Return the codec that Content-Type names. Raise Problem (415) if the type is not JSON.

    A proxy may have joined two headers, or passed on both.
    """
    given = _content_types(headers)
    if given == ["application/json"]:
        return "utf-8"
    kinds = [part for line in given for part in line.split(",") if part.strip()]
    if not kinds or not all(_is_json(kind) for kind in kinds):
        raise Problem(
            415,
            "The body must be JSON: send it with Content-Type: application/json. "
            "(Zapier and Make send forms unless told otherwise: choose JSON as the payload type.)",
        )
    return _codec_said(kinds)


def _content_types(headers: Headers) -> list[str]:
    """Return the Content-Type lines without what is in quotes, except the name of a charset."""
    lines = headers.getlist("content-type")
    return [_QUOTED.sub(lambda quoted: quoted[0] if quoted[1] else "", line) if '"' in line else line for line in lines]


def _is_json(kind: str) -> bool:
    media = _TYPE.match(kind.strip())
    assert media is not None  # noqa: S101  it matches anything
    name = media[0].lower()
    return name in JSON_TYPES or name.endswith("+json")


def _codec_said(kinds: list[str]) -> str:
    """Return the codec of the charset in these types, or UTF-8 without one. Raise Problem (415)."""
    names = {name for kind in kinds for name in _CHARSET.findall(kind)}
    codecs_said = {CHARSETS.get(re.sub("[-_]", "", name.lower())) for name in names} or {"utf-8"}
    if len(codecs_said) > 1:
        raise Problem(415, "Content-Type names two charsets. Send JSON in UTF-8.")
    (codec,) = codecs_said
    if codec is None:
        (name, *_) = names
        shown = f"charset={name}" if _SAFE_TO_REPEAT.fullmatch(name) else "The charset"
        raise Problem(415, f"{shown} in Content-Type cannot be read. Send JSON in UTF-8.")
    return codec


def plain_body(headers: Headers, body: bytes, most: int) -> bytes:
    """Decompress *body*, as its headers say. Raise Problem: 400, 413 or 415."""
    for _ in range(_layers(headers)):
        body = _decompress(body, most)
    return body


def _layers(headers: Headers) -> int:
    """Return how many times the body was compressed with gzip. Raise Problem (415) for any other coding."""
    given = headers.getlist("content-encoding")
    if not given:
        return 0
    codings = [name for line in given for part in line.split(",") if (name := part.strip().lower())]
    codings = [name for name in codings if name != "identity"]
    if len(codings) > MOST_LAYERS or any(name not in ("gzip", "x-gzip") for name in codings):
        raise Problem(
            415,
            "This Content-Encoding cannot be read: send gzip, or do not compress.",
            headers={"Accept-Encoding": "gzip"},
        )
    return len(codings)


def _decompress(body: bytes, most: int) -> bytes:
    """Decompress gzip, without ever holding more than *most* bytes."""
    parts: list[bytes] = []
    room = most
    for _ in range(MOST_MEMBERS):
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(body, room + 1)
        except zlib.error:
            raise _not_gzip() from None
        room -= len(part)
        if room < 0:
            raise too_large(most)
        parts.append(part)
        if not member.eof:
            raise _not_gzip()
        body = member.unused_data.lstrip(b"\0")  # padding to a block, as in tape archives
        if not body:
            return b"".join(parts)
    raise _not_gzip()


def _not_gzip() -> Problem:
    return Problem(400, "Content-Encoding says gzip, and the body is not gzip, or not all of it.")


def _as_utf8(body: bytes, codec: str) -> bytes:
    for mark, marked in MARKS:
        if body.startswith(mark):
            codec = marked
            break
    else:
        codec = _codec_without_mark(body, codec)
    if codec == "utf-8":
        marks = _UTF8_MARKS.match(body)
        return body[marks.end() :] if marks else body
    try:
        return body.decode(codec).lstrip("\ufeff").encode()
    except UnicodeError:
        raise Problem(400, "The body is not JSON: it is not text in the charset that it says.") from None


def _codec_without_mark(body: bytes, codec: str) -> str:
    """Return the body's real codec: a NUL in its first four bytes means UTF-16 or UTF-32, whatever the headers say."""
    if codec == "cp1252":
        return "utf-8" if _is_utf8(body) else codec  # many libraries declare Latin-1 and send UTF-8
    if 0 in body[:4] or codec.startswith(("utf-16", "utf-32")):
        return json.detect_encoding(body).removesuffix("-sig")
    return codec


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
