"""Workbooks are read as a person sees them, and none takes more memory than it may."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest

from enrichment.files import open_table, read_rows
from enrichment.files.table import FileProblem, Table
from tests.workbooks import number, row, text, write_workbook

HEADER = row(1, text("A1", "Name"), text("B1", "E-Mail"))
JANE = row(2, text("A2", "Jane"), text("B2", "jane@acme.co"))
TOO_LARGE = "the workbook is too large; save it as csv (UTF-8), which may be of any length"
DAMAGED = "the workbook is damaged; open it and save it again as xlsx, or as csv (UTF-8)"


def read(path: Path, sheet: str | None = None) -> tuple[Table, list[tuple[str, ...]]]:
    """Return the table, and the values of its rows."""
    table = open_table(path, name=path.name, sheet=sheet)
    return table, [one.values for one in read_rows(path, table)]


def test_the_first_visible_sheet_with_rows_is_read(tmp_path: Path) -> None:
    """Unless another is named, which may be hidden."""
    sheets = [("Empty", ""), ("Secret", HEADER), ("People", HEADER + JANE), ("More", HEADER)]
    path = write_workbook(tmp_path / "a.xlsx", sheets, hidden=["Secret"])

    assert read(path) == (Table(("Name", "E-Mail"), "xlsx", None, None, "People"), [("Jane", "jane@acme.co")])
    assert read(path, "Secret")[0].sheet == "Secret"
    with pytest.raises(FileProblem, match="no sheet is called 'Poeple'; there are 'Empty', 'Secret', 'People', 'More'"):
        read(path, "Poeple")
    with pytest.raises(FileProblem, match="the sheet 'Empty' is empty"):
        read(path, "Empty")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (number("A2", "42"), "42"),
        (number("A2", "4915112345678"), "4915112345678"),
        (number("A2", "4.915112345678E+12"), "4915112345678"),
        (number("A2", "1E+20"), "100000000000000000000"),
        (number("A2", "0.5"), "0.5"),
        (number("A2", "-7"), "-7"),
        (number("A2", "45000", 1), "2023-03-15"),
        (number("A2", "45000.75", 2), "2023-03-15 18:00:00"),
        (number("A2", "0.75", 3), "18:00:00"),
        ('<c r="A2" t="b"><v>1</v></c>', "true"),
        ('<c r="A2" t="s"><v>1</v></c>', " two\nlines "),
        ('<c r="A2" t="str"><f>A1&amp;"x"</f><v>Namex</v></c>', "Namex"),
        (text("A2", "0042"), "0042"),
        (text("A2", "=1+1"), "=1+1"),
        ("<c><v>42</v></c>", "42"),
    ],
)
def test_a_cell_is_what_a_person_reads(tmp_path: Path, cell: str, value: str) -> None:
    """Ids are whole numbers, dates are ISO 8601, and texts are texts."""
    path = write_workbook(tmp_path / "a.xlsx", [("S", HEADER + row(2, cell))], shared=["one", " two\nlines "])

    assert read(path)[1] == [(value, "")]


def test_a_table_may_begin_anywhere(tmp_path: Path) -> None:
    """Empty rows and columns before it, empty rows in it, and a title above it are not of the table."""
    body = [
        row(2, text("B2", "Contacts of May")),
        row(4, text("B4", "Name"), text("D4", "Mail")),
        row(5, text("B5", "Jane"), text("E5", "x")),
        row(8, text("D8", "r@acme.co"), '<c r="XFD8" s="1"/>'),
    ]

    table, rows = read(write_workbook(tmp_path / "a.xlsx", [("S", "".join(body))]))

    assert table.columns == ("Name", "column 2", "Mail", "column 4")
    assert rows == [("Jane", "", "", "x"), ("", "", "r@acme.co", "")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        # Two cells, for which calamine would make room for 17 billion.
        (HEADER + row(1048576, number("XFD1048576", "1")), TOO_LARGE),
        (HEADER + '<row r="999999"/><row><c/><c/><c><v>1</v></c></row>', TOO_LARGE),
        (HEADER + row(2, number("XFE2", "1")), TOO_LARGE),
        (HEADER + row(99999999999, number("A99999999999", "1")), DAMAGED),
        # 30,000 characters in each of 5,000 cells.
        (HEADER + '<row><c t="s"><v>0</v></c></row>' * 5_000, TOO_LARGE),
        (HEADER + row(2, '<c r="A2" t="s"><v>1</v></c>'), DAMAGED),
        (HEADER + row(2, '<c r="A2" t="s"><v>-1</v></c>'), DAMAGED),
        (HEADER + row(2, number("A", "1")), DAMAGED),
        (HEADER + "<row>", DAMAGED),
    ],
)
def test_a_sheet_that_would_take_too_much_is_refused_before_it_is_read(tmp_path: Path, rows: str, message: str) -> None:
    """What its cells span and show is measured first."""
    path = write_workbook(tmp_path / "a.xlsx", [("S", rows)], shared=["x" * 30_000])

    with pytest.raises(FileProblem) as problem:
        open_table(path, name="a.xlsx")
    assert str(problem.value) == message


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    """What its directory says is believed if it is too much, and proved if it is not."""
    path = write_workbook(tmp_path / "bomb.xlsx", [("S", HEADER + JANE)])
    size = 3_000_003
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/bomb.xml", "<x>" + " " * (size - 7) + "</x>")
    whole = path.read_bytes()
    assert whole.count(size.to_bytes(4, "little")) == 2
    read(path)

    for claimed, message in ((129 << 20, TOO_LARGE), (1000, DAMAGED)):
        path.write_bytes(whole.replace(size.to_bytes(4, "little"), claimed.to_bytes(4, "little")))
        with pytest.raises(FileProblem) as problem:
            open_table(path, name="bomb.xlsx")
        assert str(problem.value) == message


def test_entities_are_refused(tmp_path: Path) -> None:
    """A workbook needs none, and they multiply."""
    path = write_workbook(tmp_path / "a.xlsx", [("S", HEADER)])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/more.xml", '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>')

    with pytest.raises(FileProblem) as problem:
        open_table(path, name="a.xlsx")
    assert str(problem.value) == DAMAGED


def test_other_archives_are_named_for_what_they_are(tmp_path: Path) -> None:
    """A zip of something else, and one that is cut off."""
    other = tmp_path / "other.xlsx"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("content.xml", "<x/>")
    with pytest.raises(FileProblem, match="a zip archive, but no xlsx workbook"):
        open_table(other, name="other.xlsx")

    cut = write_workbook(tmp_path / "cut.xlsx", [("S", HEADER)])
    cut.write_bytes(cut.read_bytes()[:-30])
    with pytest.raises(FileProblem, match="damaged"):
        open_table(cut, name="cut.xlsx")

    table = tmp_path / "a.csv"
    table.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(FileProblem, match=r"a\.csv is no xlsx workbook and has no sheets"):
        open_table(table, name="a.csv", sheet="S")


def test_a_spoilt_workbook_is_read_or_refused(tmp_path: Path) -> None:
    """Whatever byte is wrong, no other exception leaves, and no panic of calamine's."""
    path = write_workbook(tmp_path / "a.xlsx", [("S", HEADER + JANE)], shared=["one"])
    whole = path.read_bytes()
    stored = tmp_path / "stored.xlsx"
    with zipfile.ZipFile(path) as packed, zipfile.ZipFile(stored, "w") as plain:
        for part in packed.infolist():
            plain.writestr(part.filename, packed.read(part))
    rng = random.Random(12)
    refused = 0
    for body in (whole, stored.read_bytes()):
        for _ in range(50):
            spoilt = bytearray(body)
            for _ in range(rng.choice((1, 1, 3))):
                spoilt[rng.randrange(4, len(spoilt))] = rng.randrange(256)
            path.write_bytes(spoilt)
            try:
                read(path)
            except FileProblem:
                refused += 1

    assert 50 < refused < 100
