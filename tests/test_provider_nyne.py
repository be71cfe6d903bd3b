"""Nyne: https://api.nyne.ai/documentation/person/phone."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from enrichment.contact import Contact
from enrichment.outcome import Accepted, Answered, Retry, Unreadable
from enrichment.providers.base import HttpResponse
from enrichment.providers.nyne import Nyne
from tests.provider_suite import CALLBACK_URL, CONTACT, ProviderSuite, anything, quick


class TestNyne(ProviderSuite):
    """Nyne keeps to what every provider keeps to."""

    provider = Nyne(api_key=SecretStr("nyne_live_key_of_tests"), api_secret=SecretStr("nyne_sec_of_tests"))
    secrets: ClassVar = ("nyne_live_key_of_tests", "nyne_sec_of_tests")


nyne = TestNyne.provider


def test_the_question_is_the_one_of_its_page() -> None:
    """Address, headers and parameters are those of the vendor's page; the work e-mail goes before the other."""
    request = nyne.submit(CONTACT, CALLBACK_URL)

    assert request.url == "https://api.nyne.ai/person/phone"
    assert request.headers["X-API-Key"] == "nyne_live_key_of_tests"
    assert request.headers["X-API-Secret"] == "nyne_sec_of_tests"
    assert request.body == {
        "name": "John Doe",
        "company": "Acme",
        "email": "john@acme.test",
        "social_media_url": "https://www.linkedin.com/in/johndoe",
        "callback_url": CALLBACK_URL,
    }


@pytest.mark.parametrize(
    ("contact", "body"),
    [
        (Contact(personal_email="john@mail.test"), {"email": "john@mail.test"}),
        (Contact(name="John Doe"), {"name": "John Doe"}),
        (
            Contact(profile_url="linkedin.com/in/jané"),
            {"social_media_url": "https://www.linkedin.com/in/jan%C3%A9"},
        ),
    ],
)
def test_each_identifier_alone_can_be_asked(contact: Contact, body: dict[str, str]) -> None:
    """An e-mail, a name or a profile is enough, and no other is sent."""
    assert nyne.can_ask(contact)
    assert nyne.submit(contact, None).body == body


def test_a_handle_is_opaque_in_the_poll() -> None:
    """Any handle stays one parameter."""
    url = nyne.poll("a1b2_1717000000.53783_2615&x=1/é").url

    assert url == "https://api.nyne.ai/person/phone?request_id=a1b2_1717000000.53783_2615%26x%3D1%2F%C3%A9"


@pytest.mark.parametrize(
    "handle",
    ["", " ", "a" * 129, "a\x00b", "a\nb", "\ud800", "a" * 10_240, True, -7, 10**40, 1.5, None, ["a"], {"a": 1}],
)
def test_a_handle_that_cannot_be_stored_is_none(handle: object) -> None:
    """Empty, overlong or unprintable handles are unreadable; the callback's token still finds the job."""
    body = json.dumps({"success": True, "data": {"request_id": handle, "status": "queued"}}).encode()

    assert isinstance(nyne.read_submit(HttpResponse(202, {}, body)), Unreadable)


def test_the_longest_handle_is_taken() -> None:
    """128 characters are within the promise of opaque text."""
    body = json.dumps({"request_id": "a" * 128}).encode()

    assert nyne.read_submit(HttpResponse(202, {}, body)) == Accepted("a" * 128)


@quick
@given(status=st.integers(500, 599), body=anything.map(lambda value: json.dumps(value).encode()))
def test_a_poll_may_always_be_repeated(status: int, body: bytes) -> None:
    """A poll costs nothing, so every failure of the server is asked again."""
    assert isinstance(nyne.read_poll(HttpResponse(status, {}, body)), Retry)


@pytest.mark.parametrize("status", ["not_found", "Not Found", "not-found", "no_match", "No results", "no_data"])
def test_a_status_of_no_match_is_no_number(status: str) -> None:
    """Any spelling of the word ends the job, so it does not wait for its deadline."""
    body = json.dumps({"request_id": "a1", "status": status}).encode()

    assert nyne.read_callback(body) == Answered(None, request_id="a1")


@quick
@given(mobile=anything)
def test_any_form_of_a_number_has_an_outcome(mobile: object) -> None:
    """A completed job reads as a number, as none, or as unreadable: never as at work and never as refused."""
    body = json.dumps({"status": "completed", "result": {"mobile": mobile}}).encode()

    assert isinstance(nyne.read_callback(body), Answered | Unreadable)


def test_a_deep_list_of_numbers_does_not_exhaust_us() -> None:
    """Nesting that JSON can still carry is not followed to its end."""
    body = f'{{"status": "completed", "result": {{"mobile": {"[" * 500}"+1-555-123-4567"{"]" * 500}}}}}'

    assert isinstance(nyne.read_callback(body.encode()), Unreadable)


def test_a_callback_reads_as_the_poll_would() -> None:
    """One payload, two ways to arrive, one outcome."""
    body = (
        b'{"success": true, "data": {"request_id": "a1", "status": "completed", "result": {"mobile": "+15551234567"}}}'
    )

    assert (
        nyne.read_callback(body) == nyne.read_poll(HttpResponse(200, {}, body)) == Answered("+15551234567", None, "a1")
    )


@pytest.mark.parametrize(
    "result",
    [
        {"mobile": None, "updated_at": "2026-01-15T10:31:00Z", "profile_id": 1234567890},
        {"mobile": "", "whatsapp": "+1-415-555-0132"},
        {"id": "1234567890", "name": "John Doe"},
        {"linkedin": "https://www.linkedin.com/in/john-1234567890"},
    ],
)
def test_other_digits_are_not_taken_for_a_number(result: dict[str, Any]) -> None:
    """A mobile that is said to be empty is none, and identifiers and dates are no numbers."""
    body = json.dumps({"status": "completed", "result": result}).encode()

    assert nyne.read_callback(body) == Answered(None)


@pytest.mark.parametrize(
    "result",
    [{"channels": {"sms": "415-555-0132"}}, {"people": [{"tel": 14155550132}]}, {"found": ["+1-415-555-0132"]}],
)
def test_a_number_in_a_place_never_seen_is_kept_for_a_person(result: dict[str, Any]) -> None:
    """It was paid for: no number would be wrong, and so would a guess."""
    body = json.dumps({"status": "completed", "result": result}).encode()

    assert isinstance(nyne.read_callback(body), Unreadable)


@pytest.mark.parametrize(
    ("mobile", "first", "second"),
    [
        ("Office +49 30 123456, Mobil +49 151 23456789", " Mobil +49 151 23456789", "Office +49 30 123456"),
        ("(415) 555-0132 (home) / (415) 555-0199 (cell)", "(415) 555-0199 (cell)", "(415) 555-0132 (home)"),
        ("+14155550132; +14155550199", "+14155550132; +14155550199", None),
        ("+14155550132 (cell), ext. 4", "+14155550132 (cell), ext. 4", None),
        ("Office: +49 30 123456 Cell: +49 151 23456789", "Cell: +49 151 23456789", "Office: +49 30 123456"),
        ("+49 151 23456789 cell +49 30 123456 home", "+49 151 23456789 cell", "+49 30 123456 home"),
        (
            ["landline: +4930123456", "mobile: +4915123456789"],
            "mobile: +4915123456789",
            "landline: +4930123456",
        ),
        (
            [{"number": "+4930123456", "isMobile": False}, {"number": "+4915123456789", "isMobile": True}],
            "+4915123456789",
            "+4930123456",
        ),
        (
            [{"number": "+4930123456", "mobile": False}, {"number": "+4915123456789", "mobile": True}],
            "+4915123456789",
            "+4930123456",
        ),
    ],
)
def test_a_vendor_may_say_which_of_its_numbers_is_the_mobile(mobile: object, first: str, second: str | None) -> None:
    """Mobiles go before others where the vendor says which is which, in words as in fields and flags."""
    body = json.dumps({"status": "completed", "result": {"phone": mobile}}).encode()

    assert nyne.read_callback(body) == Answered(first.strip(), second_choice=second)


@pytest.mark.parametrize(
    ("phone", "text"),
    [
        ({"prefix": "+49", "number": "15123456789"}, "+49 15123456789"),
        ({"country_code": "+1", "number": "4155550132"}, "+1 4155550132"),
        ({"countryCode": "0049", "number": "0151 23456789"}, "+49 0151 23456789"),
        ({"dial_code": 49, "number": 15123456789}, "+49 15123456789"),
        ({"calling_code": "49", "numbers": ["15123456789"]}, "+49 15123456789"),
        ({"dialCode": "1", "area_code": "415", "number": "5550132"}, "+1 415 5550132"),
        ({"country_code": "+1", "number": "14155550132"}, "+14155550132"),  # begins with it
        ({"country_code": "55", "number": "5511987654321"}, "+5511987654321"),  # possible in Germany, too
        ({"country_code": "1", "number": "(1) 415-555-0132 (cell)"}, "(+1) 415-555-0132 (cell)"),
        ({"prefix": "20", "number": "79460958"}, "79460958"),  # London's area code, Egypt's country code
        ({"country_code": "+91", "number": "9123456789"}, "+91 9123456789"),  # a mobile of India begins so as well
        ({"country_code": "+1", "number": "+4915123456789"}, "+4915123456789"),
        ({"country_code": "US", "number": "4155550132"}, "4155550132"),
        ({"prefix": "415", "number": "5550132"}, "5550132"),  # an area code, perhaps
        ({"prefix": "Dr.", "number": "4155550132"}, "4155550132"),
    ],
)
def test_a_country_code_beside_a_number_belongs_to_it(phone: object, text: str) -> None:
    """Without it, a German number read as if it had a plus is a stranger's in Texas."""
    body = json.dumps({"status": "completed", "result": {"mobile": phone}}).encode()

    assert nyne.read_callback(body) == Answered(text)
