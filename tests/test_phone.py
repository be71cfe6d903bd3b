"""Numbers as vendors write them, E.164, and words for no number."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat

from enrichment.nothing import is_nothing
from enrichment.phone import Phone, needs_region, read_phone
from enrichment.phone_words import says_no_number

quick = settings(max_examples=300, deadline=None, database=None)
pieces = [
    "+", "+49", "0", "00", "(0)", "1", "415", "5550132", "151 23456789", " ", "-", "/", ",", "\n", "x", "XX", "#", "…",
    "[", "]", "(", ")", "ext", "ext. 5", "E+10", ".0", "%2B", "&nbsp;", "mobil", "AXEL", "O", "٣", "²", "\ud800",
    "24h", "95%", "nnn", "×××", "[hidden]", "0xx11", ";phone-context=+1", "(415) 555-0132",
]  # fmt: skip
texts = (
    st.text(max_size=40)
    | st.text("+0123456789 ()[]-./;extX=,#*", max_size=40)
    | st.lists(st.sampled_from(pieces), max_size=14).map("".join)
)
regions = st.none() | st.sampled_from(["US", "DE", "us", "ZZ", "001", "", "XX"]) | st.text(max_size=3)


@pytest.mark.parametrize("region", [None, "US", "us", "DE", "XX"])
@pytest.mark.parametrize(
    "written",
    [
        "+1-555-123-4567",
        "+1 555 123 4567",
        "+15551234567",
        "(+1) 555-123-4567",
        "+1 (555) 123-4567 ext. 8",
        "tel:+1-555-123-4567",
        "\u202a+1\u00a0555\u2011123\u20114567\u202c",
        "＋１ ５５５ １２３ ４５６７",
    ],
)
def test_the_samples_of_vendors_are_numbers(written: str, region: str | None) -> None:
    """A number with its country code is the same everywhere, even in 555, which no table lists."""
    phone = read_phone(written, region)

    assert phone == Phone("+15551234567", "US", "unknown")


@pytest.mark.parametrize("written", ["555-123-4567", "(555) 123-4567", "1-555-123-4567", "5551234567"])
def test_a_number_without_country_code_is_read_in_its_region(written: str) -> None:
    """The region of the event says where a number is at home."""
    assert read_phone(written, "US") == Phone("+15551234567", "US", "unknown")


@pytest.mark.parametrize("written", ["555-123-4567", "(555) 123-4567", "5551234567", "030 123456"])
def test_a_number_at_home_nowhere_is_none(written: str) -> None:
    """Without a country code and a region, the country of a number is unknown."""
    assert read_phone(written, None) is None


@pytest.mark.parametrize("region", [None, "US", "GB", "DE"])
@pytest.mark.parametrize("written", ["14155550132", "1 415 555 0132", "0014155550132"])
def test_a_missing_plus_is_put_back(written: str, region: str | None) -> None:
    """Eleven digits and more that are valid with a plus, and not at home, are read as written in full."""
    phone = read_phone(written, region)

    assert phone is not None
    assert phone.e164 == "+14155550132"


@pytest.mark.parametrize(
    ("written", "region", "e164"),
    [
        ("4915123456789", "DE", "+4915123456789"),  # begins with the hint's code, and is valid
        ("15123456789", "DE", "+4915123456789"),  # valid at home; with a plus it would be a number in Texas
        ("14155550132", "DE", "+14155550132"),  # only possible at home, valid with a plus
        ("15551234567", "US", "+15551234567"),  # in no table: possible at home
        ("15551234567", None, None),  # in no table, and at home nowhere
        ("11987654321", None, None),  # Brazil's, perhaps; +1 198 is not in use
        ("13812345678", None, None),  # China's, perhaps
    ],
)
def test_digits_without_a_plus_are_read_in_order(written: str, region: str | None, e164: str | None) -> None:
    """In full for the hint's country, at home, in full for any country, at home if only possible; each valid first."""
    phone = read_phone(written, region)

    assert (phone and phone.e164) == e164


def test_a_number_at_home_goes_before_a_missing_plus() -> None:
    """Eleven digits that are possible in the region are a number there."""
    phone = read_phone("01512 3456789", "DE")

    assert phone == Phone("+4915123456789", "DE", "mobile")


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "+",
        "N/A",
        "not found",
        "call me",
        "12",
        "123-4567",
        "+1 555 123",
        "+15551234567890123",
        "0" * 300,
        "+999 12345678",
    ],
)
def test_what_cannot_be_a_number_is_none(written: str) -> None:
    """Words, fragments and what is too long or short for its country."""
    assert read_phone(written, "US") is None


@pytest.mark.parametrize(
    ("written", "hint", "region"),
    [
        ("+1-555-123-4567", None, "US"),  # in no table: the main region of +1
        ("+1-555-123-4567", "CA", "CA"),  # in no table: the hint, which has +1 as well
        ("+1-555-123-4567", "DE", "US"),  # a hint of another code says nothing
        ("+1 416 555 0123", "US", "CA"),  # in the tables: they outweigh the hint
        ("+44 20 7946 0000", None, "GB"),
        ("+800 1234 5678", None, None),  # of no country
        ("+882 16 1234 5678", "US", None),
    ],
)
def test_the_region_is_the_numbers_own_where_it_has_one(written: str, hint: str | None, region: str | None) -> None:
    """The digits decide, then a hint that fits, then the main region of the code."""
    phone = read_phone(written, hint)

    assert phone is not None
    assert phone.region == region


@pytest.mark.parametrize(
    ("written", "line_type"),
    [
        ("+49 1512 3456789", "mobile"),
        ("+49 30 123456", "fixed_line"),
        ("+44 7700 900123", "unknown"),  # kept for films: no table lists it
        ("+44 56 0012 3456", "voip"),
        ("+44 800 123 4567", "toll_free"),
        ("+1 416 555 0123", "unknown"),
        ("+1 212 555 0123", "unknown"),
        ("+1 800 555 0123", "unknown"),
    ],
)
def test_the_line_type_is_said_where_the_digits_decide_it(written: str, line_type: str) -> None:
    """Elsewhere, and always in the USA and Canada, it is unknown."""
    phone = read_phone(written, None)

    assert phone is not None
    assert phone.line_type == line_type


def test_a_phone_shows_no_number() -> None:
    """repr is what ends up in logs."""
    assert "555" not in repr(read_phone("+1-555-123-4567", None))


@pytest.mark.parametrize(
    "written",
    [
        "4155550132",
        "030 123456",
        "0151 23456789",
        "11987654321",
        "(555) 123-4567",
        "415 555 0132 2",
        "(415) 555-0132 (415) 555-0199",
    ],
)
def test_a_national_number_waits_for_a_region(written: str) -> None:
    """A text that a region would make a number says so, and is read anew once there is one."""
    assert needs_region(written, None)
    assert needs_region(written, "XX")
    assert not needs_region(written, "US")


@pytest.mark.parametrize("written", ["", "N/A", "2024", "0000000", "+1 415-555-XXXX", "+14155550132", "+1 555 12"])
def test_what_no_region_would_make_a_number_waits_for_none(written: str) -> None:
    """Words, fragments, masks, and numbers that name their country."""
    assert not needs_region(written, None)


@quick
@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)), st.integers(0, 10), st.data())
def test_the_fast_path_reads_what_the_library_reads(region: str, kind: int, data: st.DataObject) -> None:
    """A number in E.164, changed in any way that leaves it E.164, is the same by the short way and by the long one."""
    example = phonenumbers.example_number_for_type(region, kind)
    if example is None:
        return
    digits = list(phonenumbers.format_number(example, PhoneNumberFormat.E164)[1:])
    for place in data.draw(st.lists(st.integers(1, len(digits) - 1), max_size=3)):
        digits[place] = data.draw(st.sampled_from("0123456789"))
    ending = data.draw(st.sampled_from(["", "", "0", "12"]))
    written = "+" + ("".join(digits) + ending)[:15]

    # A remark takes the text off the fast path and changes nothing else.
    assert read_phone(written, None) == read_phone(f"{written} (remark)", None)


@quick
@given(texts, regions)
def test_no_text_raises_and_e164_reads_to_itself(written: str, region: str | None) -> None:
    """Any text is a number or none; a number in E.164 is itself again, wherever it is read."""
    phone = read_phone(written, region)
    if phone is None:
        return

    assert phone.e164[0] == "+"
    assert phone.e164[1:].isdecimal()
    again = read_phone(phone.e164, region)
    assert again == phone


@pytest.mark.parametrize(
    "words",
    [
        "N/A", "n.a.", "#N/A", "null", "NULL", "none", "(none)", "nil", "NaN", "undefined", "unknown", "-", "--", "—",
        "", " ", "?", "0", "0000000000", "Not found", "not available", "No mobile number found", "{}", "[]", "TBD",
        "No mobile number found for this contact.", "mobile not found", "error 404: not found", "Unlisted",
        "kein Eintrag", "Keine Nummer gefunden", "nicht vorhanden", "unbekannt", "numéro non trouvé", "sin datos",
        "não encontrado", "nessun numero", "niet gevonden", "brak", "нет данных", "なし", "没有",
        "not_found", "NOT_FOUND", "no_match", "mobile_not_found", "NoMatch", "notFound", "no-results", "null, null",
        "N/A; N/A", "N/A / N/A", "none | none", "N/A (mobile)", "mobile: N/A", "phone: none", "{{mobile}}", "XXX", "x",
        "error", "Error!", "-1", "+", "+1", "未登録", "removed", "DNC", '{"mobile": null}',
        "nope", "Nothing found", "[null]", "null null", "N / A", "N. A.", "n.v.t.", "s/d", "b/d", "z/n", "nenalezeno",
        "bulunamadı", "BULUNAMADI", "nem található", "δεν βρέθηκε", "ไม่พบ", "לא נמצא", "غير متوفر", "لا يوجد رقم",
        "nu a fost găsit", "नहीं मिला", "unpublished", "opted out", "Opted-out", "disconnected", "[object Object]",
        "[phone]", "[Mobile Number]", "<phone>", "*|PHONE|*", "%PHONE%",
    ],
)  # fmt: skip
def test_a_word_for_nothing_is_no_number(words: str) -> None:
    """Vendors say it in many ways. AWS HealthLake's list of placeholders."""
    assert says_no_number(words)
    assert read_phone(words, "DE") is None


@pytest.mark.parametrize("words", ["N / A", "N. A.", "s/d", "nem található", "ไม่พบ", "לא נמצא", "غير متوفر"])
def test_the_same_words_leave_other_fields_empty(words: str) -> None:
    """A name or an e-mail address is left out with the words that leave a number out."""
    assert is_nothing(words)


@pytest.mark.parametrize(
    "words",
    ["+14155550132", "4155550132", "Do not call +1 415 555 0132", "ask reception", "+1 415-555-XXXX", "Nora",
     "N/A 4155550132", "+1 415", "555-0132", "Xavier", "opted out of calls: 415 555 0132", "Nuno",
     '{"mobile": "ask reception"}'],
)  # fmt: skip
def test_other_words_are_not_taken_for_nothing(words: str) -> None:
    """A number with a remark, a mask, or words that promise nothing."""
    assert not says_no_number(words)
