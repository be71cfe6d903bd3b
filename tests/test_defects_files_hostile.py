"""Workbooks that would take gigabytes, or minutes, to read are refused: they would end each reconciler in turn."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from enrichment.files import open_table
from enrichment.files.table import FileProblem
from enrichment.files.workbook import DEEPEST, LONGEST_TAG, MOST_PARTS
from tests.workbooks import row, write_workbook

CELL = '<c r="A1" t="inlineStr"><is><t>E-Mail</t></is></c>'
NESTED = f"{'<b>' * DEEPEST}{'</b>' * DEEPEST}"
ATTRIBUTES = "<b " + " ".join(f"a{number}='1'" for number in range(LONGEST_TAG // 7)) + "/>"


@pytest.mark.parametrize("more", [NESTED, ATTRIBUTES], ids=["elements in elements", "attributes"])
def test_xml_that_takes_more_memory_than_the_archive_says_is_refused(tmp_path: Path, more: str) -> None:
    """The parser keeps what has not ended; a workbook has no use for so much of it."""
    path = write_workbook(tmp_path / "a.xlsx", [("One", row(1, CELL) + more)])

    with pytest.raises(FileProblem, match="damaged"):
        open_table(path, name="a.xlsx")


def test_an_archive_of_too_many_parts_is_refused(tmp_path: Path) -> None:
    """Its directory alone would fill the memory."""
    path = write_workbook(tmp_path / "a.xlsx", [("One", row(1, CELL))])
    assert open_table(path, name="a.xlsx").columns == ("E-Mail",)
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(MOST_PARTS):
            archive.writestr(str(number), b"")

    with pytest.raises(FileProblem, match="too large"):
        open_table(path, name="a.xlsx")
