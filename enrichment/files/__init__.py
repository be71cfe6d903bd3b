"""Files of contacts: read csv and xlsx, find out what their columns are, and write what was found beside them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from enrichment.files.csv_rows import csv_records, open_csv
from enrichment.files.known import require_file
from enrichment.files.table import FileProblem, Row, Table, fit
from enrichment.files.xlsx import open_xlsx, xlsx_records


def open_table(path: Path, *, name: str, sheet: str | None = None) -> Table:
    """Return how to read *path*, which people know as *name*. Raise FileProblem.

    *sheet* names one of a workbook; by default it is the first visible one with rows.
    """
    try:
        require_file(path, name)
        with path.open("rb") as file:
            start = file.read(8)
        if start.startswith(b"PK\x03\x04"):
            return open_xlsx(path, sheet)
        if start == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
            raise FileProblem(f"{name} is an old or encrypted workbook; save it as xlsx without a password, or as csv")
        if sheet is not None:
            raise FileProblem(f"{name} is no xlsx workbook and has no sheets")
        return open_csv(path)
    except OSError as error:
        raise FileProblem(f"{name} cannot be read: {error.strerror or 'the system says no more'}") from None


def read_rows(path: Path, table: Table) -> Iterator[Row]:
    """Yield each row of *path* below its header, in constant memory for csv. Raise FileProblem or OSError."""
    width = len(table.columns)
    for number, record in enumerate(islice(table_records(path, table), 1, None), 1):
        yield Row(number, fit(record, width))


def table_records(path: Path, table: Table) -> Iterator[list[str]]:
    """Yield the header and the rows as they are written, each with its own number of values. Raise as read_rows."""
    return csv_records(path, table) if table.kind == "csv" else xlsx_records(path, table)
