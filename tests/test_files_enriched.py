"""The enriched file has every cell of its source, ours beside them, and no formula that we brought."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrichment.files import open_table, read_rows
from enrichment.files.enriched import Result, our_columns, write_enriched
from enrichment.files.table import FileProblem
from tests.workbooks import number, row, text, write_workbook

FOUND = Result(
    mobile="+4915112345678",
    status="found",
    reason="LeadMagic has it",
    line_type="mobile",
    provider="leadmagic",
    credits=Decimal("5.50"),
    lookup="0192",
)
OURS = ",".join(our_columns([]))


def enrich(source: Path, *results: tuple[int, Result]) -> bytes:
    """Return the bytes of the enriched file."""
    target = source.with_name("enriched.csv")
    write_enriched(source, open_table(source, name=source.name), results, target)
    return target.read_bytes()


def test_the_columns_are_added_and_nothing_else_changes(tmp_path: Path) -> None:
    """Quotes that a value does not need go, its text stays; rows without a result have empty cells."""
    source = tmp_path / "a.csv"
    source.write_bytes(b'Name,"E-Mail",\n"Doe, ""J""",=1+1,\n\nRick\n')

    assert enrich(source, (2, FOUND)).decode().split("\r\n") == [
        f"Name,E-Mail,,{OURS}",
        '"Doe, ""J""",=1+1,,,,,,,,',
        "Rick,,,+4915112345678,found,LeadMagic has it,mobile,leadmagic,5.50,0192",
        "",
    ]


@pytest.mark.parametrize(
    ("encoding", "begins"),
    [
        ("ascii", b"Name"),
        ("utf-8", b"\xef\xbb\xbfName"),
        ("cp1252", b"\xef\xbb\xbfName"),
        ("utf-16", b"\xef\xbb\xbfName"),
    ],
)
def test_excel_opens_what_it_could_open(tmp_path: Path, encoding: str, begins: bytes) -> None:
    """With the source's separator; and UTF-8 with a mark, unless the source is ASCII."""
    source = tmp_path / "a.csv"
    name = "Joerg" if encoding == "ascii" else "Jörg"
    source.write_bytes(f"Name;Mail\r\n{name};j\r\n".encode(encoding))

    written = enrich(source, (1, FOUND))

    assert written.startswith(begins + b";Mail;ringback_mobile;")
    assert f"{name};j;+4915112345678;found;".encode() in written


def test_a_workbook_becomes_csv(tmp_path: Path) -> None:
    """With the cells as a person reads them."""
    body = row(1, text("A1", "Id"), text("B1", "Name")) + row(2, number("A2", "42"), text("B2", "Jörg"))
    source = write_workbook(tmp_path / "a.xlsx", [("S", body)])

    assert enrich(source, (1, FOUND)).decode("utf-8-sig").split("\r\n")[:2] == [
        f"Id,Name,{OURS}",
        "42,Jörg,+4915112345678,found,LeadMagic has it,mobile,leadmagic,5.50,0192",
    ]


def test_a_file_may_be_enriched_again(tmp_path: Path) -> None:
    """The columns of before stay, and the new ones have names of their own."""
    source = tmp_path / "a.csv"
    source.write_bytes(b"Name,Ringback_Mobile,ringback_status_2\nJane,1,2\n")

    header = enrich(source).decode().split("\r\n")[0]

    assert header.startswith("Name,Ringback_Mobile,ringback_status_2,ringback_mobile_3,ringback_status_3,")


def test_each_of_our_columns_is_defused(tmp_path: Path) -> None:
    """Whichever of them a vendor's text comes to; the source's cells are left as they are."""
    source = tmp_path / "a.csv"
    source.write_bytes(b"Name\n=1\n")
    result = Result(mobile="=1", status="=1", reason="=1", line_type="=1", provider="=1", lookup="=1")

    assert enrich(source, (1, result)).decode().split("\r\n")[1] == "=1,'=1,'=1,'=1,'=1,'=1,,'=1"


def test_the_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """For its owner alone; a failure leaves what was there before, and nothing beside it."""
    source = tmp_path / "a.csv"
    source.write_bytes(b"Name\nJane\nRick\n")
    target = tmp_path / "out.csv"
    target.write_bytes(b"before")
    table = open_table(source, name="a.csv")

    def broken() -> Iterator[tuple[int, Result]]:
        yield 1, FOUND
        raise ConnectionError

    with pytest.raises(ConnectionError):
        write_enriched(source, table, broken(), target)
    for of_other_rows in ([(3, FOUND)], [(2, FOUND), (1, FOUND)], [(0, FOUND)]):
        with pytest.raises(FileProblem, match="the file has no row"):
            write_enriched(source, table, of_other_rows, target)
    assert target.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "out.csv"}

    write_enriched(source, table, [(1, FOUND)], target)
    assert target.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "out.csv"}


def test_the_source_is_not_overwritten(tmp_path: Path) -> None:
    """By none of its names."""
    source = tmp_path / "a.csv"
    source.write_bytes(b"Name\nJane\n")
    (tmp_path / "link.csv").symlink_to(source)

    with pytest.raises(FileProblem, match="would replace its source; choose another name"):
        write_enriched(source, open_table(source, name="a.csv"), [], tmp_path / "link.csv")


cells = st.text(st.sampled_from("ab,;\t|\"'\r\n =+@é€\ufeff😀"), max_size=6)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(cells, min_size=2, max_size=4), min_size=1, max_size=5),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_every_cell_keeps_its_text(tmp_path: Path, rows: list[list[str]], separator: str, encoding: str) -> None:
    """What was written can be read, and is what was there."""
    rows = [["a\0b", "c"], *rows]  # more than a few NULs are no table
    lines = [["name", "mail", "x", "y"], *rows]
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in line] for line in lines]
    source = tmp_path / "source.csv"
    source.write_bytes("\n".join(map(separator.join, quoted)).encode(encoding))
    table = open_table(source, name="source")
    target = tmp_path / "target.csv"

    write_enriched(source, table, [(len(rows), FOUND)], target)

    written = open_table(target, name="target")
    assert written.columns == (*table.columns, *our_columns(table.columns))
    assert written.separator == table.separator
    before, after = (list(read_rows(path, one)) for path, one in ((source, table), (target, written)))
    assert [one.values for one in before] == [one.values[: len(table.columns)] for one in after]
    assert after[-1].values[len(table.columns) :][:2] == ("+4915112345678", "found")
