"""Measure a workbook before anything is made of it, and keep what was measured.

An archive's directory may lie about sizes. So each part is unpacked here, up to a limit, into a plain archive that is
read instead of the original.
"""

from __future__ import annotations

import functools
import re
import struct
import zipfile
import zlib
from array import array
from pathlib import Path
from typing import IO
from xml.parsers import expat

from enrichment.files.table import FileProblem

MOST_BYTES = 128 << 20  # of all parts that are read, unpacked
MOST_CELLS = 2_500_000  # of the rectangle that a sheet's cells span; calamine takes 32 bytes for each
MOST_SHARED = 64 << 20  # characters of the shared texts, each as often as cells show it
_LAST_ROW, _LAST_COLUMN = 1 << 20, 1 << 14  # of a sheet
# Python and expat take far more memory for each of these than the archive does.
MOST_PARTS = 10_000
DEEPEST = 100  # elements within one another
LONGEST_TAG = 1 << 20  # bytes
_CHUNK = 1 << 16  # bytes

_SHARED = "xl/sharedstrings.xml"
_READ = re.compile(r"xl/.*\.xml|(?:xl/.*)?_rels/[^/]*\.rels|\[content_types\]\.xml")
_ADDRESS = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")

_NO_XLSX = "the file is a zip archive, but no xlsx workbook; save the table as xlsx, or as csv (UTF-8)"
DAMAGED = "the workbook is damaged; open it and save it again as xlsx, or as csv (UTF-8)"
_TOO_LARGE = "the workbook is too large; save it as csv (UTF-8), which may be of any length"


def copy_measured(path: Path, target: IO[bytes]) -> None:
    """Write the parts of the workbook that are read to *target*, unpacked. Raise FileProblem if it is too large."""
    try:
        _count_parts(path)
        with zipfile.ZipFile(path) as packed, zipfile.ZipFile(target, "w") as plain:
            _copy_parts(packed, plain)
    except FileProblem:
        raise
    except (zipfile.BadZipFile, zlib.error, struct.error, expat.ExpatError, EOFError, RuntimeError, ValueError):
        raise FileProblem(DAMAGED) from None  # RuntimeError: a part is encrypted


def _count_parts(path: Path) -> None:
    """Raise FileProblem if the archive's directory may have too many entries: each begins with a mark."""
    marks, end = 0, b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            marks += (end + chunk).count(b"PK\x01\x02")
            end = chunk[-3:]
    if marks > MOST_PARTS:
        raise FileProblem(_TOO_LARGE)


def _copy_parts(packed: zipfile.ZipFile, plain: zipfile.ZipFile) -> None:
    parts = {part.filename.casefold(): part for part in packed.infolist() if _READ.fullmatch(part.filename.casefold())}
    if "xl/workbook.xml" not in parts:
        raise FileProblem(_NO_XLSX)
    if sum(part.file_size for part in parts.values()) > MOST_BYTES:
        raise FileProblem(_TOO_LARGE)
    lengths = array("L")
    # Shared texts come first: how long they are decides how large the sheets become.
    for name in sorted(parts, key=lambda name: name != _SHARED):
        if parts[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileProblem(DAMAGED)
        measure = _Measure(lengths)
        with packed.open(parts[name]) as part, plain.open(parts[name].filename, "w") as copy:
            while chunk := part.read(_CHUNK):
                copy.write(chunk)
                measure.feed(chunk)
            measure.end()


class _Measure:
    """Parse one part, and raise FileProblem when it becomes too large.

    *lengths* are those of the shared texts, which their part adds and the sheets read.
    """

    def __init__(self, lengths: array[int]) -> None:
        self._lengths = lengths
        self._row = self._column = 0  # of the present cell; the first is 1
        self._rows = self._columns = 0  # of the rectangle that begins at A1 and has all cells with a value
        self._shows_shared = False  # whether the present cell's value is the number of a shared text
        self._shared = 0  # characters of the shared texts that the cells show
        self._heard: list[str] | None = None  # the text of the present element, if it matters
        self._fed = 0  # bytes
        self._depth = 0
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._hear
        parser.StartDoctypeDeclHandler = self._refuse_entities

    def feed(self, chunk: bytes) -> None:
        self._parser.Parse(chunk, False)
        self._fed += len(chunk)
        if self._fed - self._parser.CurrentByteIndex > LONGEST_TAG:
            raise FileProblem(DAMAGED)

    def end(self) -> None:
        self._parser.Parse(b"", True)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise FileProblem(DAMAGED)
        match tag.rpartition(":")[2]:
            case "row":
                self._row, self._column = int(attributes.get("r", self._row + 1)), 0
            case "c":
                self._go_to(attributes.get("r"))
                self._shows_shared = attributes.get("t") == "s"
            case "v" | "is":
                self._rows, self._columns = max(self._rows, self._row), max(self._columns, self._column)
                if self._rows > _LAST_ROW or self._columns > _LAST_COLUMN or self._rows * self._columns > MOST_CELLS:
                    raise FileProblem(_TOO_LARGE)
                self._heard = [] if self._shows_shared else None
            case "si":
                self._heard = []

    def _go_to(self, address: str | None) -> None:
        """Move to the cell with this *address*; without one, to the next."""
        if address is None:
            self._column += 1
            return
        place = _ADDRESS.fullmatch(address.upper())
        if place is None:
            raise FileProblem(DAMAGED)
        self._row = int(place[2])
        self._column = functools.reduce(lambda column, letter: column * 26 + ord(letter) - 64, place[1], 0)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if self._heard is None:
            return
        match tag.rpartition(":")[2]:
            case "si":
                self._lengths.append(sum(map(len, self._heard)))
                self._heard = None
            case "v":
                number = int("".join(self._heard))
                self._heard = None
                if not 0 <= number < len(self._lengths):
                    raise FileProblem(DAMAGED)
                self._shared += self._lengths[number]
                if self._shared > MOST_SHARED:
                    raise FileProblem(_TOO_LARGE)

    def _hear(self, text: str) -> None:
        if self._heard is not None:
            self._heard.append(text)

    def _refuse_entities(self, *_: object) -> None:
        raise FileProblem(DAMAGED)
