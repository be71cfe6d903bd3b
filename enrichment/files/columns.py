"""Find out which column holds what: by its name, by its values, or by what a person says with --map."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from enrichment.event_fields import IGNORED, TEXT_FIELDS, comes_first, field_of, fold_field
from enrichment.files.table import FileProblem, Row, Table

Mapping = dict[str, str]  # column -> field of a contact

MAPPED = (*TEXT_FIELDS, "record_id")  # the fields that a column may be
_SHOWN = 20  # columns in a message


def guess_mapping(table: Table, first: Sequence[Row]) -> Mapping:
    """Return what the columns seem to be, by their names and by the values of the *first* rows."""
    found: dict[str, str] = {}
    for column in table.columns:
        field = field_of(column, {})
        if field in MAPPED and (field not in found or comes_first(column, field, {})):
            found[field] = column
    return {column: field for field, column in found.items()}


def read_mapping(text: str, table: Table) -> Mapping:
    """Read `E-Mail=work_email, Firma=company`. Raise FileProblem.

    A column with a comma in its name stands in quotation marks; `ignore` is the field of one that is not to be used.
    """
    mapping: Mapping = {}
    for part in _parts(text):
        column, equals, field = (side.strip() for side in part.rpartition("="))
        if not equals or not column:
            raise FileProblem(f"--map needs column=field, such as E-Mail=work_email; {_columns(table)}")
        mapping[_column(column, table)] = _field(field)
    return mapping


def contact_of(row: Row, table: Table, mapping: Mapping) -> dict[str, str]:
    """Return the row's contact as /events/generic takes it; of several columns of one field, the first with a value."""
    contact: dict[str, str] = {}
    for column, value in zip(table.columns, row.values, strict=True):
        field = mapping.get(column, IGNORED)
        if field != IGNORED and value.strip():
            contact.setdefault(field, value)
    return contact


def _parts(text: str) -> Iterator[str]:
    for record in csv.reader([text], skipinitialspace=True):
        yield from (part for part in record if part.strip())


def _column(name: str, table: Table) -> str:
    for column in table.columns:
        if column == name:
            return column
    alike = [column for column in table.columns if fold_field(column) == fold_field(name) != ""]
    if len(alike) != 1:
        raise FileProblem(f"no column is called {name!r}; {_columns(table)}")
    return alike[0]


def _field(name: str) -> str:
    field = IGNORED if name == IGNORED else field_of(name, {})
    if field not in (*MAPPED, IGNORED):
        raise FileProblem(f"{name!r} is no field; a column can be {', '.join((*MAPPED, IGNORED))}")
    return field


def _columns(table: Table) -> str:
    shown = ", ".join(repr(column[:60]) for column in table.columns[:_SHOWN])
    more = len(table.columns) - _SHOWN
    return f"the file's columns are {shown}" + (f" and {more} more" if more > 0 else "")
