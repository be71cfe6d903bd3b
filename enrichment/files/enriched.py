"""Write a table again as csv, with what was found beside it.

The source's cells keep their text; empty lines and what stands above the header are left out. The separator is the
source's. A file of ASCII stays one; every other gets a mark, without which Excel would not read UTF-8.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from enrichment.files import table_records
from enrichment.files.table import FileProblem, Table, fit
from enrichment.formulas import defuse

COLUMNS = ("mobile", "status", "reason", "line_type", "provider", "credits", "lookup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What is known of one row, as the enriched file shows it."""

    mobile: str | None = field(default=None, repr=False)
    status: str
    reason: str | None = None
    line_type: str | None = None
    provider: str | None = None
    credits: Decimal | None = None
    lookup: str | None = None


def write_enriched(
    source: Path,
    table: Table,
    results: Iterable[tuple[int, Result]],
    target: Path,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write the rows of *source* with their results to *target*, whole or not at all. Raise FileProblem or OSError.

    *results* are (number of the row, result) in the order of the rows; a row without one has empty cells. *check* is
    called when all is written: it raises FileProblem if *source* has changed.
    """
    if target.exists() and target.samefile(source):
        raise FileProblem("the enriched file would replace its source; choose another name")
    width = len(table.columns)
    records = table_records(source, table)
    with _whole_or_not(target, "utf-8" if table.encoding == "ascii" else "utf-8-sig") as file:
        # With any other line end, a cell with a lone CR would not be quoted.
        writer = csv.writer(file, delimiter=table.separator or ",", lineterminator="\r\n")
        writer.writerow([*fit(next(records, []), width), *our_columns(table.columns)])
        for record, cells in _beside(records, results):
            writer.writerow([*fit(record, width), *cells])
        check()


def our_columns(columns: Sequence[str]) -> list[str]:
    """Return the names of the columns that are added, such that none is among *columns*."""
    taken = {column.casefold() for column in columns}
    ending, times = "", 1
    while any(f"ringback_{name}{ending}" in taken for name in COLUMNS):
        times += 1
        ending = f"_{times}"
    return [f"ringback_{name}{ending}" for name in COLUMNS]


def _beside(
    records: Iterable[list[str]], results: Iterable[tuple[int, Result]]
) -> Iterator[tuple[list[str], list[str]]]:
    """Yield each record with the cells of its result. Raise FileProblem if there are results of other rows."""
    waiting = iter(results)
    upcoming = next(waiting, None)
    for number, record in enumerate(records, 1):
        if upcoming and upcoming[0] == number:
            yield record, _cells(upcoming[1])
            upcoming = next(waiting, None)
        else:
            yield record, [""] * len(COLUMNS)
    if upcoming:
        raise FileProblem(f"the file has no row {upcoming[0]}, or its results are out of order; was it changed?")


def _cells(result: Result) -> list[str]:
    credits = "" if result.credits is None else format(result.credits, "f")
    texts = (result.mobile, result.status, result.reason, result.line_type, result.provider, credits, result.lookup)
    return [defuse(text or "") for text in texts]


@contextmanager
def _whole_or_not(target: Path, encoding: str) -> Iterator[TextIO]:
    """Open a file beside *target*, readable by its owner alone, which takes its place when it is complete."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(descriptor, "w", encoding=encoding, newline="") as file:  # noqa: PTH123
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
