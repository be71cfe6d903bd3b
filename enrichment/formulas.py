"""Defuse what a spreadsheet would calculate when it opens our texts in a csv file."""

from __future__ import annotations

import re

# A number in every spreadsheet, and nothing else; an apostrophe would break imports into CRMs.
E164 = re.compile(r"\+[1-9][0-9]{2,14}")
# https://owasp.org/www-community/attacks/CSV_Injection: these begin a formula, also behind a separator, because a
# spreadsheet may split at another one than ours.
_BEGINS_A_FORMULA = re.compile("(?:^|(?<=[;,|\t\r\n]))(?=[ \"']*[=+\\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r\n])")


def defuse(text: str) -> str:
    """Put an apostrophe before each character of *text* that would begin a formula; leave a number in E.164 alone."""
    return text if E164.fullmatch(text) else _BEGINS_A_FORMULA.sub("'", text)
