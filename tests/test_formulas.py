"""No text of ours is calculated by a spreadsheet that opens it."""

from __future__ import annotations

import pytest

from enrichment.formulas import defuse


@pytest.mark.parametrize(
    "text",
    [
        "=cmd|'/C calc'!A0", "+1+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", " =1", '"=1',
        "+0151234567", "+49 1512345", "+4915123456789012", "+491512345678\n",
    ],
)  # fmt: skip
def test_a_text_that_begins_a_formula_is_defused(text: str) -> None:
    """An apostrophe before it makes it a text; nothing is taken away."""
    told = defuse(text)

    assert told.startswith("'")
    assert told.replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize("separator", [";", ",", "|", "\t", "\n"])
def test_a_cell_that_another_separator_would_make_is_defused(separator: str) -> None:
    """A spreadsheet with another separator than the file's splits a text in two."""
    assert defuse(f"Acme{separator}=1+1") == f"Acme{separator}'=1+1"


@pytest.mark.parametrize("text", ["+491512345678", "+15551234567", "", "Jane Doe", "a+b@acme.co", "3-4", "Doe, Jane"])
def test_a_number_and_plain_texts_stay_as_they_are(text: str) -> None:
    """A number in E.164 begins with a plus sign, and is what the file is for."""
    assert defuse(text) == text
