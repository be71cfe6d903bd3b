"""What vendors write around, between and in the place of a number's digits. The numbers are made up."""

from __future__ import annotations

import time

import pytest

from enrichment.phone import read_phone

MASKS = [
    "××××", "∗∗∗∗", "✱✱✱✱", "░░░░", "▒▒▒", "□□□□", "★★★", "◯◯◯◯", "×", "~~~~", "$$$$", "@@@@", "^^^^", "====", "----",
    " ----", "nnnn", " nnnn", "NNNN", "NN", "yyyy", "ZZZZ", " AAAA", "ХХХХ", " хх", "[hidden]", " (masked)",
    " redacted", " [verborgen]", " <hidden>", " {masked}", " [click to reveal]", "aaaa", "%%%%", "🔒", " 🔒🔒🔒",
]  # fmt: skip


def e164(written: str, region: str | None = None) -> str | None:
    """The number that *written* is read as."""
    phone = read_phone(written, region)
    return phone.e164 if phone else None


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("+14155550132 (mobile)", None, "+14155550132"),
        ("+49 1512 3456789 (mobil)", None, "+4915123456789"),
        ("+49 30 123456 (Zentrale)", None, "+4930123456"),
        ("070 123 45 67 (Axel)", "SE", "+46701234567"),
        ("+46 70 123 45 67 (Axel)", "US", "+46701234567"),
        ("+43 664 1234567 mobil", None, "+436641234567"),
        ("+43 1 12345 office", None, "+43112345"),
        ("+49 30 12345 (home)", None, "+493012345"),
        ("+358 40 12345 mob", None, "+3584012345"),
        ("+49 170 123456 (cell)", None, "+49170123456"),
        ("+1 415 555 0132 (Do Not Call)", None, "+14155550132"),
        ("携帯 +81 90-1234-5678", None, "+819012345678"),
        ("мобильный: +7 912 345-67-89", None, "+79123456789"),
        ("Tel.: 0043 664 1234567", None, "+436641234567"),
        ("Mobile 1: +14155550132", None, "+14155550132"),
        ("24/7 +1 415 555 0132", None, "+14155550132"),
        ("+1 (415) 555-0132 (2)", None, "+14155550132"),
        ("https://wa.me/14155550132", None, "+14155550132"),
        ("«+14155550132»", None, "+14155550132"),
        ("+14155550132?", None, "+14155550132"),
        ("1. 0151 23456789", "DE", "+4915123456789"),
        ("+1 415 555 0132 (90%)", None, "+14155550132"),
        ("+49 1512 3456789 [85 %]", None, "+4915123456789"),
        ("+1 415 555 0132 (2024-05-01)", None, "+14155550132"),
        ("+49 151 23456789 24h", None, "+4915123456789"),
        ("+49 151 23456789 24", None, "+4915123456789"),
        ("+44 7911 123456 2", None, "+447911123456"),
        ("+44 7911 123456 9am", None, "+447911123456"),
        ("+14155550132 12", None, "+14155550132"),
        ("+14155550132 123", None, "+14155550132"),
        ("+14155550132 95%", None, "+14155550132"),
        ("+14155550132 (0.95)", None, "+14155550132"),
        ("+1 415 555 0132 24/7", None, "+14155550132"),
        *[
            (f"+43 664 1234567 {remark}", None, "+436641234567")  # with more digits it is valid as well
            for remark in ("24h", "24/7", "95%", "0,87", "9-17 Uhr", "9:00-17:00", "(9am-5pm)", "2nd", "01.05.2024")
        ],
        ("712 345 - 95%", "AD", "+376712345"),  # a short number
        ("31234 (2024-05-01)", "FK", "+50031234"),  # else a stranger's in the Netherlands
        ("+43 664 1234567 12", None, "+436641234567"),
        ("+358 40 123 4567 2", None, "+358401234567"),
        ("+61 412 345 678 2", None, "+61412345678"),  # possible with it
        ("415 555 0132 2", "US", "+14155550132"),
        ("415-555-0132/2", "US", "+14155550132"),
        ("415 555 0132 24h", "US", "+14155550132"),
        ("0151 23456789 24", "DE", "+4915123456789"),
        ("+1 415 555 0132 (hidden)", None, "+14155550132"),
        ("hidden: 0151 23456789", "DE", "+4915123456789"),
        ("🔒 0151 23456789", "DE", "+4915123456789"),
        ("click 0151 23456789", "DE", "+4915123456789"),
    ],
)
def test_words_around_a_number_are_ignored(written: str, region: str | None, number: str) -> None:
    """No letter is dialled into a digit, and no word makes a number unreadable.

    google/libphonenumber#1302 and #1199, daviddrysdale/python-phonenumbers#114.
    """
    assert e164(written, region) == number


@pytest.mark.parametrize("written", ["415 555 0132 2", "415 555 0132 (2)", "415-555-0132-2", "(415) 555-0132/2"])
@pytest.mark.parametrize("region", [None, "US", "GB"])
def test_a_group_too_many_makes_no_stranger_s_number(written: str, region: str | None) -> None:
    """Together these digits are a valid number in Switzerland."""
    assert e164(written, region) == ("+14155550132" if region == "US" else None)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+49 30 12 34 56 78", "+493012345678"),
        ("+33 6 12 34 56 12h", "+33612345612"),  # h is home
        ("+49 30 123 456 7", "+49301234567"),  # in threes
        ("+49 176 123 456 78", "+4917612345678"),
        ("+36 24 12 40 58 7", "+36241240587"),  # in no table, which lists its beginning
        ("62 812 3456 789", "+628123456789"),
        ("41 55 550 13 22", "+41555501322"),
    ],
)
def test_the_last_group_of_a_number_is_no_remark(written: str, number: str) -> None:
    """Only a group behind a whole number is one."""
    assert e164(written) == number


@pytest.mark.parametrize(
    ("written", "region"),
    [
        ("+1 415-555-XXXX", None),
        ("+49 151 2345 XXXX", None),
        ("+1 (415) XXX-XXXX", None),
        ("+33 6 6X XX XX 83", None),
        ("(XXX) 555-0132", "US"),
        ("+xx 415 555 0132", "US"),
        ("+1 415 555 01**", None),
        ("+1 415 555 ####", None),
        ("+1 415 555 01__", None),
        ("+49 151 2345…", None),
        ("+49 151 2345...", None),
        ("+49 151 •••• 5678", None),
        ("+49 151 2345 x678", None),
        ("+49301234x6", None),
        ("+1 415 555 01??", None),
        ("+1 415 555 O132", None),
        ("+49 151 2345 O678", None),
        ("+49 30 12345l", None),
        ("1-800-FLOWERS", "US"),
        ("+1-800-GO-FEDEX", None),
        ("0800 12FLOWERS", "DE"),
        *[(f"+49 1512 34{mask}", None) for mask in MASKS],
        ("+1 415 5nn-nnnn", None),
        ("(nnn) 555-0132", "US"),
        ("[hidden] 23456789", "DE"),
    ],
)
def test_a_masked_number_is_none(written: str, region: str | None) -> None:
    """With hidden or spelt digits, the visible ones may be another person's number.

    giggsey/libphonenumber-for-php#739.
    """
    assert e164(written, region) is None


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        *[
            (f"+14155550132{between}+14155550199", None, "+14155550132")
            for between in (" / ", "/", ", ", ";", "\n", "\r\n", "\t", " ", "|", " or ", " oder ", " & ", "  ", " et ")
        ],
        *[
            (f"0151 23456789{between}030 123456", "DE", "+4915123456789")
            for between in ("; ", " / ", "\n", "\t", " oder ", " & ", " + ")
        ],
        ("0151 23456789/0160 1234567", "DE", "+4915123456789"),
        ("415-555-0132 / 415-555-0199", "US", "+14155550132"),
        ("415-555-0132/415-555-0199", "US", "+14155550132"),
        ("14155550132,14155550199", None, "+14155550132"),
        ("14155550132 14155550199", None, "+14155550132"),
        ("4155550199; +14155550132", None, "+14155550132"),  # the first names no country
        ("12345 / +14155550132", None, "+14155550132"),  # the first is none
        ("+1 415-555-XXXX, +1 415 555 0132", None, "+14155550132"),  # the first is masked
        ("+49 170 123456; +49 170 1234567", None, "+491701234567"),  # the first is only possible
        ("+1 415 555 0132 or 0199", None, "+14155550132"),
        ("1) 415-555-0132; 2) 415-555-0199", "US", "+14155550132"),
        ("1) +14155550132 2) +14155550199", None, "+14155550132"),
        ("1. +49 151 23456789 2. +49 160 1234567", None, "+4915123456789"),
        ("(415) 555-0132 (415) 555-0199", "US", "+14155550132"),
        ("(415)555-0132(415)555-0199", "US", "+14155550132"),
        ("415 555 0132 415 555 0199", "US", "+14155550132"),
        ("415 555 0132 415 555 0199 415 555 0111", "US", "+14155550132"),
        ("06 12 34 56 78 06 98 76 54 32", "FR", "+33612345678"),
        ("06 12 34 56 78 06 98 76 54 32 01 23 45 67 89", "FR", "+33612345678"),
        ("0151 23456789 030 123456", "DE", "+4915123456789"),
        ("030 123456 0151 23456789", "DE", "+4930123456"),
        ("030 12 34 56 78 0151 23456789", "DE", "+493012345678"),
        ("+44 7911 123456 020 7946 0958", None, "+447911123456"),
        ("+1 415 555 0132 1 415 555 0199", None, "+14155550132"),
        ("14155550132-14155550199", None, "+14155550132"),
    ],
)
def test_of_several_numbers_the_first_valid_one_counts(written: str, region: str | None, number: str) -> None:
    """A text may hold several, however they are kept apart.

    alltheplaces/alltheplaces#9548, organicmaps/organicmaps#2458, apify/crawlee#437.
    """
    assert e164(written, region) == number


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+1 (415) 555-0132 ext.", "+14155550132"),
        ("+1 415 555 0132 x123", "+14155550132"),
        ("+1 415 555 0132x123", "+14155550132"),
        ("+1 415 555 0132 #12", "+14155550132"),
        ("+1 415 555 0132;ext=12", "+14155550132"),
        ("tel:+1-415-555-0132;ext=12", "+14155550132"),
        ("+1 415 555 0132, 1234#", "+14155550132"),
        ("+49 30 123456 Durchwahl 12", "+4930123456"),
        ("+49 30 123456 x12", "+4930123456"),
        ("+43 664 1234567 Kl. 12", "+436641234567"),
        ("+7 912 345-67-89 доб. 12", "+79123456789"),
        ("+55 11 98765-4321 ramal 123", "+5511987654321"),
        ("+1 555 123 4567 ext 301234", "+15551234567"),
        ("+49 30 123456-12", "+493012345612"),  # a Durchwahl behind a hyphen is dialled with the number
    ],
)
def test_an_extension_is_dropped(written: str, number: str) -> None:
    """E.164 has no extensions. daddyz/phonelib#367, giggsey/libphonenumber-for-php#67."""
    assert e164(written, "DE") == number


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("+52 1 55 1234 5678", None, "+525512345678"),
        ("+5215512345678", None, "+525512345678"),
        ("5215512345678", None, "+525512345678"),
        ("+52 044 55 1234 5678", None, "+525512345678"),
        ("044 55 1234 5678", "MX", "+525512345678"),
        ("045 55 1234 5678", "MX", "+525512345678"),
        ("01 55 1234 5678", "MX", "+525512345678"),
        ("+54 9 11 2345 6789", None, "+5491123456789"),
        ("+54 11 15 2345 6789", None, "+5491123456789"),
        ("011 15 2345-6789", "AR", "+5491123456789"),
        ("+55 (011) 98765-4321", None, "+5511987654321"),
        ("+54 9 (011) 2345-6789", None, "+5491123456789"),
        ("+55 (0xx11) 98765-4321", None, "+5511987654321"),
        ("(0XX11) 98765-4321", "BR", "+5511987654321"),
        ("0xx11 3456-7890", "BR", "+551134567890"),
        ("0347 1234567", "IT", "+393471234567"),
        ("0 11 98765-4321", "BR", "+5511987654321"),
        ("0 15 11 98765-4321", "BR", "+5511987654321"),
        ("+39 06 1234567", None, "+39061234567"),
        ("+39 (0)6 1234567", None, "+39061234567"),
        ("06 1234567", "IT", "+39061234567"),
        ("+378 0549 886377", None, "+3780549886377"),
        ("+225 07 07 07 07 07", None, "+2250707070707"),
        ("+48 (0) 512 345 678", None, "+48512345678"),
        ("+48 0512 345 678", None, "+48512345678"),
        ("+44 (0)20 7946 0958", None, "+442079460958"),
        ("+49[0]151 23456789", None, "+4915123456789"),
        ("(+49)(0)151 23456789", None, "+4915123456789"),
        ("+49-(0)-151-23456789", None, "+4915123456789"),
        ("0049 (0) 151 23456789", None, "+4915123456789"),
        ("+49 (0) 30 / 123456", None, "+4930123456"),
        ("49 (0) 151 23456789", None, "+4915123456789"),
        ("(0)151 23456789", "DE", "+4915123456789"),
        ("+7 8 912 345 67 89", None, "+79123456789"),
        ("+36 06 30 123 4567", None, "+36301234567"),
        ("030/123456", "DE", "+4930123456"),
    ],
)
def test_what_is_dialled_at_home_is_no_part_of_the_number(written: str, region: str | None, number: str) -> None:
    """Trunk prefixes go, and what belongs to the number stays: Italy's zero, Argentina's nine.

    google/libphonenumber#1816, daviddrysdale/python-phonenumbers#306, nyaruka/phonenumbers#176.
    """
    assert e164(written, region) == number


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("+1+14155550132", None, "+14155550132"),
        ("++14155550132", None, "+14155550132"),
        ("+001 415 555 0132", None, "+14155550132"),
        ("+0049 151 23456789", None, "+4915123456789"),
        ("00 49 151 23456789", "US", "+4915123456789"),
        ("011 49 151 23456789", "US", "+4915123456789"),
        ("0114915123456789", None, "+4915123456789"),
        ("0011 1 415 555 0132", "AU", "+14155550132"),
        ("+0151 23456789", "DE", "+4915123456789"),
        ("+0151 23456789", None, None),  # not +1 512, which is a number in Texas
        ("14155550132.0", None, "+14155550132"),
        ("1.4155550132E+10", None, "+14155550132"),
        ("1,4155550132e10", None, "+14155550132"),
        ("1.41556E+10", None, None),  # the spreadsheet has rounded it
        ("14,155,550,132", None, "+14155550132"),
        ("'14155550132", None, "+14155550132"),
        ('="+14155550132"', None, "+14155550132"),
        ("٠١٥١٢٣٤٥٦٧٨٩", "DE", "+4915123456789"),
        ("+1\u200b415\u00a0555\u20110132\ufeff", None, "+14155550132"),
        ("%2B14155550132", None, "+14155550132"),
        ("%2B49%20151%2023456789", None, "+4915123456789"),
        ("&#43;1&nbsp;415 555 0132", None, "+14155550132"),
        ("+4930123456²", None, "+4930123456"),  # a footnote
        ("091-9876543210", "IN", "+919876543210"),  # 00 with a zero lost
        ("0447911123456", "GB", "+447911123456"),
        ("033 6 12 34 56 78", "FR", "+33612345678"),
        ("01 415 555 0132", "US", "+14155550132"),
        ("0171 63456702", "US", None),  # Germany's; +1 716 is in New York
        ("049 151 23456789", "DE", "+494915123456789"),  # valid as it is written: 0491 is Leer
        ("tel:4155550132;phone-context=+1", None, "+14155550132"),
        ("tel:0151-23456789;phone-context=+49", "US", "+4915123456789"),
        ("tel:4155550132;phone-context=example.com", "US", "+14155550132"),
        ("(0xx11) 98765-4321", "US", None),  # Brazil's form elsewhere is a mask
    ],
)
def test_other_spellings_of_the_same_number(written: str, region: str | None, number: str | None) -> None:
    """Doubled prefixes, spreadsheets, scripts, encodings. leftshifters/excel-parser#44, Nyne's skills."""
    assert e164(written, region) == number


@pytest.mark.parametrize(
    ("written", "region"),
    [
        ("+10000000000", None),
        ("0000000000", "US"),
        ("+1 000 000 0000", None),
        ("+49 000000", None),
        ("+49 30 1234567890123456", None),
        ("+493012345678901234", None),
        ("+1111111111", None),
        ("1" * 400, "DE"),
        ("+1" + " 4" * 300, "US"),
    ],
)
def test_only_zeros_and_too_many_digits_are_no_number(written: str, region: str | None) -> None:
    """E.164 has at most 15 digits, of which the country code is not all. AWS HealthLake lists all zeros."""
    assert e164(written, region) is None


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "+1",
        "( ",
        "1 ",
        "x1",
        "%2",
        "&#4",
        "1,111",
        "ext 1",
        "1-",
        "/1",
        "XX",
        "1e9",
        "$$",
        "n",
        "24h ",
        "95% ",
        "0 ",
        "(1) 1",
    ],
)
def test_a_long_text_takes_no_long_time(unit: str) -> None:
    """A megabyte in a number's place is read as far as a number may stand, and in linear time."""
    began = time.process_time()

    read_phone(unit * 1_000_000, "DE")

    assert time.process_time() - began < 0.25


def test_a_number_that_a_bound_cuts_is_none() -> None:
    """Its beginning might be another number."""
    assert e164("x " * 242 + "+49 30 123456 123456") is None
    assert e164("x " * 242 + "+55 11 98765-4321 4321", "BR") is None
