"""Find the numbers that a vendor wrote into a text: one, several, with words, extensions and masks, or none.

This works on digits only and knows no country; `enrichment.phone` decides what the digits mean.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

LONGEST_TEXT = 500  # characters that are read
FEWEST_DIGITS, MOST_DIGITS = 4, 20  # of one number: fifteen, and the prefixes before them
FEWEST_OF_SEVERAL = 7  # digits; fewer beside another number are its ending or its extension
# A spreadsheet shows six significant digits of a long number. With more, it is the number itself without final zeros.
FEWEST_SIGNIFICANT = 9

_MASKS = "xX*#_•●○■█"
_BREAK = re.compile(rf"[^\d .\-()\[\]/'{_MASKS}?+]+")
_MASK = re.compile(rf"[{_MASKS}]+|\.{{3,}}|\?+")
_WORD = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"\d+")
_SPELT_DIGITS = frozenset("oOlI")  # letters that stand for a digit where they touch one
_BULLET = re.compile(r"\s*(?:[*•#●○■█]\s+|#)")
_CONJUNCTION = re.compile(r"(?<=\d\d\d) {1,5}\+ {1,5}(?=\d)")  # a plus that joins two numbers
_TRUNK_ZERO = re.compile(r"(?<=\d)[ .\-)\]]{0,3}[(\[] ?0 ?[)\]]")
_ENUMERATION = re.compile(r" ?\d{1,2}[.)] +(?=[\d(])")
# (2), (2024-05-01), and without its end (90%)
_REMARK = re.compile(r"[(\[] ?(?:\d{1,5}|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}) ?[)\]]? ?$")
_NEXT_ITEM = re.compile(r" \d{1,2}[.)] +$")  # the second of "1) +1 415 555 0132 2) +1 415 555 0199"
_LAST_GROUP = re.compile(r"- ?\d{1,4} ?$")
_EXTENSION_TAIL = re.compile(r" ?\d{1,7}[ .)\]]*")
_EXTENSION = re.compile(
    r"(?<![^\W\d_])(?:ext|extn|extension|extensión|xtn|durchwahl|dw|nebenstelle|nst|klappe|kl|apparat|poste|interno|int"
    r"|anexo|ramal|доб|toestel|wew|anschluss|anknytning)(?![^\W\d_])[ .:=#]{0,4}\d{1,7}(?!\d)",
    re.IGNORECASE,
)
# ASCII for characters and Unicode categories: dashes, spaces, invisible characters, accents of decomposed letters.
_MEANINGS = {"Pd": "-", "Zs": " ", "Cf": "", "Mn": "", "\u2212": "-", "…": "...", "·": ".", "’": "'", "‘": "'"}
# Numbers as a spreadsheet writes them: 14155550132.0, 1.4155550132E+10, 14,155,550,132
_WITH_DECIMALS = re.compile(r"(?<![\d.,])(\d{6,15})[.,]0{1,6}(?![\d.,])")
_SCIENTIFIC = re.compile(r"(?<![\d.,])(\d)(?:[.,](\d{1,15}))?[eE]\+?(\d{1,2})(?!\d)")
_WITH_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3}){2,4}(?![\d,])")


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a number's digits; *sure_only*: use it only if the number is valid."""

    digits: str = field(repr=False)
    sure_only: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A number as written, with or without a plus, and its readings in order of preference.

    *hidden* counts the digits that a following mask may hide: if a number with so many more digits is possible, these
    are only its beginning. *complete_if_valid*: the text that follows looks more like an extension than like a mask.
    """

    plus: bool
    readings: tuple[Reading, ...]
    hidden: range = range(0)
    complete_if_valid: bool = False


def find_numbers(text: str) -> Iterator[Written]:
    """Yield each number written in *text*, in order. Never raises; takes time linear in the first 500 characters."""
    for piece in _BREAK.split(_without_words(_plain(text))):
        for part in re.split(r"(?=\+)", piece):
            yield from _read_part(part)


def _plain(text: str) -> str:
    """Return the start of *text* with characters mapped to ASCII, and a spreadsheet's notations undone."""
    plain = text[:LONGEST_TEXT]
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
    """Replace each word by a separator, each extension by none, and letters in the place of digits by masks."""
    first = _DIGITS.search(text)
    if first is None:
        return ""
    before, after = text[: first.end()], text[first.end() :]
    text = before + _EXTENSION.sub("|", after)
    return _WORD.sub(lambda found: _instead_of(found, text), text)


def _instead_of(found: re.Match[str], text: str) -> str:
    word, start, end = found[0], found.start(), found.end()
    if set(word) <= {"x", "X"}:
        return word
    left, right = text[start - 1 : start] if start else "", text[end : end + 1]
    if len(word) == 1 and word in _SPELT_DIGITS and (left.isdecimal() or right.isdecimal()):
        return "x"
    # The letters of 1-800-FLOWERS are not dialled here: a mask of as many digits replaces them.
    if len(word) > 2 and word.isupper() and (left.isdecimal() or (left == "-" and text[start - 2].isdecimal())):
        return "x" * len(word)
    return "|"


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
    elif mask[0] in {"x", "X", "#"} and _EXTENSION_TAIL.fullmatch(tail):
        hidden = _exactly(1 + sum(map(str.isdecimal, tail)))
        yield from _read_digits(plus, head, hidden, complete_if_valid=not head[-1].isdecimal())


def _exactly(count: int) -> range:
    return range(count, count + 1)


def _read_digits(
    plus: bool, text: str, hidden: range = range(0), *, complete_if_valid: bool = False
) -> Iterator[Written]:
    """Read one number, or several with only spaces or slashes between them."""
    for part in _apart(text, plus):
        readings = tuple(r for r in _readings(plus, part) if FEWEST_DIGITS <= len(r.digits) <= MOST_DIGITS)
        if readings:
            digits = readings[0].digits
            # +0049 and +001 are 00 before a code; +0151 is a number at home, by a form that adds a plus.
            international = plus and (digits[0] != "0" or digits.startswith("00"))
            if international:
                readings = tuple(Reading(r.digits.lstrip("0"), r.sure_only) for r in readings)
            yield Written(international, readings, hidden, complete_if_valid)
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


def _readings(plus: bool, text: str) -> Iterator[Reading]:
    """Yield the ways to read *text* as one number, the likeliest first."""
    whole = _digits(text)
    if _TRUNK_ZERO.search(text):  # +48 (0) 512: for callers at home, except in Italy
        yield Reading(_digits(_TRUNK_ZERO.sub(" ", text, count=1)))
    if not plus and (numbered := _ENUMERATION.match(text)):
        yield Reading(_digits(text[numbered.end() :]))
    if (remark := _REMARK.search(text)) and _count(text[: remark.start()]) >= FEWEST_OF_SEVERAL:
        yield Reading(_digits(text[: remark.start()]), sure_only=True)
    head, slash, _ = text.partition("/")
    if slash and _count(head) >= FEWEST_OF_SEVERAL:
        yield Reading(_digits(head), sure_only=True)
    yield Reading(whole)
    if (last := _LAST_GROUP.search(text)) or (last := _NEXT_ITEM.search(text)):
        yield Reading(_digits(text[: last.start()]), sure_only=True)


def _digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text))
