"""Read a vendor's number into E.164. Vendors promise no format: +1-555-123-4567 and (555) 123-4567 both occur."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

from enrichment.phone_text import (
    LONGEST_TEXT,
    MOST_DIGITS,
    Written,
    digits_of,
    ends_apart,
    find_numbers,
    split_together,
)

# Loaded at import, in 60 ms and 2 MB; otherwise a country's first number would read a file during a request.
PhoneMetadata.load_all()

UNKNOWN = "unknown"
# Without a plus, fewer digits may be a national number; 1 555 123 4567 is the shortest with a country code.
SHORTEST_INTERNATIONAL = 11
SHORTEST_NATIONAL = 6  # digits that a region may make a number
LONGEST = 15  # digits of E.164
MEXICO = 52
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# E.164 in groups, as both vendors' pages show it: +1-555-123-4567
_GROUPED = re.compile(r"\+[1-9](?:[ -]?[0-9]){0,3}(?: ?\([0-9]{2,4}\))?(?:[ -]?[0-9]){2,14}")
_BETWEEN_GROUPS = str.maketrans("", "", " -()")
ARGENTINA = 54
NORTH_AMERICA = 1  # 01 begins too many numbers of others
# Brazil's form with a place for the carrier: (0xx11) 98765-4321
_BRAZILIAN_CARRIER = re.compile(r"(?<!\d)0 ?(?:[xX]{2}|\*\*) ?(?=[1-9]\d[ )]{0,2}9?\d{4}[ -]?\d{4}(?!\d))")
_BRAZILIAN = re.compile(r"\s*(?:\+|00)\s?55\b")
_MEXICAN_PREFIX = re.compile(r"(?:044|045|01|1)(?=\d{10}$)")
_LINE_TYPES = {
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE: "fixed_line",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.PREMIUM_RATE: "premium_rate",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "uan",
    PhoneNumberType.VOICEMAIL: "voicemail",
}


@dataclass(frozen=True, slots=True)
class Phone:
    """One number: E.164, its ISO 3166 region, and its line type as far as it can be known."""

    e164: str = field(repr=False)
    region: str | None
    line_type: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A number that the library calls possible, and whether it calls it valid."""

    number: PhoneNumber = field(repr=False)
    valid: bool


def read_phone(text: str, region: str | None) -> Phone | None:
    """Read the first valid number in *text*, or else the first possible one; None when there is none.

    *region* is that of numbers without a country code. Pure: stored text can be read again once a region is known.
    """
    if _GROUPED.fullmatch(text) and not ends_apart(text) and (phone := _read_e164(text.translate(_BETWEEN_GROUPS))):
        return phone
    hint = _usable(region)
    found = _read_text(text, hint)
    if found is None:
        return None
    own = _region(found.number, hint)
    return Phone(phonenumbers.format_number(found.number, PhoneNumberFormat.E164), own, _line_type(found.number, own))


def is_valid(digits: str) -> bool:
    """Tell whether *digits* that begin with a country code are a valid number."""
    found = _read_international(digits)
    return found is not None and found.valid


def needs_region(text: str, region: str | None) -> bool:
    """Tell whether *text* holds a number, and neither it nor *region* names the country."""
    if _usable(region) is not None or read_phone(text, None) is not None:
        return False
    return any(_waits_for_region(written) for written in find_numbers(text))


def _waits_for_region(written: Written) -> bool:
    """Tell whether some region might make *written* a number, or a number and others behind it."""
    if written.plus or (written.hidden and not written.complete_if_valid):
        return False
    digits = [reading.digits for reading in written.readings[:1] if len(reading.digits) <= LONGEST]
    digits = digits or [head for head, _, _ in split_together(written.together, written.plus)]
    return any(len(one) >= SHORTEST_NATIONAL and one.strip("0") for one in digits)


def _usable(region: str | None) -> str | None:
    """Return *region* if it can have phone numbers; else None."""
    hint = (region or "").upper()
    return hint if hint in phonenumbers.SUPPORTED_REGIONS else None


def _read_e164(text: str) -> Phone | None:
    """Read a valid number in E.164 without the library's parser, which takes most of the time.

    Return None if the number needs the parser: a prefix, a carrier, a zero that belongs to the number, no entry in
    the tables. Any number returned is the one that `_read_text` finds.
    """
    if not _E164.fullmatch(text) or not (code := _country_code(text[1:])):
        return None
    national = text[1 + len(str(code)) :]
    main = phonenumbers.region_code_for_country_code(code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, main)
    if metadata is None or national.startswith("0") or _has_prefix(metadata, national):
        return None
    number = PhoneNumber(country_code=code, national_number=int(national or 0))
    own = phonenumbers.region_code_for_number(number)
    if own is None or not own.isalpha() or own == "ZZ":
        return None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    if own in {"US", "CA"}:  # of several with one code: it is known to be theirs by being valid there
        return Phone(text, own, UNKNOWN)
    kind = phonenumbers.number_type(number)
    return None if kind == PhoneNumberType.UNKNOWN else Phone(text, own, _LINE_TYPES.get(kind, UNKNOWN))


def _has_prefix(metadata: PhoneMetadata, national: str) -> bool:
    """Tell whether the library might take *national* for more than the number itself."""
    pattern = metadata.national_prefix_for_parsing
    return pattern is not None and re.match(pattern, national) is not None


def _read_text(text: str, hint: str | None) -> _Found | None:
    """Read the first valid number, else the first possible one that names its country, else the first possible."""
    possible: list[tuple[bool, _Found]] = []
    if len(text) <= LONGEST_TEXT and (hint == "BR" or _BRAZILIAN.match(text)):
        text = _BRAZILIAN_CARRIER.sub("0", text)
    for written in find_numbers(text):
        found = _read_written(written, hint)
        if found is None or _is_cut_off(found, written):
            continue
        if found.valid:
            return found
        possible.append((written.plus, found))
    return next((found for plus, found in possible if plus), possible[0][1] if possible else None)


def _read_written(written: Written, hint: str | None) -> _Found | None:
    """Return the first of the number's readings that is valid, or else the first that is possible."""
    possible = None
    for reading in written.readings:
        if reading.last and possible is not None:
            continue
        if written.plus:
            found = _read_international(reading.digits)
        else:
            found = _read_bare(reading.digits, hint, home_only=reading.home_only)
        if found is not None and found.valid:
            return found
        possible = possible or (None if reading.sure_only else found)
    return possible or _read_first_of_several(written.together, written.plus, hint)


def _read_first_of_several(text: str, plus: bool, hint: str | None) -> _Found | None:
    """Read the first of valid numbers with only spaces between them; None if they can be parted in several ways."""
    for beginnings_only in (True, False):
        firsts = []
        for head, rest, likely in split_together(text, plus):
            if beginnings_only and not likely:
                continue
            first = _read_international(head) if plus else _read_bare(head, hint)
            if first is not None and first.valid and _are_numbers(rest, hint or _region(first.number, None)):
                firsts.append(first)
        if firsts:
            return firsts[0] if len(firsts) == 1 else None
    return None


def _are_numbers(text: str, hint: str | None) -> bool:
    """Tell whether *text* is one valid number, or several."""
    digits = digits_of(text)
    one = _read_bare(digits, hint) if len(digits) <= MOST_DIGITS else None
    return (one is not None and one.valid) or _read_first_of_several(text, plus=False, hint=hint) is not None


def _is_cut_off(found: _Found, written: Written) -> bool:
    """Tell whether a mask behind the number stands for digits of it."""
    if found.valid and written.complete_if_valid:
        return False
    beginning = phonenumbers.national_significant_number(found.number)
    return any(_is_possible(found.number.country_code or 0, beginning + "9" * count) for count in written.hidden)


def _is_possible(code: int, national: str) -> bool:
    if len(str(code)) + len(national) > LONGEST:
        return False
    zeros = len(national) - len(national.lstrip("0"))  # they count where they belong to the number
    number = PhoneNumber(
        country_code=code, national_number=int(national), italian_leading_zero=zeros > 0, number_of_leading_zeros=zeros
    )
    return phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE


def _read_bare(digits: str, hint: str | None, *, home_only: bool = False) -> _Found | None:
    """Read digits without a plus: in full for the hint's country, at home there, in full for any, at home unsurely.

    *home_only*: None instead of a number in full for any country, unless a 00 says that it is in full.
    """
    code = phonenumbers.country_code_for_region(hint) if hint else 0
    in_full = _read_international(digits) if digits[0] != "0" else None
    if in_full is not None and in_full.valid and in_full.number.country_code == code:
        return in_full
    at_home = _read_at_home(digits, hint) if hint else None
    if at_home is not None and at_home.valid:
        return at_home
    if digits.startswith("00"):
        return _read_international(digits.lstrip("0")) or at_home
    if code and code != NORTH_AMERICA and digits.startswith(f"0{code}"):  # 091 98765 43210: 00 with a zero lost
        own = _read_international(digits[1:])
        if own is not None and own.valid:
            return own
    if digits.startswith("011") and code in {0, NORTH_AMERICA}:  # from North America, as 00 is from elsewhere
        digits = digits[3:]
        in_full = _read_international(digits)
    if in_full is not None and in_full.valid and len(digits) >= SHORTEST_INTERNATIONAL:
        return None if home_only else in_full
    return at_home


def _read_at_home(digits: str, region: str) -> _Found | None:
    """Read *digits* as dialled within *region*."""
    found = _parsed(digits, region)
    if found is not None and found.valid:
        return found
    if region == "MX":
        return _parsed(_MEXICAN_PREFIX.sub("", digits), region) or found
    metadata = PhoneMetadata.metadata_for_region(region)
    if digits[0] == "0" and metadata is not None and metadata.national_prefix is None:
        # Nothing is dialled before a number there, but some write a zero as elsewhere: Italy's mobile 0347 1234567.
        without = _parsed(digits[1:], region)
        return without if without is not None and without.valid else found
    return found


def _read_international(digits: str) -> _Found | None:
    """Read *digits* that begin with a country code; a prefix dialled within the country does not belong after it."""
    if not digits or not (code := _country_code(digits)):
        return None
    written = _parsed(f"+{digits}", None)
    if written is not None and written.valid:
        return written
    for national in _without_prefix(code, digits[len(str(code)) :]):
        found = _parsed(f"+{code}{national}", None)
        if found is not None and found.valid:
            return found
    return written


def _without_prefix(code: int, national: str) -> Iterator[str]:
    """Yield *national* without each prefix that may stand between country code and number."""
    metadata = PhoneMetadata.metadata_for_region(phonenumbers.region_code_for_country_code(code))
    prefix = metadata.national_prefix if metadata else None
    for one in dict.fromkeys(filter(None, (f"00{code}", prefix, "0", str(code)))):
        if national.startswith(one):
            yield national.removeprefix(one)
    if code == MEXICO:  # +52 1 before mobiles until 2019, 044 and 045 before that
        yield _MEXICAN_PREFIX.sub("", national)
    if code == ARGENTINA and national.startswith("90"):  # +54 9 (011): the zero dialled within the country
        yield "9" + national[2:]


def _country_code(digits: str) -> int:
    """Return the country code at the start of *digits*; 0 if there is none."""
    for length in (1, 2, 3):
        if (code := int(digits[:length] or 0)) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE and digits[0] != "0":
            return code
    return 0


def _parsed(digits: str, region: str | None) -> _Found | None:
    """Parse *digits*, with a plus or as a national number of *region*."""
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None
    return _checked(number)


def _checked(number: PhoneNumber) -> _Found | None:
    """Return the number if it is possible, even if it is not *valid*: the tables lag behind and refuse all of 555.

    Seven digits without an area code are possible only within a country, and are no E.164 number; nor are only zeros.
    Only a valid number may begin with a zero: the tables know where zeros belong to numbers, as in Italy.
    """
    national = phonenumbers.national_significant_number(number)
    if not number.national_number or not _is_possible(number.country_code or 0, national):
        return None
    valid = phonenumbers.is_valid_number(number)
    return _Found(number, valid) if valid or not national.startswith("0") else None


def _region(number: PhoneNumber, hint: str | None) -> str | None:
    """Return the number's region: by its digits, else the hint if it has that code, else the code's main region.

    The digits decide unless no table has the number, such as +1 555. Then the main region of the code,
    libphonenumber's own convention, is right far more often than no region. Codes of no country (+800, +882) have none.
    """
    code = number.country_code or 0
    own = phonenumbers.region_code_for_number(number)
    if own is None and hint in phonenumbers.region_codes_for_country_code(code):
        own = hint
    own = own or phonenumbers.region_code_for_country_code(code)
    return own if own.isalpha() and own != "ZZ" else None


def _line_type(number: PhoneNumber, region: str | None) -> str:
    """Return the line type if the digits decide it. In the USA and Canada they never do."""
    if region in {"US", "CA"}:
        return UNKNOWN
    return _LINE_TYPES.get(phonenumbers.number_type(number), UNKNOWN)
