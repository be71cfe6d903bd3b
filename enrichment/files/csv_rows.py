"""Read csv files as people's programs write them, in constant memory.

Separators are commas, semicolons, tabs or bars; Excel's first line `sep=;` names one. Fields may be quoted and hold
line breaks; lines end in CR, LF or both. Rows may be shorter or longer than the header. Empty lines are no rows.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from enrichment.files.encodings import OTHERS, find_encoding
from enrichment.files.table import FileProblem, Table, below_preamble, name_columns

SEPARATORS = (",", ";", "\t", "|")
LONGEST_ROW = 1 << 20  # characters; a quote that is never closed would make the rest of the file one row
_SEPARATOR_LINE = re.compile(r"\ufeff?\"?sep=([,;\t|:])\"?[\r\n]*", re.IGNORECASE)
_LOOKED_AT = 50  # records, to find the separator
_UNCLOSED = "perhaps a quotation mark in or above it is not closed"


def open_csv(path: Path) -> Table:
    """Return how to read *path*. Raise FileProblem.

    The whole file is read once, so that no row is a surprise later, and the longest row has a column for each value.
    """
    encoding = find_encoding(path)
    _refuse_binary(path, encoding)
    separator = _named_separator(path, encoding) or _find_separator(path, encoding)
    records = below_preamble(_records(path, encoding, separator))
    header = next(records, None)
    if header is None:
        raise FileProblem("the file is empty; its first row has to name the columns")
    width = max(len(header), max(map(len, records), default=0))
    return Table(name_columns(header, width), "csv", encoding, separator, None)


def csv_records(path: Path, table: Table) -> Iterator[list[str]]:
    """Yield the header and the rows as they are written, each with its own number of values."""
    return below_preamble(_records(path, table.encoding or "utf-8", table.separator or ","))


def _refuse_binary(path: Path, encoding: str) -> None:
    """Raise FileProblem if the start of the file is no text: more than one in ten characters is a control."""
    with path.open(encoding=encoding, errors=OTHERS, newline="") as file:
        start = file.read(1 << 16)
    controls = sum(start.count(chr(code)) for code in range(32) if chr(code) not in "\t\n\r")
    if controls * 10 > len(start):
        raise FileProblem("the file is not a table; save it as csv (UTF-8) or as xlsx")


def _named_separator(path: Path, encoding: str) -> str | None:
    with path.open(encoding=encoding, errors=OTHERS, newline="") as file:
        named = _SEPARATOR_LINE.fullmatch(file.readline(20))
    return named[1] if named else None


def _find_separator(path: Path, encoding: str) -> str:
    """Return the separator that splits the first row, or the header; most rows like it; and into most values."""

    def fitness(separator: str) -> tuple[bool, bool, float, int]:
        records: list[list[str]] = []
        # What cannot be read with the right separator either is a problem later.
        with suppress(FileProblem):
            records.extend(islice(_records(path, encoding, separator), _LOOKED_AT))
        top = next(filter(None, records), [])
        header, *rows = [len(record) for record in below_preamble(records)] or [0]
        alike = rows.count(header) / len(rows) if rows else 1.0
        return header > 1 and max(rows, default=2) > 1, len(top) > 1, alike, header

    return max(SEPARATORS, key=fitness)


def _records(path: Path, encoding: str, separator: str) -> Iterator[list[str]]:
    """Yield every record of the file, empty lines too. Raise FileProblem for a row that is too long."""
    taken = 0

    with path.open(encoding=encoding, errors=OTHERS, newline="") as file:

        def lines() -> Iterator[str]:
            nonlocal taken
            if not _SEPARATOR_LINE.fullmatch(file.readline(20)):
                file.seek(0)
            while line := file.readline(LONGEST_ROW):
                taken += len(line)
                if taken >= LONGEST_ROW:
                    raise FileProblem(f"row {number} is longer than {LONGEST_ROW:,} characters; {_UNCLOSED}")
                yield line

        number = 0
        reader = csv.reader(lines(), delimiter=separator)
        try:
            for record in reader:
                taken = 0
                number += bool(record)
                yield record
        except csv.Error:
            raise FileProblem(
                f"row {number} has a value longer than {csv.field_size_limit():,} characters; {_UNCLOSED}"
            ) from None
