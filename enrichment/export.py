"""Lookups as a file for other programs: the columns, and the lines in csv and in ndjson."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol, get_args
from uuid import UUID

from enrichment.formulas import defuse
from enrichment.shown import in_utc

Format = Literal["csv", "ndjson"]
FORMATS: tuple[Format, ...] = get_args(Format)
COLUMNS = (
    "id", "created_at", "finished_at", "status", "mobile", "region", "line_type", "provider", "reason", "source",
    "record_id", "profile_url", "work_email", "personal_email", "name", "company", "region_hint", "credits",
    "possibly_charged",
)  # fmt: skip


class Row(Protocol):
    """A lookup, read by the name of a column."""

    def __getitem__(self, column: str, /) -> Any:
        """Return its value."""


def header(format: Format, columns: Sequence[str]) -> str:
    """Return what stands before the first row."""
    return _csv([columns]) if format == "csv" else ""


def lines(format: Format, columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the *rows* as text, a line for each, unless a value of it has lines of its own."""
    return _csv(_cells(columns, row) for row in rows) if format == "csv" else "".join(_ndjson(columns, rows))


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)  # lines end as RFC 4180 says: https://www.rfc-editor.org/rfc/rfc4180#section-2
    return text.getvalue()


def _cells(columns: Sequence[str], row: Row) -> list[str]:
    """Return the cells of a csv row; a text in it that a spreadsheet would calculate is defused."""
    return [
        defuse(value) if isinstance(value, str) else "" if value is None else str(value)
        for value in (_plain(row[name]) for name in columns)
    ]


def _ndjson(columns: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        yield json.dumps({name: _plain(row[name]) for name in columns}, ensure_ascii=False) + "\n"


def _plain(value: Any) -> str | int | float | None:
    """Return the value as JSON has it."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            return in_utc(value)
        case UUID():
            return str(value)
        case None | str() | int() | float():
            return value
    raise TypeError(f"a {type(value).__name__} has no form in an export")
