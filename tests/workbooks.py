"""Workbooks as the tests need them: a few parts of XML in a zip archive."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OF_DOCUMENTS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_OF_PACKAGES = "http://schemas.openxmlformats.org/package/2006/relationships"
# Formats: 0 general, 1 a date, 2 a date with a time, 3 a time.
_STYLES = (
    f'<styleSheet xmlns="{_MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="14" applyNumberFormat="1"/>'
    '<xf numFmtId="22" applyNumberFormat="1"/><xf numFmtId="21" applyNumberFormat="1"/></cellXfs></styleSheet>'
)


def write_workbook(
    path: Path, sheets: Sequence[tuple[str, str]], *, hidden: Sequence[str] = (), shared: Sequence[str] = ()
) -> Path:
    """Write *sheets*, (name, XML of its rows), with the *shared* texts to which cells refer."""
    numbered = list(enumerate(sheets, 1))
    names = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}" state="{_state(name in hidden)}"/>'
        for n, (name, _) in numbered
    )
    targets = "".join(_relation(n, "worksheet", f"worksheets/sheet{n}.xml") for n, _ in numbered)
    texts = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in shared)
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": _relations(_relation(1, "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OF_DOCUMENTS}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relations(targets),
        "xl/styles.xml": _STYLES,
        "xl/sharedStrings.xml": f'<sst xmlns="{_MAIN}">{texts}</sst>',
    }
    for n, (_, rows) in numbered:
        parts[f"xl/worksheets/sheet{n}.xml"] = f'<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return path


def row(number: int, *cells: str) -> str:
    """Return the XML of a row; the cells are XML, too."""
    return f'<row r="{number}">{"".join(cells)}</row>'


def text(address: str, value: str) -> str:
    """Return a cell that holds its own text."""
    return f'<c r="{address}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'


def number(address: str, value: str, style: int = 0) -> str:
    """Return a cell with a number, which its style shows as a date or as a time."""
    return f'<c r="{address}" s="{style}"><v>{value}</v></c>'


def _relation(number: int, kind: str, target: str) -> str:
    return f'<Relationship Id="rId{number}" Type="{_OF_DOCUMENTS}/{kind}" Target="{target}"/>'


def _relations(inner: str) -> str:
    return f'<Relationships xmlns="{_OF_PACKAGES}">{inner}</Relationships>'


def _state(hidden: bool) -> str:
    return "hidden" if hidden else "visible"
