"""Decide how the bytes of a csv become text, by one pass over the file in constant memory.

A mark at the start decides. Without one, UTF-8 decides for itself: text in another encoding is hardly ever valid UTF-8.
All other text is read as Windows-1252, in which every byte is a character, as in browsers:
https://encoding.spec.whatwg.org/#windows-1252
"""

from __future__ import annotations

import codecs
from pathlib import Path

OTHERS = "ringback.windows-1252"  # the error handler: bytes that are not the encoding's are Windows-1252's
_CHUNK = 1 << 18  # bytes
# UTF-32's mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Python leaves five bytes undefined; browsers read them as controls.
_WINDOWS_1252 = [bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256)]


def _read_others(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(_WINDOWS_1252[byte] for byte in error.object[error.start : error.end]), error.end


codecs.register_error(OTHERS, _read_others)


def find_encoding(path: Path) -> str:
    """Return the encoding to open *path* with, together with the error handler OTHERS: then no byte is an error.

    A file of UTF-8 with a few other bytes, such as two files joined, stays UTF-8: only these bytes are Windows-1252.
    """
    valid = invalid = 0
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    with path.open("rb") as file:
        start = file.read(4)
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                return encoding
        file.seek(0)
        while chunk := file.read(_CHUNK):
            if chunk.isascii() and not decoder.getstate()[0]:
                continue
            text = decoder.decode(chunk)
            beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
            escaped = len(text) - len(text.encode("utf-8", "ignore").decode("utf-8"))
            valid += beyond_ascii - escaped
            invalid += escaped
    invalid += len(decoder.getstate()[0])
    if not valid and not invalid:
        return "ascii"
    return "utf-8" if valid > invalid else "windows-1252"
