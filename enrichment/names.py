"""Read names of people and companies; refuse placeholders."""

from __future__ import annotations

import re

from enrichment.nothing import ALSO_NAMES, is_junk_word, is_nothing, is_nothing_beside_a_name, is_template
from enrichment.texts import TEMPLATE, Unusable, tidy

LONGEST_NAME = 255  # characters; the longest company that Nyne's sibling endpoints take

_PLACEHOLDER = "this is a placeholder; needed is the person's own name"
_FILLERS = frozenset({
    "undefined", "null", "none", "nan", "nil", "n/a", "#n/a", "unknown", "(null)", "<null>", "(unknown)", "(none)",
    "tbd", "tba", "lnu", "fnu",
})  # fmt: skip
_WORDS_OF_TITLES = """
mr mrs ms miss mx dr prof professor sir dame lord lady rev hon herr frau hr fr dipl ing mag sr sra srta señor señora
don doña mme mlle monsieur madame sig signor signora dott dhr mevr mw pan pani
"""
_TITLES = frozenset(_WORDS_OF_TITLES.split())
_WORDS_OF_REMARKS = """
do not call|do not contact|do not use|do not email|do not mail|delete me|please delete|duplicate contact|former member
former employee|website visitor|website lead|web lead|wireless caller|unknown caller|sales team|support team
click here|contact us|object object|true false|system administrator|admin admin|info info
"""
_REMARKS = frozenset(_WORDS_OF_REMARKS.strip().replace("\n", "|").split("|"))
_NOT_PEOPLE = re.compile(r"linkedin (?:member|user)|.*\((?:sample|test|demo)(?: contact| lead)?\)", re.IGNORECASE)
_WORDS_OF_NOT_COMPANIES = """
test|testing|company|company name|your company|my company|test company|example company|sample company|test inc
unknown company|organization|organisation|example|sample|dummy|asdf|qwerty|test gmbh|firma|firmenname|musterfirma
muster gmbh|mustermann gmbh|nombre de la empresa|nom de l'entreprise
"""
_NOT_COMPANIES = frozenset(_WORDS_OF_NOT_COMPANIES.strip().replace("\n", "|").split("|"))
# Scripts that write a whole name without a space: Thai, Lao, Myanmar, Khmer, Hangul, kana, Han.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
)


def read_name(text: str) -> str | None:
    """Return the tidied *text* as a person's name; None for a word for nothing. Raise Unusable."""
    if not _holds_something(text):
        return None
    text = tidy(_without_fillers(text))  # a joiner that stood behind a filler joins nothing
    if is_nothing(text):
        return None
    if _NOT_PEOPLE.fullmatch(text) or _is_junk(text.casefold()):
        raise Unusable(_PLACEHOLDER)
    if "@" in text or "://" in text or "linkedin.com" in text.lower():
        raise Unusable("this is an address, not a name")
    if not any(map(str.isalpha, text)):
        raise Unusable("a name with letters")
    return text


def _is_junk(folded: str) -> bool:
    """Tell whether the name fills a form, or says what the record is: FIRST_NAME LAST_NAME, Lead #123, Do not call."""
    words = [word for word in re.split(r"[\s.,;:_()-]+|#\d+", folded) if word]
    return bool(words) and (" ".join(words) in _REMARKS or all(map(is_junk_word, words)))


def _without_fillers(name: str) -> str:
    """Remove fillers for a missing part from either end: "Jane undefined", "Jane -"."""
    words = name.split(" ")
    while len(words) > 1 and _is_filler(words[-1]):
        words.pop()
    while len(words) > 1 and _is_filler(words[0]):
        words.pop(0)
    return " ".join(words)


def _is_filler(word: str) -> bool:
    return not any(map(str.isalnum, word)) or (word.casefold() in _FILLERS and word not in ALSO_NAMES)


def read_company(text: str) -> str | None:
    """Return the tidied *text* as a company's name; None for a word for nothing. Raise Unusable."""
    if not _holds_something(text):
        return None
    if text.casefold() in _NOT_COMPANIES:
        raise Unusable("this is a placeholder; needed is the company's own name")
    return text


def join_names(first: str | None, last: str | None) -> str | None:
    """Join the parts of a name; leave out a part that is a word for nothing."""
    parts = [part for part in (first, last) if part]
    if len(parts) > 1:
        parts = [part for part in parts if not is_nothing_beside_a_name(part)]
    return " ".join(parts) or None


def is_whole_name(name: str) -> bool:
    """Tell whether *name* alone can name a person: two words, not counting titles and initials, or unspaced script."""
    words = [word for word in name.split() if not _is_filler(word) and word.strip(".,").casefold() not in _TITLES]
    initials = all(word.isalpha() and len(word) == 1 for word in (word.strip(".,") for word in words))
    two = len(words) > 1 and not initials
    return two or len(_UNSPACED.findall(name)) > 1


def _holds_something(text: str) -> bool:
    """Tell whether *text* is a value at all. Raise Unusable for templates and overlong texts."""
    if len(text) > LONGEST_NAME:
        raise Unusable(f"at most {LONGEST_NAME} characters")
    if is_nothing(text):
        return False
    if is_template(text):
        raise Unusable(TEMPLATE)
    return True
