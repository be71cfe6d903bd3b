"""Read xlsx workbooks with calamine, which keeps a sheet in memory: so the workbook is measured before.

Calamine makes room for every cell of the rectangle that the cells span, without a limit, and copies a shared text to
each of its cells: a workbook of two kilobytes could end the process. https://github.com/tafia/calamine/issues/693
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from python_calamine import CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from enrichment.files.table import FileProblem, Table, below_preamble, name_columns
from enrichment.files.workbook import DAMAGED, copy_measured

Value: TypeAlias = int | float | str | bool | datetime.time | datetime.date | datetime.datetime | datetime.timedelta


def open_xlsx(path: Path, sheet: str | None) -> Table:
    """Return how to read the *sheet*, or the first visible one with rows. Raise FileProblem."""
    with _workbook(path) as workbook:
        chosen = _choose(workbook, sheet)
        records = below_preamble(_texts(chosen))
        header = next(records, None)
        if header is None:
            raise FileProblem(f"the sheet {chosen.name!r} is empty; its first row has to name the columns")
        width = max(len(header), max(map(len, records), default=0))
        return Table(name_columns(header, width), "xlsx", None, None, chosen.name)


def xlsx_records(path: Path, table: Table) -> Iterator[list[str]]:
    """Yield the header and the rows of the sheet as texts, each up to its last value. Raise FileProblem."""
    with _workbook(path) as workbook:
        yield from below_preamble(_texts(_choose(workbook, table.sheet)))


@contextmanager
def _workbook(path: Path) -> Iterator[CalamineWorkbook]:
    """Open the workbook's measured copy."""
    with tempfile.TemporaryFile() as copy:
        copy_measured(path, copy)
        copy.seek(0)
        with _calamine(), CalamineWorkbook.from_filelike(copy) as workbook:
            yield workbook


@contextmanager
def _calamine() -> Iterator[None]:
    """Turn whatever calamine raises into FileProblem; a panic in Rust is no Exception."""
    try:
        yield
    except (FileProblem, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException:  # noqa: BLE001
        raise FileProblem(DAMAGED) from None


def _choose(workbook: CalamineWorkbook, name: str | None) -> CalamineSheet:
    sheets = [one for one in workbook.sheets_metadata if one.typ == SheetTypeEnum.WorkSheet]
    if name is not None:
        if name not in (one.name for one in sheets):
            raise FileProblem(f"no sheet is called {name!r}; there are {', '.join(repr(one.name) for one in sheets)}")
        return workbook.get_sheet_by_name(name)
    for one in sheets:
        if one.visible == SheetVisibleEnum.Visible:
            sheet = workbook.get_sheet_by_name(one.name)
            if sheet.height:
                return sheet
    raise FileProblem("the workbook has no visible sheet with rows")


def _texts(sheet: CalamineSheet) -> Iterator[list[str]]:
    """Yield each row of the sheet as texts, without the empty cells at its end."""
    for row in sheet.iter_rows():
        texts = [_text(value) for value in row]
        while texts and not texts[-1]:
            texts.pop()
        yield texts


def _text(value: Value) -> str:
    """Return what a person reads in the cell: 42 for 42.0, dates and times in ISO 8601."""
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case datetime.datetime():
            return value.isoformat(" ")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return str(value)
