"""A table of contacts in a file: its columns and rows, whatever the file's format is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

MOST_COLUMNS = 1000


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
    wanted = [" ".join(name.strip("\ufeff").split()) for name in header] + [""] * (width - len(header))
    wanted = [name or f"column {place}" for place, name in enumerate(wanted, 1)]
    taken = set(wanted)
    names: list[str] = []
    given: set[str] = set()
    for name in wanted:
        unique, times = name, 1
        while unique in given or (times > 1 and unique in taken):
            times += 1
            unique = f"{name} ({times})"
        names.append(unique)
        given.add(unique)
    return tuple(names)


def fit(values: list[str], width: int) -> tuple[str, ...]:
    """Return *values* as *width* cells; a short row ends in empty ones."""
    return (*values[:width], *[""] * (width - len(values)))
