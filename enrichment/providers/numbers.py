"""Find the numbers in a vendor's field for a number: a text, an integer, or lists and objects of them.

https://github.com/MichaelFanous2/nyne-skills: "fullphone": [{"fullphone": "...", "type": "mobile"}]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from enrichment.ending import NUMBER_AT_MOST
from enrichment.phone import is_valid
from enrichment.phone_words import says_no_number
from enrichment.providers.replies import storable

DEEPEST = 4  # lists and objects in one another
MOST_ENTRIES = 50  # read
SHORTEST_LOCAL = 6  # digits of a number without its area code
FEWEST_OF_AN_INTEGER = 10**5  # a smaller one is a count, or a code
# Keys of numbers, the likeliest first; a key that says mobile makes its numbers mobiles.
NUMBER_KEYS = (
    "mobile", "mobile_number", "mobile_phone", "mobiles", "mobile_numbers", "mobile_phones", "cell", "cell_phone",
    "best_phone", "best_number", "fullphone", "phone", "phone_number", "number", "phones", "phone_numbers", "numbers",
    "raw_number", "value",
)  # fmt: skip
_KEYS = frozenset(NUMBER_KEYS)
_KIND_KEYS = ("type", "line_type", "phone_type", "kind", "label")
# A flag beside a number, and not a number, if it is a boolean: {"number": "...", "isMobile": true}
_FLAG_KEYS = ("is_mobile", "isMobile", "is_cell", "isCell", "mobile", "cell")
_CODE_KEYS = ("country_code", "countryCode", "dial_code", "dialCode", "calling_code", "callingCode", "prefix")
_AREA_KEYS = ("area_code", "areaCode")
_CODE = re.compile(r"(\+|00)?([1-9]\d{0,2})")
_MOBILE = re.compile(r"mobil|cell|handy|wireless|portable|m[oó]v[ei]l|celular|\bgsm\b|мобил|сотов|携帯|手机")
_OTHER = re.compile(
    r"land|fix|home|work|office|direct|fax|voip|toll|main|business|company|switchboard|hq|festnetz|fijo|fisso|zentrale"
    r"|büro|bureau|oficina|рабоч|домашн"
)
_LIKE_A_NUMBER = re.compile(r"(?:\d[\s().-]{0,3}){7}")
_LIKE_ITS_PLACE = re.compile(r"phone|mobile|cell|\btel|whatsapp|signal|sms|handy")
_BETWEEN_NUMBERS = re.compile(r"[;,|\r\n\t]+|\s/\s")
_A_NUMBER_FOLLOWS = r"\+?\(?(?:\d[\s().-]{0,3}){7}"
# "Office: +49 30 123456 Cell: +49 151 23456789", and "+49 30 123456 (office) +49 151 23456789 (cell)"
_BEFORE_A_LABEL = re.compile(rf"(?<=[\d)])\s+(?=[^\W\d_][^\d+(]{{0,30}}{_A_NUMBER_FOLLOWS})")
_BEHIND_A_LABEL = re.compile(rf"(?<=[^\W\d_])[)\]:]?\s+(?={_A_NUMBER_FOLLOWS})")
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


def _entries(value: object, kind: str, depth: int, code: tuple[str, str] = ("", "")) -> Iterator[tuple[object, str]]:
    """Yield each non-empty value in the place of a number, with its kind: mobile, other or "".

    *code*: country code and area code that stand beside the number.
    """
    if value is None or value is False or value in (0, "", [], {}):
        return
    if isinstance(value, int | float) and value <= 0:  # minus one, in place of none
        return
    if isinstance(value, str):
        if not says_no_number(value):
            yield from _labelled(_in_full(value, *code), kind)
    elif isinstance(value, list) and depth:
        for entry in value[:MOST_ENTRIES]:
            yield from _entries(entry, kind, depth - 1, code)
    elif isinstance(value, Mapping) and depth and not _KEYS.isdisjoint(value):
        flags = {key: value[key] for key in _FLAG_KEYS if isinstance(value.get(key), bool)}
        keys = [key for key in NUMBER_KEYS if key in value and key not in flags] or list(flags)
        own = _stated_kind(value, flags) or kind
        for key in keys:
            yield from _entries(value[key], own or _KIND_OF.get(key, ""), depth - 1, _codes(value) or code)
    else:
        text = _text(value) if any(code) and isinstance(value, int) else None
        yield _in_full(text, *code) if text else value, kind


def _stated_kind(value: Mapping[object, object], flags: Mapping[str, bool]) -> str:
    """Return the kind that an object states of its number, by a word or by a flag; "" if it states none."""
    said = _kind(*(value[key] for key in _KIND_KEYS if key in value))
    return said or ("mobile" if any(flags.values()) else "other" if flags else "")


def _codes(value: Mapping[object, object]) -> tuple[str, str] | None:
    """Return the country code and the area code that an object gives beside its number; None if it gives neither."""
    country = ""
    for key in _CODE_KEYS:
        found = _CODE.fullmatch(_spelt(value.get(key)))
        # A prefix without a plus may be an area code: London's 20 is Egypt's code, Vienna's 1 North America's.
        if found and (found[1] or key != "prefix"):
            country = found[2]
            break
    area = next((digits for key in _AREA_KEYS if (digits := _spelt(value.get(key))).isdecimal()), "")
    return (country, area[:5]) if country or area else None


def _spelt(value: object) -> str:
    """Return a code as text without spaces and brackets; "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    return str(value)[:12].strip(" ()") if isinstance(value, str) or 0 <= value < 10**6 else ""


def _in_full(text: str, country: str, area: str) -> str:
    """Put the codes that stand beside a number before it, unless it begins with them: India has +91 91234 56789."""
    digits = "".join(filter(str.isdecimal, text[:NUMBER_AT_MOST]))
    if not digits or len(text) > NUMBER_AT_MOST or "+" in text or digits.startswith("00"):
        return text
    if country and digits.startswith(country):
        if is_valid(digits):
            return re.sub(r"(?=\d)", "+", text, count=1)  # else the hint's country would come first
        if not is_valid(country + digits):
            return text
    inner = area.lstrip("0")
    if inner and not (digits.lstrip("0").startswith(inner) and len(digits) >= len(inner) + SHORTEST_LOCAL):
        text = f"{area} {text}"
    return f"+{country} {text}" if country else text


def _labelled(text: str, kind: str) -> Iterator[tuple[object, str]]:
    """Split a text that calls some of its numbers mobile: "Office +49 30 123456, Mobil +49 151 23456789".

    A label in the text says more than the key above it.
    """
    parts = _parts(text) if len(text) <= NUMBER_AT_MOST else []
    if not all(map(_LIKE_A_NUMBER.search, parts)):
        parts = [text]
    kinds = [_kind(part) for part in parts]
    if len(parts) > 1 and "mobile" in kinds and set(kinds) != {"mobile"}:
        yield from zip(parts, kinds, strict=True)
    else:
        yield text, (kinds[0] if len(parts) == 1 else "") or kind


def _parts(text: str) -> list[str]:
    """Split *text* between its numbers: at separators, else before or behind each label."""
    parts = _BETWEEN_NUMBERS.split(text)
    if len(parts) > 1:
        return parts
    if next(filter(str.isalnum, text), "").isalpha() and len(parts := _BEFORE_A_LABEL.split(text)) > 1:
        return parts
    return _BEHIND_A_LABEL.split(text)


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
