"""LeadMagic: https://leadmagic.io/docs/v1/making-api-calls."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import pytest
from pydantic import SecretStr

from enrichment.contact import Contact
from enrichment.outcome import Retry, Unreadable
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
    """Any one of the three is enough, and what is not given is not sent."""
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
    body = b'{"mobile_number": "' + b"5" * 65 + b'", "credits_consumed": 5}'

    assert isinstance(leadmagic.read_submit(HttpResponse(200, {}, body)), Unreadable)


def test_a_500_waits_as_its_page_asks() -> None:
    """Half a minute, even where a proxy's header says otherwise."""
    outcome = leadmagic.read_submit(HttpResponse(500, {"retry-after": "1"}, b""))

    assert outcome == Retry("HTTP 500", after=30.0)


def test_a_price_of_the_settings_decides_health() -> None:
    """Whoever pays another price needs another balance."""
    dear = LeadMagic(api_key=SecretStr("lm_key_of_tests"), price=Decimal(8))

    assert not dear.read_health(HttpResponse(200, {}, b'{"credits": 7.5}')).well
    assert dear.read_health(HttpResponse(200, {}, b'{"credits": 8}')).well
