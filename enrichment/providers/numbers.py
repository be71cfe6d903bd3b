"""Find the numbers in a vendor's field for a number: a text, an integer, or lists and objects of them.

https://github.com/MichaelFanous2/nyne-skills: "fullphone": [{"fullphone": "...", "type": "mobile"}]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from enrichment.ending import NUMBER_AT_MOST
from enrichment.phone_words import says_no_number
from enrichment.providers.replies import storable

DEEPEST = 4  # lists and objects in one another
MOST_ENTRIES = 50  # read
FEWEST_OF_AN_INTEGER = 10**5  # a smaller one is a count, or a code
# Keys of numbers, the likeliest first; a key that says mobile makes its numbers mobiles.
NUMBER_KEYS = (
    "mobile", "mobile_number", "mobile_phone", "mobiles", "mobile_numbers", "mobile_phones", "cell", "cell_phone",
    "best_phone", "best_number", "fullphone", "phone", "phone_number", "number", "phones", "phone_numbers", "numbers",
    "raw_number", "value",
)  # fmt: skip
_KEYS = frozenset(NUMBER_KEYS)
_KIND_KEYS = ("type", "line_type", "phone_type", "kind", "label")
_MOBILE = re.compile(r"mobil|cell|handy|wireless|portable|m[oó]vil|celular")
_OTHER = re.compile(r"land|fix|home|work|office|direct|fax|voip|toll|main|business|company|switchboard|hq|festnetz")
_LIKE_A_NUMBER = re.compile(r"(?:\d[\s().-]{0,3}){7}")
_LIKE_ITS_PLACE = re.compile(r"phone|mobile|cell|\btel|whatsapp|signal|sms|handy")
_BETWEEN_NUMBERS = re.compile(r"[;,|\r\n\t]+|\s/\s")
_BETWEEN_LINES = re.compile(r"[\r\n\t\v\f]+")


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers found: texts for `Answered`, and whether any other value is neither a number nor empty."""

    mobile: str | None = field(repr=False)
    second_choice: str | None = field(repr=False)
    odd: bool


def read_numbers(value: object, *, words_are_odd: bool) -> Numbers:
    """Read the numbers in *value*: mobiles first, then numbers of no stated kind, then others; skip words for nothing.

    *words_are_odd*: a text without digits counts as neither a number nor the statement that there is none.
    """
    kinds: dict[str, list[str]] = {"mobile": [], "": [], "other": []}
    odd = False
    for count, (entry, kind) in enumerate(_entries(value, "", DEEPEST)):
        text = _text(entry)
        if count >= MOST_ENTRIES:
            break
        if text is None or (words_are_odd and not any(map(str.isdecimal, text))):
            odd = True
        elif text not in kinds[kind]:
            kinds[kind].append(text)
    best, *rest = [texts for texts in kinds.values() if texts] or [[]]
    return Numbers(_joined(best), _joined([text for texts in rest for text in texts]), odd)


def holds_numbers(value: object, *, key: str = "", depth: int = 2 * DEEPEST) -> bool:
    """Tell whether something in *value* looks like a phone number: by its plus, or by its key."""
    if isinstance(value, Mapping):
        inner = list(value.items())[:MOST_ENTRIES]
        return depth > 0 and any(
            holds_numbers(entry, key=f"{key} {name[:40]}"[-200:], depth=depth - 1) for name, entry in inner
        )
    if isinstance(value, list):
        return depth > 0 and any(holds_numbers(entry, key=key, depth=depth - 1) for entry in value[:MOST_ENTRIES])
    text = _text(value)
    if text is None or "://" in text or says_no_number(text) or not _LIKE_A_NUMBER.search(text):
        return False
    return text.startswith("+") or _LIKE_ITS_PLACE.search(key.lower()) is not None


def _entries(value: object, kind: str, depth: int) -> Iterator[tuple[object, str]]:
    """Yield each non-empty value in the place of a number, with its kind: mobile, other or ""."""
    if value is None or value is False or value in (0, "", [], {}):
        return
    if isinstance(value, int | float) and value <= 0:  # minus one, in place of none
        return
    if isinstance(value, str):
        if not says_no_number(value):
            yield from _labelled(value, kind)
    elif isinstance(value, list) and depth:
        for entry in value[:MOST_ENTRIES]:
            yield from _entries(entry, kind, depth - 1)
    elif isinstance(value, Mapping) and depth and not _KEYS.isdisjoint(value):
        words = [value[key] for key in _KIND_KEYS if key in value]
        said = (_kind(*words) if words else "") or kind
        for key in NUMBER_KEYS:
            if key in value:
                yield from _entries(value[key], said or _KIND_OF[key], depth - 1)
    else:
        yield value, kind


def _labelled(text: str, kind: str) -> Iterator[tuple[object, str]]:
    """Split a text that calls some of its numbers mobile: "Office +49 30 123456, Mobil +49 151 23456789"."""
    parts = _BETWEEN_NUMBERS.split(text) if len(text) <= NUMBER_AT_MOST else []
    if len(parts) < 2:
        yield text, kind
        return
    kinds = [_kind(part) for part in parts]
    if "mobile" in kinds and set(kinds) != {"mobile"} and all(map(_LIKE_A_NUMBER.search, parts)):
        yield from zip(parts, kinds, strict=True)
    else:
        yield text, kind


def _kind(*words: object) -> str:
    said = " ".join(word for word in words if isinstance(word, str)).lower()
    return "mobile" if _MOBILE.search(said) else "other" if _OTHER.search(said) else ""


_KIND_OF = {key: _kind(key) for key in NUMBER_KEYS}


def _text(entry: object) -> str | None:
    """Return the text of one entry; None if it cannot be a number."""
    if isinstance(entry, float) and entry.is_integer():
        entry = int(entry)
    if isinstance(entry, int) and not isinstance(entry, bool):
        return str(entry) if FEWEST_OF_AN_INTEGER <= entry < 10**20 else None
    if not isinstance(entry, str) or len(entry) > NUMBER_AT_MOST:
        return None
    return storable(_BETWEEN_LINES.sub("; ", entry.strip())).strip() or None


def _joined(texts: list[str]) -> str | None:
    """Join as many whole *texts* as fit: a number that was cut would be another number."""
    joined = ""
    for text in texts:
        longer = f"{joined}; {text}" if joined else text
        if len(longer) > NUMBER_AT_MOST:
            break
        joined = longer
    return joined or None
