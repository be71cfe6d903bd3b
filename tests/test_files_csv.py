"""Csv files as spreadsheets, CRMs and scripts write them are read whole, and what is no table is refused by name."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrichment.files import open_table, read_rows
from enrichment.files.encodings import find_encoding
from enrichment.files.table import FileProblem, Table

Read = Callable[[bytes], tuple[Table, list[tuple[str, ...]]]]

ROWS = [("Jörg Müßig", "joerg@acme.co"), ("Zoë “Z” €", "zoe@acme.co")]
TEXT = "Name;E-Mail\r\n" + "".join(f'"{name}";{email}\r\n'.replace("“Z”", '""Z""') for name, email in ROWS)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return how to read bytes as a file."""
    path = tmp_path / "contacts.csv"

    def read_bytes(body: bytes) -> tuple[Table, list[tuple[str, ...]]]:
        path.write_bytes(body)
        table = open_table(path, name=path.name)
        rows = list(read_rows(path, table))
        assert [row.number for row in rows] == list(range(1, len(rows) + 1))
        return table, [row.values for row in rows]

    return read_bytes


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16"),
        ("utf-16-be", "utf-16"),
        ("utf-32", "utf-32"),
        ("cp1252", "windows-1252"),
    ],
)
def test_each_encoding_is_found(read: Read, encoding: str, found: str) -> None:
    """By its mark; else UTF-8 if the whole file is, and Windows-1252 if not."""
    mark = "\ufeff" if encoding in {"utf-16-le", "utf-16-be"} else ""

    table, rows = read((mark + TEXT).encode(encoding))

    assert (table.encoding, table.columns) == (found, ("Name", "E-Mail"))
    assert rows == [(name.replace("“Z”", '"Z"'), email) for name, email in ROWS]


def test_a_byte_at_the_end_may_decide_about_the_whole_file(read: Read) -> None:
    """Half a megabyte of ASCII says nothing about the encoding of what follows."""
    ascii_rows = (b"Jane" * 100 + b",jane@acme.co\n") * 1250

    for last, encoding in (("Jörg".encode(), "utf-8"), ("Jörg".encode("cp1252"), "windows-1252")):
        table, rows = read(b"name,email\n" + ascii_rows + last + b",j@acme.co\n")
        assert (rows[-1], table.encoding) == (("Jörg", "j@acme.co"), encoding)


def test_one_wrong_byte_spoils_no_other_character(read: Read) -> None:
    """Of two files that were joined, the shorter one's characters are read one by one."""
    body = b"name,city\n" + "Jörg,Köln\n".encode() * 50 + "Zoë,Orléans\n".encode("cp1252")

    table, rows = read(body)

    assert table.encoding == "utf-8"
    assert (rows[0], rows[-1]) == (("Jörg", "Köln"), ("Zoë", "Orléans"))


def test_a_character_may_lie_across_two_chunks(tmp_path: Path) -> None:
    """A chunk that ends within a character is no sign of another encoding."""
    path = tmp_path / "contacts.csv"
    for before in range((1 << 18) - 4, (1 << 18) + 1):
        for text, encoding in (("€", "utf-8"), ("ü", "utf-8")):
            path.write_bytes(b"x" * before + text.encode())
            assert find_encoding(path) == encoding


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_separator_and_line_end_is_found(read: Read, separator: str, end: str) -> None:
    """Other separators may stand in values, quoted or not, and quoted values may hold lines."""
    lines = ["name,email,note", '"Doe, Jane",j@acme.co,"one\ntwo"', "Roe; Rick | Roy,r@acme.co,", '"a ""b""",c,d']
    if separator != ",":
        lines = [line.replace("Doe, ", "Doe\0 ").replace(",", separator).replace("\0", ",") for line in lines]
        lines[2] = lines[2].replace("Roe; Rick | Roy", f'"Roe{separator} Rick"')

    table, rows = read(end.join(lines).encode())

    assert (table.separator, table.columns) == (separator, ("name", "email", "note"))
    assert rows[0] == ("Doe, Jane", "j@acme.co", "one\ntwo")
    assert rows[2] == ('a "b"', "c", "d")


@pytest.mark.parametrize(
    ("body", "columns", "rows"),
    [
        ("sep=;\r\na;b\r\n1,5;2\r\n", ("a", "b"), [("1,5", "2")]),  # Excel's own first line
        ("\ufeffsep=|\na|b\n1|2", ("a", "b"), [("1", "2")]),
        ("Full name\nDoe, Jane\nRoe, Rick\n", ("Full name",), [("Doe, Jane",), ("Roe, Rick",)]),
        (
            "Name;City, Country;Zip\nA;B, C;D\nE;F;G\n",
            ("Name", "City, Country", "Zip"),
            [("A", "B, C", "D"), ("E", "F", "G")],
        ),
        ("a,b\n\n\n1,2\n\n", ("a", "b"), [("1", "2")]),  # empty lines are no rows
        ("a,b\n,\n", ("a", "b"), [("", "")]),  # empty values are one
        (
            "a,b,c\n1\n1,2,3,4,5\n",
            ("a", "b", "c", "column 4", "column 5"),
            [("1", "", "", "", ""), ("1", "2", "3", "4", "5")],
        ),
        ("a,A,a,,a (2)\n1,2,3,4,5\n", ("a", "A", "a (3)", "column 4", "a (2)"), [("1", "2", "3", "4", "5")]),
        ("name,email\n", ("name", "email"), []),
        ("name", ("name",), []),
        ("a,b\n1,x\0y\n" + "1,2\n" * 9, ("a", "b"), [("1", "x\0y")] + [("1", "2")] * 9),
        ('a,b\n1,2\n"x,1\n', ("a", "b"), [("1", "2"), ("x,1\n", "")]),  # never closed
        (
            'Notes:\n"When exporting, you may see\nthat"\n\nFirst Name,URL\nJane,x\n',
            ("First Name", "URL"),
            [("Jane", "x")],
        ),
        (" Name \n x \n", ("Name",), [(" x ",)]),
    ],
)
def test_odd_tables_are_read(read: Read, body: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Every value keeps its text and has a column with a name of its own."""
    table, found = read(body.encode())

    assert (table.columns, found) == (columns, rows)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the file is empty; its first row has to name the columns"),
        (b"\xef\xbb\xbf\r\n\r\n", "the file is empty; its first row has to name the columns"),
        (b"sep=;\n", "the file is empty; its first row has to name the columns"),
        (bytes(range(256)) * 9, "the file is not a table; save it as csv (UTF-8) or as xlsx"),
        ("name,email\n".encode("utf-16-le"), "the file is not a table; save it as csv (UTF-8) or as xlsx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99, "contacts.csv is an old or encrypted workbook;"),
        (
            b'a,b\n1,2\n3,"' + b"4\n" * 70_000,
            "row 2 has a value longer than 131,072 characters; perhaps a quotation mark",
        ),
        (b"a,b\n1,2\n" + b"x" * 70_000 * 16 + b",2\n", "row 2 is longer than 1,048,576 characters; perhaps"),
        (b"a,b\n" + b'"\n",' * 280_000, "row 1 is longer than 1,048,576 characters; perhaps"),
        (b"," * 1000 + b"\n", "the file has 1001 columns; at most 1000 can be read"),
        (b"jane@acme.co,Jane\nrick@acme.co,Rick\n", "the first row holds a person, not the names of columns;"),
        (b"https://www.linkedin.com/in/jane\n", "the first row holds a person, not the names of columns;"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_remedy(read: Read, body: bytes, message: str) -> None:
    """The message says what to do, and has nothing of the file in it."""
    with pytest.raises(FileProblem) as problem:
        read(body)

    assert str(problem.value).startswith(message)
    assert "jane" not in str(problem.value)


def test_a_file_that_is_not_there_is_a_problem_of_the_file(tmp_path: Path) -> None:
    """Its name is the one that people know."""
    for path in (tmp_path / "upload-1", tmp_path):
        with pytest.raises(FileProblem, match=r"^contacts\.csv cannot be read: "):
            open_table(path, name="contacts.csv")


def test_a_long_file_is_read_in_constant_memory(tmp_path: Path) -> None:
    """The peak is that of the pieces that are read at once, and no part of the file's length."""
    path = tmp_path / "long.csv"
    row = ("Jörg,%s\n" % ("x" * 500)).encode("cp1252")
    peaks = []
    for rows in (2_000, 10_000):
        path.write_bytes(b"name,note\n" + row * rows)
        tracemalloc.start()
        table = open_table(path, name="long.csv")
        count = sum(1 for _ in read_rows(path, table))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == rows

    assert peaks[1] < peaks[0] * 1.1 < path.stat().st_size / 2


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.text('a,;\t|"\r\n\0=é€\ufeff', max_size=60).map(str.encode),
        st.binary(max_size=60).map(lambda body: b"PK\x03\x04" + body),
        st.binary(max_size=60).map(lambda body: b"\xff\xfe" + body),
    )
)
def test_whatever_the_bytes_reading_ends_in_rows_or_in_a_problem(tmp_path: Path, body: bytes) -> None:
    """No other exception leaves, and each row has a value for each column."""
    path = tmp_path / "any"
    path.write_bytes(body)
    try:
        table = open_table(path, name="any")
    except FileProblem:
        return

    assert len(set(table.columns)) == len(table.columns)
    assert all(len(row.values) == len(table.columns) for row in read_rows(path, table))
