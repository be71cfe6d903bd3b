"""Read xlsx workbooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from enrichment.files.table import FileProblem, Row, Table


def open_xlsx(path: Path, sheet: str | None) -> Table:
    """Return how to read the workbook. Raise FileProblem."""
    raise FileProblem("xlsx cannot be read yet; save it as csv (UTF-8)")


def read_xlsx(path: Path, table: Table) -> Iterator[Row]:
    """Yield each row of the sheet below its header. Raise FileProblem."""
    raise FileProblem("xlsx cannot be read yet; save it as csv (UTF-8)")
