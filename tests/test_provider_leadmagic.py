"""LeadMagic: https://leadmagic.io/docs/v1/making-api-calls."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from enrichment.contact import Contact
from enrichment.outcome import Answered, Refused, Retry, Unreadable
from enrichment.providers.base import HttpResponse
from enrichment.providers.leadmagic import LeadMagic
from tests.provider_suite import CONTACT, ProviderSuite


class TestLeadMagic(ProviderSuite):
    """LeadMagic keeps to what every provider keeps to."""

    provider = LeadMagic(api_key=SecretStr("lm_key_of_tests"))
    secrets: ClassVar = ("lm_key_of_tests",)


leadmagic = TestLeadMagic.provider


def test_the_question_is_the_one_of_its_page() -> None:
    """Address, header and identifiers are those of the vendor's page; names are not among them."""
    request = leadmagic.submit(CONTACT, None)

    assert request.url == "https://api.leadmagic.io/v1/people/mobile-finder"
    assert request.headers["X-API-Key"] == "lm_key_of_tests"
    assert request.body == {
        "profile_url": "linkedin.com/in/johndoe",
        "work_email": "john@acme.test",
        "personal_email": "john@mail.test",
    }


@pytest.mark.parametrize("field", ["profile_url", "work_email", "personal_email"])
def test_each_identifier_alone_can_be_asked(field: str) -> None:
    """Any one of the three is enough, and no other is sent."""
    contact = Contact(**{field: getattr(CONTACT, field)})

    assert leadmagic.can_ask(contact)
    assert leadmagic.submit(contact, None).body == {field: getattr(CONTACT, field)}


def test_a_name_alone_cannot_be_asked() -> None:
    """It has no parameter for a name."""
    assert not leadmagic.can_ask(Contact(name="John Doe", company="Acme"))


def test_a_slug_of_another_script_is_sent_as_urls_are() -> None:
    """What we keep decoded travels percent-encoded, as an address bar copies it."""
    body = leadmagic.submit(Contact(profile_url="linkedin.com/in/jané-doe"), None).body

    assert body == {"profile_url": "linkedin.com/in/jan%C3%A9-doe"}


@pytest.mark.parametrize(("consumed", "credits"), [("4.999", "5"), ("0.004", "0"), ("0.005", "0.01"), ("5", "5")])
def test_credits_with_three_decimals_are_rounded_to_cents(consumed: str, credits: str) -> None:
    """The ledger holds cents: anything finer would be refused, or released as another sum than was reserved."""
    body = f'{{"mobile_number": "+1-555-123-4567", "credits_consumed": {consumed}}}'

    outcome = leadmagic.read_submit(HttpResponse(200, {}, body.encode()))

    assert getattr(outcome, "credits", None) == Decimal(credits)


@pytest.mark.parametrize(
    "words",
    [
        {"message": "Contact not found"},
        {"message": "Person not found."},
        {"error": "contact_not_found"},
        {"error": "No contact found for john@acme.test"},
        {"detail": "No mobile number found for this contact."},
        {"error": "not_found", "message": "Contact could not be found"},
        {"message": "We couldn't find this contact"},
        {"message": "Could not find a matching profile."},
        {"message": "Person does not exist"},
        {"error": "Unable to find a mobile number"},
    ],
)
def test_a_404_about_the_person_is_no_number(words: dict[str, str]) -> None:
    """LeadMagic's siblings answer so; the question was right, and costs nothing. Public adapters on GitHub."""
    outcome = leadmagic.read_submit(HttpResponse(404, {}, json.dumps(words).encode()))

    assert outcome == Answered(None, Decimal(0))


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Contact not found</html>",
        b'{"message": "Not Found"}',
        b'{"detail": "Not Found"}',
        b'{"message": "no Route matched with those values"}',
        b'{"message": "The requested URL could not be found"}',
        b'{"message": "This endpoint does not exist"}',
        b'{"message": "Cannot POST /v2/people/mobile-finder: not found"}',
    ],
)
def test_a_404_about_the_address_is_a_refusal_with_advice(body: bytes) -> None:
    """A wrong LEADMAGIC_BASE_URL must not look as if no person had a number."""
    assert isinstance(leadmagic.read_submit(HttpResponse(404, {}, body)), Refused)


@pytest.mark.parametrize(
    "consumed", ["NaN", "Infinity", "-5", "true", "null", '"5"', "[5]", "1e400", "1e30", "9" * 400]
)
def test_credits_that_are_no_number_are_not_said(consumed: str) -> None:
    """credits_consumed counts when it is a finite number that is not negative; the number found counts anyway."""
    body = f'{{"mobile_number": "+1-555-123-4567", "credits_consumed": {consumed}}}'
    outcome = leadmagic.read_submit(HttpResponse(200, {}, body.encode()))

    assert getattr(outcome, "mobile", None) == "+1-555-123-4567"
    assert getattr(outcome, "credits", 0) is None


def test_a_number_too_long_to_be_one_is_unreadable() -> None:
    """A page in the place of a number is kept for a person, not as a number."""
    body = b'{"mobile_number": "' + b"5" * 201 + b'", "credits_consumed": 5}'

    assert isinstance(leadmagic.read_submit(HttpResponse(200, {}, body)), Unreadable)


def test_a_500_waits_as_its_page_asks() -> None:
    """Half a minute, even where a proxy's header says otherwise."""
    outcome = leadmagic.read_submit(HttpResponse(500, {"retry-after": "1"}, b""))

    assert outcome == Retry("HTTP 500", after=30.0)


def test_a_price_of_the_settings_decides_health() -> None:
    """A price in the settings changes the balance that is needed."""
    dear = LeadMagic(api_key=SecretStr("lm_key_of_tests"), price=Decimal(8))

    assert not dear.read_health(HttpResponse(200, {}, b'{"credits": 7.5}')).well
    assert dear.read_health(HttpResponse(200, {}, b'{"credits": 8}')).well


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"mobile": "+1-415-555-0132", "credits_consumed": 5}, Answered("+1-415-555-0132", Decimal(5))),
        ({"phone_numbers": ["+1-415-555-0132"], "credits_consumed": 5}, Answered("+1-415-555-0132", Decimal(5))),
        ({"message": "No mobile number found for this contact."}, Answered(None)),
        (
            {"email": "j@acme.test", "credits_consumed": 0, "profile_url": "in/john-1234567890"},
            Answered(None, Decimal(0)),
        ),
    ],
)
def test_an_answer_under_other_names_is_read(answer: dict[str, Any], outcome: Answered) -> None:
    """A field that was renamed loses no number that was paid for."""
    assert leadmagic.read_submit(HttpResponse(200, {}, json.dumps(answer).encode())) == outcome


@pytest.mark.parametrize(
    "answer",
    [
        {"data": {"mobile_number": "+1-415-555-0132"}, "credits_consumed": 5},
        {"best": {"whatsapp": "415-555-0132"}, "credits_consumed": 5},
        {"mobile_number": {"n": 1}, "credits_consumed": 5},
        {"mobile_number": True, "credits_consumed": 5},
    ],
)
def test_a_number_in_a_place_never_seen_is_kept_for_a_person(answer: dict[str, Any]) -> None:
    """It was paid for: no number would be wrong, and so would a guess."""
    assert isinstance(leadmagic.read_submit(HttpResponse(200, {}, json.dumps(answer).encode())), Unreadable)
