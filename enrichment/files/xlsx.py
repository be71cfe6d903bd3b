"""Read xlsx workbooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from enrichment.files.table import FileProblem, Table


def open_xlsx(path: Path, sheet: str | None) -> Table:
    """Return how to read the workbook. Raise FileProblem."""
    raise FileProblem("xlsx cannot be read yet; save it as csv (UTF-8)")


def xlsx_records(path: Path, table: Table) -> Iterator[list[str]]:
    """Yield the header and the rows of the sheet, as text. Raise FileProblem."""
    raise FileProblem("xlsx cannot be read yet; save it as csv (UTF-8)")
