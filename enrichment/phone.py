"""A vendor's number in E.164. Vendors promise no format: +1-555-123-4567 and (555) 123-4567 both occur."""

from __future__ import annotations

from dataclasses import dataclass, field

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

# Loaded here, in 60 ms and 2 MB, or a country's first number would read a file in the middle of a request.
phonenumbers.PhoneMetadata.load_all()

UNKNOWN = "unknown"
# Without a plus, fewer digits may be a number at home; 1 555 123 4567 is the shortest to say where home is.
SHORTEST_INTERNATIONAL = 11
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
    """One number: E.164, the ISO 3166 region it belongs to, and its line type as far as anyone can know."""

    e164: str = field(repr=False)
    region: str | None
    line_type: str


def read_phone(raw: str, region: str | None) -> Phone | None:
    """*raw* as one number, read in *region* when it has no country code; None when it cannot be a number."""
    hint = (region or "").upper() or None
    number = _parse(raw, hint) or _parse_international(raw)
    if number is None:
        return None
    found = _region(number, hint)
    return Phone(phonenumbers.format_number(number, PhoneNumberFormat.E164), found, _line_type(number, found))


def _parse(raw: str, region: str | None) -> PhoneNumber | None:
    """The number if it is possible. Not *valid*: that follows yesterday's tables and refuses all of 555.

    Nor possible only locally: seven digits without their area code are nobody's E.164 number.
    """
    try:
        number = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException:
        return None
    possible = phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    return number if possible else None


def _parse_international(raw: str) -> PhoneNumber | None:
    """The number if it was written in full, and only the plus is missing or written 00."""
    digits = raw.strip().removeprefix("00")
    if "+" in digits or sum(map(str.isdecimal, digits)) < SHORTEST_INTERNATIONAL:
        return None
    return _parse(f"+{digits}", None)


def _region(number: PhoneNumber, hint: str | None) -> str | None:
    """Where the number belongs: by its digits, or the hint if it has that code, or the code's main region.

    Only numbers in no table come past the digits, such as +1 555. There libphonenumber's own convention, the
    main region of the code, is right far more often than nothing. Codes of no country (+800, +882) have none.
    """
    code = number.country_code or 0
    own = phonenumbers.region_code_for_number(number)
    if own is None and hint in phonenumbers.region_codes_for_country_code(code):
        own = hint
    own = own or phonenumbers.region_code_for_country_code(code)
    return own if own.isalpha() and own != "ZZ" else None


def _line_type(number: PhoneNumber, region: str | None) -> str:
    """The line type where the digits decide it. In the USA and Canada they never do."""
    if region in {"US", "CA"}:
        return UNKNOWN
    return _LINE_TYPES.get(phonenumbers.number_type(number), UNKNOWN)
