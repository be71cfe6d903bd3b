"""Find the numbers that a vendor wrote into a text: one, several, with words, extensions and masks, or none.

This works on digits only and knows no country; `enrichment.phone` decides what the digits mean.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

LONGEST_TEXT = 500  # characters that are read
FEWEST_DIGITS, MOST_DIGITS = 4, 20  # of one number: fifteen, and the prefixes before them
FEWEST_OF_SEVERAL = 7  # digits; fewer beside another number are its ending or its extension
# A spreadsheet shows six significant digits of a long number. With more, it is the number itself without final zeros.
FEWEST_SIGNIFICANT = 9

MOST_TOGETHER = 36  # digits of numbers with only spaces between them: three in full
FEWEST_OF_A_SHORT_ONE = 5  # digits of a number on an island; a measure behind them is no part of it
LONGEST_REMARK = 3  # digits behind a number that are more likely a remark than a part of it

# Signs that are never written between digits, so one is a mask; any other sign is one when it is repeated.
_SIGNS = "•●○■█×∗✱✲✳⁎░▒▓□▢▪▫◯◦★☆⚫⬤✕✖✗✘"
_MASKS = f"xX*#_{_SIGNS}"
_REPEATED = re.compile(r"([^\w\s.,;:/()\[\]+'\"|&!<>{}\\-])\1{2,}|(?<=\d)-{3,}|(?<=\d )-{4,}\s*$")
_LOCKS = "🔒🔐🔏"
_MASK_LETTERS = frozenset("xnyzхχ")  # the last two are Cyrillic and Greek
# [hidden], <masked>, redacted; behind digits also what a page offers in place of the others: "click to reveal"
_HIDDEN = re.compile(
    r"[<{]?(?<![^\W\d_])(?:hidden|masked|redacted|censored|withheld|obfuscated|concealed|truncated|versteckt|verborgen"
    r"|verdeckt|maskiert|geschwärzt|ausgeblendet|masqué|caché|oculto|nascosto|oscurato|скрыто?"
    r"|(?P<offer>locked|unlock|click|reveal|show|upgrade))(?![^\W\d_])",
    re.IGNORECASE,
)
_BREAK = re.compile(rf"[^\d .\-()\[\]/'{_MASKS}?+]+")
_MASK = re.compile(rf"[{_MASKS}]+|\.{{3,}}|\?+")
_WORD = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"\d+")
_SPELT_DIGITS = frozenset("oOlI")  # letters that stand for a digit where they touch one
_BULLET = re.compile(rf"\s*(?:[*#{_SIGNS}]\s+|#)")
_CONJUNCTION = re.compile(r"(?<=\d\d\d) {1,5}\+ {1,5}(?=\d)")  # a plus that joins two numbers
_TRUNK_ZERO = re.compile(r"(?<=\d)[ .\-)\]]{0,3}[(\[] ?0 ?[)\]]")
_ENUMERATION = re.compile(r" ?\d{1,2}[.)] +(?=[\d(])")
# (2), (9-17), (2024-05-01), and without its end (90%)
_REMARK = re.compile(r"[(\[] ?(?:\d{1,5}|\d{1,2}-\d{1,2}|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}) ?[)\]]? ?$")
# 24/7, 95 %, 0.95, 9:00-17:00, 2024-05-01, 1.5.2024: never a part of the number before them
_MEASURE = re.compile(
    r"(?<=[ (\[])(?:24 ?/ ?7|\d{1,3}(?:[.,]\d{1,3})? ?%|[01][.,]\d{1,4}|\d{1,2}:\d\d(?: ?- ?\d{1,2}:\d\d)?"
    r"|20\d\d[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]20\d\d)(?![ .,:\-(/]{0,2}\d)"
)
# 24h, 9am, 9-17 Uhr, 2nd; yet the h of "06 12 34 56 12h" may mean home
_COUNTED = re.compile(
    r"(?<=[ (\[])((?:[01]?\d|2[0-4])(?: ?- ?(?:1?\d|2[0-4]))?) ?(?:h|hrs?|hours?|uhr|std|am|pm|st|nd|rd|th|days?)"
    r"(?![^\W_])",
    re.IGNORECASE,
)
_NEXT_ITEM = re.compile(r" \d{1,2}[.)] +$")  # the second of "1) +1 415 555 0132 2) +1 415 555 0199"
_LAST_GROUP = re.compile(rf"(?:- ?\d{{1,4}}|[ .][ (\[]?\d{{1,{LONGEST_REMARK}}}|[ (\[]\d{{1,2}}[./-]\d{{1,2}})[ )\]]*$")
# Digits after a whole number: "415 555 0132 2" is no Swiss number, "(415) 555-0132 12" none of anywhere else.
_APART = re.compile(r"(?<=\d{5})[ .-]{1,3}[(\[]?\d{1,2}[ )\]]*$")
_SURELY_APART = re.compile(r"(?:(?<=\d{6}) \d{1,2}|(?<=\d{4}) \d) ?$")  # even if the number is valid with it
_SHORTER = re.compile(r"(?<=\d{3})[ .]{1,3}\d ?$")
_AMERICAN = re.compile(r" ?\(?[2-9]\d\d\)?[ .-]{0,2}\d{3}[ .-]\d{4}(?=\D+\d)")
_ZERO_ONE = re.compile(r" ?[(]?0 ?1[ .)(-]")  # a zero before North America's code, written apart from the number
_GAP = re.compile(r"[ .-]+|(?<![ .-])(?=[(\[])")
_CONTEXT = re.compile(r"([\d .()-]{4,24});phone-context=\+([\d.-]{1,12})(?![\d.-])", re.IGNORECASE)  # RFC 3966
_EXTENSION_TAIL = re.compile(r" ?\d{1,7}[ .)\]]*")
_EXTENSION = re.compile(
    r"(?<![^\W\d_])(?:ext|extn|extension|extensión|xtn|durchwahl|dw|nebenstelle|nst|klappe|kl|apparat|poste|interno|int"
    r"|anexo|ramal|доб|toestel|wew|anschluss|anknytning)(?![^\W\d_])[ .:=#]{0,4}\d{1,7}(?!\d)",
    re.IGNORECASE,
)
# ASCII for characters and Unicode categories: dashes, spaces, invisible characters, accents of decomposed letters.
_MEANINGS = {"Pd": "-", "Zs": " ", "Cf": "", "Mn": "", "\u2212": "-", "…": "...", "·": ".", "’": "'", "‘": "'"}
_MEANINGS |= dict.fromkeys(_LOCKS, "...")
# Numbers as a spreadsheet writes them: 14155550132.0, 1.4155550132E+10, 14,155,550,132
_WITH_DECIMALS = re.compile(r"(?<![\d.,])(\d{6,15})[.,]0{1,6}(?![\d.,])")
_SCIENTIFIC = re.compile(r"(?<![\d.,])(\d)(?:[.,](\d{1,15}))?[eE]\+?(\d{1,2})(?!\d)")
_WITH_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3}){2,4}(?![\d,])")


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a number's digits.

    *sure_only*: use it only if the number is valid. *home_only*: without a plus, use it only in the country of the
    hint; the digits seem to be more than one number, and together may be a stranger's abroad. *last*: use it only if
    no other reading is possible.
    """

    digits: str = field(repr=False)
    sure_only: bool = False
    home_only: bool = False
    last: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A number as written, with or without a plus, and its readings in order of preference.

    *hidden* counts the digits that a following mask may hide: if a number with so many more digits is possible, these
    are only its beginning. *complete_if_valid*: the text that follows looks more like an extension than like a mask.
    *together*: the text, if it may hold several numbers with only spaces between them, as within them.
    """

    plus: bool
    readings: tuple[Reading, ...]
    hidden: range = range(0)
    complete_if_valid: bool = False
    together: str = field(default="", repr=False)


def find_numbers(text: str) -> Iterator[Written]:
    """Yield each number written in *text*, in order. Never raises; takes time linear in the first 500 characters."""
    for piece in _BREAK.split(_without_words(_plain(text))):
        for part in re.split(r"(?=\+)", piece):
            yield from _read_part(part)


def _plain(text: str) -> str:
    """Return the start of *text* with characters mapped to ASCII, notations undone, and masks of any sign as x."""
    plain = text[:LONGEST_TEXT].lstrip(_LOCKS)
    if len(text) > LONGEST_TEXT:
        plain = plain.rstrip("0123456789+-./() ")  # a number that was cut is another number
    if "%" in plain:
        plain = unquote(plain, errors="replace")
    if "&" in plain:
        plain = html.unescape(plain)
    if not plain.isascii():
        plain = "".join(map(_ascii, plain))
    plain = _SCIENTIFIC.sub(_from_scientific, plain)
    plain = _WITH_DECIMALS.sub(r"\1", plain)
    plain = _WITH_THOUSANDS.sub(lambda found: found[0].replace(",", ""), plain)
    plain = _CONTEXT.sub(r"+\2 \1;", plain, count=1)
    plain = _REPEATED.sub(lambda found: "x" * len(found[0]), plain)
    return _CONJUNCTION.sub(";", plain)


def _ascii(character: str) -> str:
    """Return the ASCII character that means the same in a phone number, "" for invisible ones, else itself."""
    if character.isdecimal():  # of any script; superscripts are none
        return str(unicodedata.decimal(character))
    if unicodedata.decomposition(character).startswith(("<wide>", "<small>")):
        return unicodedata.normalize("NFKC", character)
    return _MEANINGS.get(character, _MEANINGS.get(unicodedata.category(character), character))


def _from_scientific(found: re.Match[str]) -> str:
    """Write 1.4155550132E+10 out; return a mask if rounding has lost digits."""
    first, rest, exponent = found[1], found[2] or "", int(found[3])
    digits = first + rest
    if len(rest) > exponent or exponent > MOST_DIGITS or len(digits) < FEWEST_SIGNIFICANT:
        return "x"
    return digits.ljust(exponent + 1, "0")


def _without_words(text: str) -> str:
    """Replace words, extensions and remarks by separators, and letters in the place of digits by masks."""
    first = _DIGITS.search(text)
    if first is None:
        return ""
    before, after = text[: first.end()], text[first.end() :]
    text = before + _EXTENSION.sub("|", after)
    text = _COUNTED.sub(lambda found: f"({found[1]})|" if _follows_number(found) else found[0], text)
    text = _MEASURE.sub(lambda found: "|" if _follows_number(found, FEWEST_OF_A_SHORT_ONE) else found[0], text)
    text = _HIDDEN.sub(lambda found: "..." if found.start() >= first.end() or not found["offer"] else "|", text)
    return _WORD.sub(lambda found: _instead_of(found, text), text)


def _follows_number(found: re.Match[str], fewest: int = FEWEST_OF_SEVERAL) -> bool:
    """Tell whether enough digits for a number stand before the match."""
    return _count(found.string[max(0, found.start() - 30) : found.start()]) >= fewest


def _instead_of(found: re.Match[str], text: str) -> str:
    word, start, end = found[0], found.start(), found.end()
    if set(word) <= {"x", "X"}:
        return word
    left, right = text[start - 1 : start] if start else "", text[end : end + 1]
    if len(word) == 1 and word in _SPELT_DIGITS and (left.isdecimal() or right.isdecimal()):
        return "x"
    if _is_mask(word, left):
        return "x" * len(word)
    # The letters of 1-800-FLOWERS are not dialled here: a mask of as many digits replaces them.
    if len(word) > 2 and word.isupper() and (left.isdecimal() or (left == "-" and text[start - 2].isdecimal())):
        return "x" * len(word)
    return "|"


def _is_mask(word: str, left: str) -> bool:
    """Tell whether *word* is one letter again and again: nnnn, 01NN, Cyrillic ХХ."""
    letters = set(word.casefold())
    if len(letters) != 1:
        return False
    if letters <= _MASK_LETTERS:
        return len(word) > 2 or left.isdecimal() or not word.isascii()
    return len(word) > 2 and (left.isdecimal() or (word.isupper() and left in {" ", "-"}))


def _read_part(part: str) -> Iterator[Written]:
    """Read the text between two separators: an optional plus, then digits, masks and signs between digits."""
    plus = part.startswith("+")
    part = part[1:] if plus else _BULLET.sub("", part, count=1) if _BULLET.match(part) else part
    mask = _MASK.search(part)
    if mask is None or (mask[0] == "?" and mask.end() == len(part.rstrip())):
        yield from _read_digits(plus, part[: mask.start()] if mask else part)
        return
    head, tail = part[: mask.start()], part[mask.end() :]
    if not any(map(str.isdecimal, head)):
        return
    if not any(map(str.isdecimal, tail)):
        hidden = range(1, 5) if mask[0][0] in ".?" else _exactly(sum(c in _MASKS for c in part[mask.start() :]))
        yield from _read_digits(plus, head, hidden)
    elif mask[0] in {"x", "X", "#", "×"} and _EXTENSION_TAIL.fullmatch(tail):
        hidden = _exactly(1 + sum(map(str.isdecimal, tail)))
        yield from _read_digits(plus, head, hidden, complete_if_valid=not head[-1].isdecimal())


def _exactly(count: int) -> range:
    return range(count, count + 1)


def _read_digits(
    plus: bool, text: str, hidden: range = range(0), *, complete_if_valid: bool = False
) -> Iterator[Written]:
    """Read one number, or several with only spaces or slashes between them."""
    for part in _apart(text, plus):
        possible = _readings(plus, part, masked=bool(hidden) and not complete_if_valid)
        readings = tuple(r for r in possible if FEWEST_DIGITS <= len(r.digits) <= MOST_DIGITS)
        together = part if not hidden and 2 * FEWEST_OF_SEVERAL <= _count(part) <= MOST_TOGETHER else ""
        if readings or together:
            digits = readings[0].digits if readings else digits_of(part)
            # +0049 and +001 are 00 before a code; +0151 is a number at home, by a form that adds a plus.
            international = plus and (digits[0] != "0" or digits.startswith("00"))
            if international:
                readings = tuple(replace(r, digits=r.digits.lstrip("0")) for r in readings)
            yield Written(international, readings, hidden, complete_if_valid, together)
        plus = False


def _apart(text: str, plus: bool) -> list[str]:
    """Split *text* where each part has the digits of a number, and the whole has too many or a slash between."""
    enough = FEWEST_OF_SEVERAL + 2 * plus
    for separator in (r"/", r" {2,}", r" "):
        parts = re.split(separator, text)
        if len(parts) < 2 or (separator != "/" and _count(text) <= 15):
            continue
        if _count(parts[0]) >= enough and all(_count(part) >= FEWEST_OF_SEVERAL or not _count(part) for part in parts):
            return [part for part in parts if _count(part)]
    return [text]


def _count(text: str) -> int:
    return sum(map(str.isdecimal, text))


def ends_apart(text: str) -> bool:
    """Tell whether the last digits of *text* seem to be no part of the number: +43 664 1234567 12."""
    return _SURELY_APART.search(text) is not None


def split_together(text: str, plus: bool) -> Iterator[tuple[str, str, bool]]:
    """Yield each way to part *text* into a first number and the rest, and whether the rest looks like a beginning.

    A number that begins with a zero or a bracket is followed by others that do.
    """
    text = text.strip()
    for gap in _GAP.finditer(text):
        head, rest = text[: gap.start()], text[gap.end() :]
        likely = rest[:1] in {"0", "(", "["}
        alike = plus or (rest[:1] if likely else "") == (text[0] if text[0] in "0([" else "")
        if alike and FEWEST_OF_SEVERAL <= _count(head) <= MOST_DIGITS and _count(rest) >= FEWEST_OF_SEVERAL:
            yield digits_of(head), rest, likely


def _readings(plus: bool, text: str, *, masked: bool) -> Iterator[Reading]:
    """Yield the ways to read *text* as one number, the likeliest first; with a mask behind, no group is a remark."""
    whole = digits_of(text)
    if _TRUNK_ZERO.search(text):  # +48 (0) 512: for callers at home, except in Italy
        yield Reading(digits_of(_TRUNK_ZERO.sub(" ", text, count=1)))
    if not plus and (numbered := _ENUMERATION.match(text)):
        yield Reading(digits_of(text[numbered.end() :]))
    bracketed = _REMARK.search(text)
    if bracketed and _count(text[: bracketed.start()]) >= FEWEST_OF_SEVERAL:
        yield Reading(digits_of(text[: bracketed.start()]), sure_only=True)
    head, slash, _ = text.partition("/")
    behind_slash = slash and _count(head) >= FEWEST_OF_SEVERAL
    if behind_slash:
        yield Reading(digits_of(head), sure_only=True)
    apart = _APART.search(text)
    if not masked and (remark := _SURELY_APART.search(text)) and _count(text[: remark.start()]) > FEWEST_OF_SEVERAL:
        yield Reading(digits_of(text[: remark.start()]), sure_only=True)
    yield Reading(whole, home_only=bool(bracketed or behind_slash or apart or _AMERICAN.match(text)))
    if not plus and _ZERO_ONE.match(text):
        yield Reading(whole[1:], sure_only=True, home_only=True)
    if not masked and (last := _LAST_GROUP.search(text) or _NEXT_ITEM.search(text)):
        head = text[: last.start()]
        # 24 12 40 58 7 may well end so
        natural = apart is None and not _SHORTER.search(text) and last.re is _LAST_GROUP and "-" not in last[0]
        if _count(head) >= FEWEST_OF_SEVERAL:
            yield Reading(digits_of(head), sure_only=True, home_only=natural, last=natural)


def digits_of(text: str) -> str:
    return "".join(filter(str.isdecimal, text))
