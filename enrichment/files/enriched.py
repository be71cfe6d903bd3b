"""Write a table again, with what was found beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from enrichment.files.table import Table


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


def write_enriched(source: Path, table: Table, results: Iterable[tuple[int, Result]], target: Path) -> None:
    """Write the rows of *source* with their results to *target* as csv, whole or not at all. Raise FileProblem.

    *results* are (number of the row, result), in the order of the rows; a row without one has empty cells.
    """
    raise NotImplementedError
