"""A table of contacts in a file: its columns and rows, whatever the file's format is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

MOST_COLUMNS = 1000
_PERSONAL = re.compile(r"\S@\w[\w.-]*\.\w|linkedin\.com/", re.IGNORECASE)  # no name of a column
_CONTROLS = re.compile(r"[\0-\x1f\x7f]")  # PostgreSQL takes no NUL, and a terminal obeys others
_MOST_ABOVE = 10  # rows above the header


class FileProblem(ValueError):
    """The file cannot be used; the message says what is wrong and what to do, and never repeats a cell."""


@dataclass(frozen=True, slots=True)
class Table:
    """How a file is to be read. *encoding* and *separator* are csv's, *sheet* is a workbook's.

    *columns* has a name for every column, each name once: unnamed columns are `column 3`, repeated names `E-mail (2)`.
    """

    columns: tuple[str, ...]
    kind: Literal["csv", "xlsx"]
    encoding: str | None
    separator: str | None
    sheet: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row: *number* 1 is the first below the header; *values* are as many as the table's columns."""

    number: int
    values: tuple[str, ...] = field(repr=False)


def name_columns(header: list[str], width: int) -> tuple[str, ...]:
    """Return *width* different names, those of *header* where they are names. Raise FileProblem for too many."""
    if width > MOST_COLUMNS:
        raise FileProblem(f"the file has {width} columns; at most {MOST_COLUMNS} can be read: remove those not needed")
    if any(_PERSONAL.search(name) for name in header):
        raise FileProblem(
            "the first row holds a person, not the names of columns; put one above it, such as: name,email,company"
        )
    wanted = [" ".join(_CONTROLS.sub(" ", name).strip("\ufeff").split()) for name in header]
    wanted += [""] * (width - len(header))
    wanted = [name or f"column {place}" for place, name in enumerate(wanted, 1)]
    names: dict[str, None] = {}
    for name in wanted:
        others = (f"{name} ({times})" for times in count(2))
        # A repeated name must not take one that a later column has.
        names[name if name not in names else next(o for o in others if o not in names and o not in wanted)] = None
    return tuple(names)


def fit(values: list[str], width: int) -> tuple[str, ...]:
    """Return *values* as *width* cells; a short row ends in empty ones."""
    return (*values[:width], *[""] * (width - len(values)))


def below_preamble(records: Iterable[list[str]]) -> Iterator[list[str]]:
    """Yield the header and the rows below it, without empty rows and what stands above the header.

    LinkedIn's export of connections begins with a note: rows of one value, then an empty row.
    https://www.linkedin.com/help/linkedin/answer/a566336
    """
    rest = iter(records)
    first: list[list[str]] = []
    for record in rest:
        if not record and not first:
            continue
        first.append(record)
        if len(record) > 1 or len(first) > _MOST_ABOVE:
            break
    if [] in first and len(first[-1]) > 1:
        first = first[-1:]
    yield from filter(None, first)
    yield from filter(None, rest)
