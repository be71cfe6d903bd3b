"""Tidy a text that a person or a program wrote, before any other reader."""

from __future__ import annotations

import re

LONGEST_INPUT = 2048  # characters; about the limit of browsers and vendors

# Joiners have a meaning inside Persian and Indic words and emoji: remove them only at edges, and dust everywhere.
JOINERS = "\u200c\u200d"
_DUST = "\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_CLEAN = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ") | dict.fromkeys(map(ord, _DUST), "")
QUOTES = "«»“”‘’„"
_OPENING = " \"'`<([{" + QUOTES + JOINERS
_CLOSING = _OPENING + ">)]},;:.!"
_EMPHASIS = re.compile(r"([*_~]{1,3})([^*~]*)\1")  # of Markdown and Slack, and never of a whole address


TEMPLATE = "this is a template that was not filled in"


class Unusable(ValueError):
    """The text cannot be used; the message says what would be usable, and never repeats the text."""


def tidy(raw: str) -> str:
    """Remove controls, invisible characters and extra whitespace. Raise Unusable if PostgreSQL cannot store *raw*."""
    if len(raw) > LONGEST_INPUT:
        raise Unusable(f"at most {LONGEST_INPUT} characters")
    if "\0" in raw:
        raise Unusable("text without NUL characters")
    if raw.isascii():
        return " ".join((raw if raw.isprintable() else raw.translate(_CLEAN)).split())
    try:
        raw.encode()
    except UnicodeEncodeError:  # half a surrogate pair: valid in JSON, in nothing else
        raise Unusable("whole Unicode characters") from None
    return collapse(raw)


def collapse(text: str) -> str:
    """Remove controls, invisible characters and extra whitespace from any text."""
    return " ".join(text.translate(_CLEAN).split()).strip(" " + JOINERS)


def unwrap(text: str) -> str:
    """Remove the quotes, brackets and punctuation left from the sentence that *text* was copied from."""
    text = text.lstrip(_OPENING).rstrip(_CLOSING)
    if (emphasized := _EMPHASIS.fullmatch(text)) and ("/" in text or "@" in text):
        return unwrap(emphasized[2])
    return text
