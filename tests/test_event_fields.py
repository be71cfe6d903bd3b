"""The body of an event, read without a receiver: shapes, names of fields, types of values, ids and providers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from enrichment.contact import Contact
from enrichment.event import ContactRead, NotAnEvent, read_event
from enrichment.providers.base import Provider
from enrichment.providers.leadmagic import LeadMagic
from enrichment.providers.nyne import Nyne
from tests.test_contact import MEMBER_ID

PROVIDERS: dict[str, Provider] = {
    "leadmagic": LeadMagic(SecretStr("key")),
    "nyne": Nyne(SecretStr("key"), SecretStr("secret")),
}
JANE = Contact(work_email="jane@acme.co")


def read(body: Any, fields: dict[str, str] | None = None) -> tuple[ContactRead, ...]:
    """Read a body: bytes and text as they are, anything else as JSON."""
    return read_event(body if isinstance(body, bytes | str) else json.dumps(body), providers=PROVIDERS, fields=fields)


def read_one(body: Any, fields: dict[str, str] | None = None) -> ContactRead:
    """Read a body of one contact."""
    (one,) = read(body, fields)
    return one


def paths(one: ContactRead) -> list[str]:
    """Return the paths of the contact's problems."""
    return [path for path, _ in one.problems]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        *((name, "work_email") for name in (
            "work_email", "workEmail", "Work Email", "WORK-EMAIL", " work_email ", "email", "Email", "E-Mail",
            "e_mail", "emailAddress", "email_address", "EMAIL ADDRESS", "mail",
            "business email", "primaryEmail", "contact_email")),
        *((name, "personal_email") for name in (
            "personal_email", "personalEmail", "Personal E-Mail", "private_email", "Email 2", "secondary email",
            "hs_additional_emails")),
        *((name, "profile_url") for name in (
            "profile_url", "profile_url ", "profileUrl", "Profile URL", "linkedin", "LinkedIn", "linkedIn",
            "linkedin_url", "linkedinUrl", "LinkedIn URL", "linkedin-profile", "linkedInProfileUrl",
            "hs_linkedin_url", "social_media_url", "Person Linkedin Url", "linkedin_profile_url", "profile",
            "LINKEDIN PROFILE", "linkedin_vanity_name", "linkedinVanityName")),
    ],
)  # fmt: skip
def test_an_identifier_is_known_by_its_common_names(name: str, field: str) -> None:
    """Other systems' names, in any case and with any separator, mean the same field.

    alphaonedev/ai-memory-mcp#706; europace/baufismart-kundenangaben-api#105; superplanehq/superplane#4258.
    """
    value = "linkedin.com/in/janedoe" if field == "profile_url" else "jane@acme.co"
    one = read_one({name: value})

    assert one.contact == Contact(**{field: value})
    assert one.problems == ()


@pytest.mark.parametrize(
    ("body", "name", "company", "region"),
    [
        ({"first_name": "Jane", "last_name": "Doe"}, "Jane Doe", None, None),
        ({"firstName": "Jane", "lastName": "Doe"}, "Jane Doe", None, None),
        ({"firstname": "Jane", "lastname": "Doe"}, "Jane Doe", None, None),
        ({"First Name": "Jane", "Last Name": "Doe", "companyName": "Acme"}, "Jane Doe", "Acme", None),
        ({"full_name": "Jane Doe", "organization": "Acme", "country": "USA"}, "Jane Doe", "Acme", "US"),
        ({"fullName": "Jane Doe", "Company Name": "Acme", "countryCode": "de"}, "Jane Doe", "Acme", "DE"),
        ({"Full Name": "Jane Doe", "employer": "Acme", "Country/Region": "Italia"}, "Jane Doe", "Acme", "IT"),
    ],
)
def test_names_and_companies_have_many_names(body: Any, name: str, company: str | None, region: str | None) -> None:
    """First and last name are one name; company and country go by what forms call them."""
    assert read_one(body).contact == Contact(name=name, company=company, region=region)


@pytest.mark.parametrize("name", ["record_id", "recordId", "Record ID", "contact_id", "hs_object_id", "crm_id"])
def test_a_record_is_known_by_its_common_names(name: str) -> None:
    """The CRM's id of the contact goes by several names."""
    assert read_one({"email": "jane@acme.co", name: 42, "eventId": "e"}).record_id == "42"


def test_our_own_name_comes_first() -> None:
    """Where two names mean one field, ours is used before the other; a second address takes the free place."""
    one = read_one({"email": "j@mail.co", "work_email": "jane@acme.co", "linkedin": "in/bob", "profile_url": "in/jane"})

    assert one.contact == Contact(
        profile_url="linkedin.com/in/jane", work_email="jane@acme.co", personal_email="j@mail.co"
    )
    assert paths(one) == ["linkedin"]


def test_mapped_names_come_before_guesses() -> None:
    """GENERIC_FIELDS says what one's own fields are, against what they would be taken for."""
    fields = {"Email 1": "personal_email", "Kontakt-LI": "profile_url", "Owner E-Mail": "ignore", "email": "ignore"}
    body = {"email_1": "jane@mail.co", "kontakt li": "in/janedoe", "ownerEMail": "rep@ours.test", "email": "x@y.test"}

    one = read_one(body, fields)

    assert one.contact == Contact(profile_url="linkedin.com/in/janedoe", personal_email="jane@mail.co")
    assert one.problems == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whatever", "jane@acme.co"),
        ("notes", " <jane@acme.co> "),
        ("website", "https://www.linkedin.com/in/janedoe"),
        ("company_linkedin_url", "https://www.linkedin.com/company/acme"),
        ("values", ["x", "jane@acme.co"]),
        ("properties", {"email": {"value": "jane@acme.co"}}),
        ("contact", {"linkedin": "linkedin.com/in/janedoe"}),
        ("data", [{"attributes": {"emails": ["jane@acme.co"]}}]),
        ("Main E-Mail Adr.", "jane at acme"),
        ("linkedin_member", "janedoe"),
        ("profile_link_2", "janedoe"),
        ("LinkedIn__c", "in/janedoe"),
        ("Her LinkedIn", "janedoe"),
        ("CustomLinkedInField", "janedoe"),
        ("Linked-In (private)", "janedoe"),
        ("LINKED_IN 2", "janedoe"),
        ("linkedin_id", "jane-doe"),
        ("linkedInId", "jane-doe"),
        ("LinkedIn ID", 12345678),
        ("linkedin_profile_id", "jane-doe"),
        ("linkedin_name", "jane-doe"),
        ("linkedin_profile_name", "Jane Doe"),
        ("linkedin_sales_nav_id", "jane-doe"),
        ("urn", f"urn:li:fsd_profile:{MEMBER_ID}"),
        ("entity", f"urn:li:fs_salesProfile:({MEMBER_ID},NAME_SEARCH,n7cD)"),
        ("author", "urn:li:person:8675309"),
        ("sales_nav_id", MEMBER_ID),
        ("sales_nav_id", MEMBER_ID.lower()),
        ("person", {"linkedin_id": "jane-doe"}),
        ("person", {"urn": " urn:li:member:12345678 "}),
        ("socials", {"linkedin": "in/janedoe"}),
        ("social", {"networks": [{"LinkedIn": "janedoe"}]}),
        ("fields", {"LinkedIn Handle": "janedoe"}),
    ],
)
def test_what_looks_like_an_identifier_is_never_dropped_in_silence(name: str, value: Any) -> None:
    """A field that is not understood and holds an address, or is named like one, is named."""
    one = read_one({"work_email": "joe@acme.co", name: value})

    assert one.contact == Contact(work_email="joe@acme.co")
    assert len(one.problems) == 1
    assert "not understood" in one.problems[0][1]


@pytest.mark.parametrize("name", ["linkedin_id", "linkedin_profile_id", "linkedin_name"])
def test_nothing_in_the_place_of_an_identifier_is_nothing(name: str) -> None:
    """A word for nothing, an empty text and zero are no identifier that was dropped."""
    for value in ("n/a", "", None, 0, False):
        assert read_one({"work_email": "joe@acme.co", name: value}).problems == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("note", "Call Jane, she wrote from jane@acme.co last week"),
        ("email_status", "verified"),
        ("email_verified", True),
        ("emailOptOut", False),
        ("linkedin_followers", "500+"),
        ("linkedin_connections", 500),
        ("personal_mail_x", None),
        ("MailingStreet", "12 Main Street"),
        ("voicemail", "yes"),
        ("other_email_field", "n/a"),
        ("profile_picture", "https://cdn.test/x.png"),
        ("phone", "+1 555 0100"),
        ("twitter", "@janedoe"),
        ("lifecyclestage", "lead"),
        ("tags", ["a", "b"]),
        ("amount", 12.5),
        ("LinkedIn Followers", "500+"),
        ("linkedin_campaign_id", "c-12"),
        ("linkedin_campaign_name", "Autumn"),
        ("linkedin_lead_id", "8675309"),
        ("profile_id", 5),
        ("profile_id", "5"),
        ("email_id_2", 7),
        ("urn", "urn:isbn:0451450523"),
        ("campaign", "urn:li:sponsoredCampaign:123"),
        ("socials", {"linkedin": "n/a", "twitter": "@janedoe", "linkedInConnections": "500"}),
    ],
)
def test_what_is_no_identifier_is_ignored(name: str, value: Any) -> None:
    """A form has many fields: those about something else are no problem."""
    one = read_one({"work_email": "joe@acme.co", name: value})

    assert (one.contact, one.problems) == (Contact(work_email="joe@acme.co"), ())


@pytest.mark.parametrize(
    ("body", "contact", "named"),
    [
        ({"work_email": ["jane@acme.co", "j@mail.co"]},
         Contact(work_email="jane@acme.co", personal_email="j@mail.co"), []),
        ({"work_email": ["", None, "n/a", "jane@acme.co"]}, JANE, []),
        ({"emails": [{"value": "j@mail.co"}, "jane@acme.co"]}, JANE, ["emails[0]"]),
        ({"work_email": [["jane@acme.co"]], "email": "jane@acme.co"}, JANE, ["work_email[0]"]),
        ({"work_email": "jane@acme.co", "profile_url": False}, JANE, []),
        ({"work_email": "jane@acme.co", "company": False, "name": None, "personal_email": 0}, JANE, []),
        ({"work_email": "jane@acme.co", "company": [], "name": {}, "personal_email": ""}, JANE, []),
        ({"work_email": "jane@acme.co", "name": 123}, JANE, ["name"]),
        ({"work_email": "jane@acme.co", "name": 1.5}, JANE, ["name"]),
        ({"work_email": "jane@acme.co", "company": True}, JANE, ["company"]),
        ({"work_email": "jane@acme.co", "company": {"name": "Acme"}}, JANE, ["company"]),
        ({"work_email": "jane@acme.co", "region": ["Nowhere", "US"]}, Contact(work_email="jane@acme.co", region="US"),
         ["region[0]"]),
    ],
)  # fmt: skip
def test_values_of_other_types(body: Any, contact: Contact, named: list[str]) -> None:
    """A list gives its first usable value; null, false, zero and empty are not given (Odoo); the rest is named."""
    one = read_one(body)

    assert one.contact == contact
    assert paths(one) == named


@pytest.mark.parametrize(
    ("id", "text"),
    [("20002", "20002"), (20002, "20002"), (20002.0, "20002"), ("20002.0", "20002"), (0, "0"), (" e-1 ", "e-1"),
     ("x", "x"),     ("na", "na"), ("1.5", "1.5"), (9007199254740993, "9007199254740993"), (10**60, str(10**60)),
     (["", "e"], "e"),
     ("undefined", None), ("null", None), ("None", None), ("NaN", None), ("{{event.id}}", None), ("${id}", None),
     ("%ID%", None), ("[Event ID]", None), ("[object Object]", None), ("", None), (" ", None), ("-", None),
     (None, None),
     (False, None), ({}, None), ([], None)],
)  # fmt: skip
@pytest.mark.parametrize("field", ["event_id", "record_id"])
def test_an_id_is_text_or_a_whole_number(field: str, id: Any, text: str | None) -> None:
    """Numbers are their digits, words for nothing and unfilled templates are not given. PostHog/posthog-js#34."""
    one = read_one({"work_email": "jane@acme.co", field: id})

    assert getattr(one, field) == text
    assert one.problems == ()


@pytest.mark.parametrize("id", [1.5, True, {"id": 1}, "a\0b", "e\ud800", "x" * 256, 10**300])
@pytest.mark.parametrize("field", ["event_id", "record_id"])
def test_what_is_no_id_is_named(field: str, id: Any) -> None:
    """An id that cannot be stored or is none is named; the contact is used without it."""
    one = read_one({"work_email": "jane@acme.co", field: id})

    assert (one.contact, getattr(one, field)) == (JANE, None)
    assert paths(one) == [field]


def test_a_long_number_keeps_its_digits() -> None:
    """An id that outgrew floating point is not rounded: 9007199254740993.0 is not ...992."""
    assert read_one(b'{"work_email": "jane@acme.co", "record_id": 9007199254740993.0}').record_id == "9007199254740993"


def test_contacts_take_from_their_event_what_they_lack() -> None:
    """Id, providers and region stand once for all; a contact's own come first, words for nothing do not count."""
    body = {
        "eventId": "e", "providers": ["nyne"], "country": "Germany",
        "contacts": [
            {"email": "a@x.test", "event_id": "undefined", "region": "n/a", "providers": None},
            {"email": "b@x.test", "event_id": "mine", "region": "FR", "providers": ["leadmagic"]},
        ],
    }  # fmt: skip

    one, two = read(body)

    assert (one.event_id, one.contact and one.contact.region, one.providers) == ("e", "DE", ("nyne",))
    assert (two.event_id, two.contact and two.contact.region, two.providers) == ("mine", "FR", ("leadmagic",))
    assert (one.path, two.path) == ("contacts[0]", "contacts[1]")


def test_fields_beside_contacts_are_named() -> None:
    """{contacts: [A], profile_url: B}: B belongs to no contact, and is named instead of dropped."""
    body = {
        "contacts": [{"email": "a@x.test"}],
        "profile_url": "in/bob",
        "record_id": 7,
        "owner": "rep@ours.test",
        "n": 1,
    }

    (one,) = read(body)

    assert one.contact == Contact(work_email="a@x.test")
    assert sorted(paths(one)) == ["owner", "profile_url", "record_id"]


@pytest.mark.parametrize(
    ("given", "named", "able"),
    [
        (None, (), ("leadmagic", "nyne")),
        ("", (), ("leadmagic", "nyne")),
        (["nyne"], ("nyne",), ("nyne",)),
        ([" Nyne ", "LeadMagic", "nyne"], ("nyne", "leadmagic"), ("nyne", "leadmagic")),
        ("nyne, leadmagic", ("nyne", "leadmagic"), ("nyne", "leadmagic")),
    ],
)
def test_providers_are_named_in_their_order(given: Any, named: tuple[str, ...], able: tuple[str, ...]) -> None:
    """Each is asked once, in the order named; without names, all of them."""
    one = read_one({"work_email": "jane@acme.co", "providers": given})

    assert (one.named, one.providers) == (named, able)


@pytest.mark.parametrize(
    "given", [["apollo"], ["nyne", "apollo"], "apollo", [], [None], [["nyne"]], {"nyne": 1}, 7, True]
)
def test_an_unknown_provider_refuses_the_contact(given: Any) -> None:
    """The question would go to others than were named, and cost money there."""
    one = read_one({"work_email": "jane@acme.co", "providers": given})

    assert (one.contact, one.providers) == (None, ())
    assert len(one.problems) == 1
    assert one.problems[0][0].startswith("providers")


def test_only_providers_that_can_use_the_contact_are_asked() -> None:
    """LeadMagic takes no names: where it is the only one named, a name is not enough."""
    assert read_one({"name": "Jane Doe"}).providers == ("nyne",)

    refused = read_one({"name": "Jane Doe", "providers": ["leadmagic"]})
    assert (refused.contact, paths(refused)) == (None, [""])


@pytest.mark.parametrize("count", [0, 101])
def test_a_hundred_contacts_are_the_most(count: int) -> None:
    """No contact, or more than a hundred, are no event, as a list and under contacts."""
    contacts = [{"email": f"p{n}@acme.co"} for n in range(count)]

    for body, path in ((contacts, ""), ({"contacts": contacts}, "contacts")):
        with pytest.raises(NotAnEvent) as refused:
            read(body)
        assert refused.value.path == path


@pytest.mark.parametrize("name", ["jane@acme.co", "https://www.linkedin.com/in/jane", "x" * 200 + " mail", "a\nb mail"])
def test_names_of_fields_are_not_repeated_if_they_may_be_personal(name: str) -> None:
    """A field named by an address is a value in the wrong place: its place is named instead."""
    one = read_one({"work_email": "joe@acme.co", name: "bob@acme.co"})

    assert paths(one) == ["[1]"]
