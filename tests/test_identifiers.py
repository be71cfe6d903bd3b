"""Identifiers as people write them, and the one form each of them has."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from enrichment.contact import Contact, NotUsable, read_contact

PROFILE = "linkedin.com/in/janedoe"
MEMBER_ID = "ACwAA" + "Ab3_-" * 6 + "xYz9"
FIELDS = ["profile_url", "work_email", "personal_email", "name", "company", "region"]

quick = settings(max_examples=150, deadline=None, database=None)
# Text in which the things we look for are likelier than in any text.
pieces = st.sampled_from(
    [
        *(
            "linkedin.com",
            "www.",
            "https://",
            "/in/",
            "in/",
            "jane",
            "%C3%A9",
            "%2541",
            "%00",
            "mailto:",
            "xn--",
            "none",
        ),
        *("@", "acme.co", ".", "/", "?", "#", "<", ">", '"', " ", "İ", "ß", "Σ", "Å", "é", "。"),
        *("\u200d", "\u200b", "\ufeff", "\u212b", "\0"),
    ]
)
texts = st.text(max_size=30) | st.lists(pieces | st.text(max_size=3), max_size=8).map("".join)


def problems_of(**fields: Any) -> dict[str, str]:
    """The problems of a contact that cannot be used."""
    with pytest.raises(NotUsable) as refused:
        read_contact(**fields)
    return dict(refused.value.problems)


@pytest.mark.parametrize(
    "written",
    [
        "linkedin.com/in/janedoe",
        "https://www.linkedin.com/in/janedoe/",
        "http://uk.linkedin.com/in/janedoe?trk=public_profile&x=https://a.b/c",
        "HTTPS://WWW.LinkedIn.COM/IN/JaneDoe",
        "https://m.linkedin.com/in/janedoe#experience",
        "https://www.linkedin.com/mwlite/in/janedoe",
        "https://www.linkedin.com/comm/in/janedoe?midToken=x",
        "https://www.linkedin.com/in/janedoe/details/experience/",
        "linkedin.com/in/janedoe/en",
        "https://www.linkedin.com:443/in/janedoe",
        "https:/www.linkedin.com//in//janedoe",
        "//www.linkedin.com/in/janedoe",
        "https://www.linkedin.com/in/jane%64oe",
        "https://www.linkedin.com/in/jane%2564oe",
        "/in/janedoe",
        "in/JaneDoe/",
        "@janedoe",
        "janedoe",
        "  <https://www.linkedin.com/in/janedoe>,\n",
        '"linkedin.com/in/janedoe".',
        "\ufefflinkedin.com/in/janedoe\u200b",
    ],
)
def test_a_profile_has_one_form(written: str) -> None:
    """Scheme, subdomain, letter case, tracking, further path and wrapping make no difference."""
    assert read_contact(profile_url=written).profile_url == PROFILE


@pytest.mark.parametrize(
    ("written", "slug"),
    [
        ("linkedin.com/in/jane-doe-1a2b3c", "jane-doe-1a2b3c"),
        ("linkedin.com/in/jan%C3%A9-d%C3%B3e", "jané-dóe"),
        ("linkedin.com/in/JANÉ", "jané"),
        ("linkedin.com/in/jane\u0301", "jané"),
        ("linkedin.com/in/%E5%B1%B1%E7%94%B0", "山田"),
        ("linkedin.com/in/jane-doe-%F0%9F%9A%80", "jane-doe-🚀"),
        ("linkedin.com/in/jane_doe", "jane_doe"),
        (f"https://www.linkedin.com/in/{MEMBER_ID}", MEMBER_ID),
    ],
)
def test_a_slug_is_decoded_and_folded(written: str, slug: str) -> None:
    """Any script is kept, decoded and in lower case; only a member's id, which is base64, keeps its case."""
    assert read_contact(profile_url=written).profile_url == f"linkedin.com/in/{slug}"


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("https://www.linkedin.com/company/acme", "company"),
        ("linkedin.com/school/acme-university", "school"),
        ("linkedin.com/showcase/acme-labs", "showcase"),
        ("linkedin.com/groups/123", "group"),
        ("linkedin.com/posts/janedoe_activity-1", "post"),
        ("linkedin.com/feed/update/urn:li:activity:1", "feed"),
        ("https://www.linkedin.com/sales/lead/ACwAAA,NAME_SEARCH", "Sales Navigator"),
        ("https://www.linkedin.com/sales/people/ACwAAA", "copy the public profile URL"),
        ("https://www.linkedin.com/talent/profile/AEMAAA", "Recruiter"),
        ("https://www.linkedin.com/pub/jane-doe/1/2/3", "old form"),
        ("company/acme", "company"),
        ("https://www.linkedin.com/jobs/view/1", "not a person's page"),
        ("https://acme.test/in/janedoe", "another site"),
        ("notlinkedin.com/in/janedoe", "another site"),
        ("linkedin.com.acme.test/in/janedoe", "another site"),
        ("https://linkedin.com@acme.test/in/janedoe", "another site"),
        ("https://lnkd.in/abc", "short link"),
        ("linkedin.com", "linkedin.com/in/<name>"),
        ("https://www.linkedin.com/in/", "missing"),
        ("in", "missing"),
        ("linkedin", "not a person's page"),
        ("https://", "linkedin.com/in/<name>"),
        ("linkedin.com/in/jane doe", "letters, digits and hyphens"),
        ("linkedin.com/in/jane.doe", "letters, digits and hyphens"),
        ("linkedin.com/in/jane%00doe", "letters, digits and hyphens"),
        ("linkedin.com/in/jane%2Fdoe", "letters, digits and hyphens"),
        ("linkedin.com/in/---", "letters, digits and hyphens"),
        ("linkedin.com/in/jane%FF", "UTF-8"),
        ("linkedin.com/in/" + "a" * 101, "100"),
        ("linkedin.com/in/unavailable", "nobody's"),
        ("linkedin.com/in/me", "nobody's"),
        ("Jane Doe", "letters, digits and hyphens"),
        ("jane@acme.co", "another site"),
        ("x" * 3000, "2048"),
    ],
)
def test_what_is_no_profile_is_refused_and_says_why(written: str, says: str) -> None:
    """Pages of companies, posts, recruiting tools and other sites are named as what they are, before spending."""
    problems = problems_of(profile_url=written)

    assert list(problems) == ["profile_url"]
    assert says in problems["profile_url"]


@pytest.mark.parametrize(
    ("written", "email"),
    [
        ("jane@acme.co", "jane@acme.co"),
        ("  Jane.Doe@ACME.co ", "jane.doe@acme.co"),
        ("mailto:jane@acme.co?subject=hi", "jane@acme.co"),
        ("MAILTO:jane@acme.co", "jane@acme.co"),
        ("<jane@acme.co>", "jane@acme.co"),
        ("Jane Doe <jane@acme.co>", "jane@acme.co"),
        ("'jane@acme.co',", "jane@acme.co"),
        ("jane@acme.co.", "jane@acme.co"),
        ("jane\u200b@acme.co", "jane@acme.co"),
        ("o'jane+tag@mail.acme.co", "o'jane+tag@mail.acme.co"),
        ("jane@bücher.test", "jane@xn--bcher-kva.test"),
        ("jane@BÜCHER.test", "jane@xn--bcher-kva.test"),
        ("jane@straße.test", "jane@xn--strae-oqa.test"),
        ("jane@xn--bcher-kva.test", "jane@xn--bcher-kva.test"),
        ("jane@acme。co", "jane@acme.co"),
        ("jane@acme.test", "jane@acme.test"),
    ],
)
def test_an_email_has_one_form(written: str, email: str) -> None:
    """Letter case, wrapping and the spelling of the domain make no difference."""
    assert read_contact(work_email=written).work_email == email
    assert read_contact(personal_email=written).personal_email == email


@pytest.mark.parametrize(
    "written",
    [
        "jane",
        "jane@",
        "@acme.co",
        "jane@acme",
        "jane@@acme.co",
        "jane@acme.co jane@acme.net",
        "jane@acme.co,joe@acme.co",
        "ja ne@acme.co",
        ".jane@acme.co",
        "ja..ne@acme.co",
        "jane@-acme.co",
        "jane@acme-.co",
        "jane@ac_me.co",
        "jane@acme..co",
        "jane@127.0.0.1",
        "jane@[127.0.0.1]",
        "jane@acme.c",
        "jané@acme.co",
        "jane@🚀.test",
        "a" * 65 + "@acme.co",
        "jane@" + ".".join(["a" * 60] * 5) + ".co",
    ],
)
def test_what_is_no_email_is_refused(written: str) -> None:
    """Neither provider can use it, and one of them may charge for trying."""
    assert "name@company.tld" in problems_of(work_email=written)["work_email"]


@pytest.mark.parametrize(
    "written",
    [
        "jane@example.com",
        "jane@Example.org",
        "jane@mail.example.net",
        "test@test.com",
        "jane@acme.invalid",
        "jane@app.localhost",
    ],
)
def test_placeholders_are_refused_before_spending(written: str) -> None:
    """Addresses that stand for nobody are not asked about."""
    assert "placeholder" in problems_of(personal_email=written)["personal_email"]


def test_an_email_may_be_both() -> None:
    """The same address as work and personal e-mail is one key."""
    contact = read_contact(work_email="jane@acme.co", personal_email="Jane@acme.co")

    assert contact.keys() == {"em:jane@acme.co"}


def test_names_are_kept_as_written() -> None:
    """Whitespace and invisible characters are tidied, spelling is not."""
    contact = read_contact(name=" Jané \t\n O'Doe\u200b ", company="Acme\u00a0 &\x07 Söhne")

    assert (contact.name, contact.company) == ("Jané O'Doe", "Acme & Söhne")


@pytest.mark.parametrize("written", ["", "   ", "\u200b", "-", "N/A", "null", "Unknown", "…"])
def test_a_text_that_names_nothing_is_none(written: str) -> None:
    """What a CRM writes for nothing is nothing, and spoils no contact that has something."""
    contact = read_contact(work_email="jane@acme.co", name=written, company=written)

    assert contact == Contact(work_email="jane@acme.co")


@pytest.mark.parametrize("field", ["profile_url", "work_email", "personal_email", "region"])
@pytest.mark.parametrize("written", ["", "   ", "\u200b", "N/A", "null"])
def test_blank_fields_are_none(field: str, written: str) -> None:
    """An empty field of a form is a field not given."""
    assert read_contact(name="Jane Doe", **{field: written}) == Contact(name="Jane Doe")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("written", ["jane\0doe", "jane\ud800doe"])
def test_what_postgresql_cannot_hold_is_refused(field: str, written: str) -> None:
    """NUL and half a surrogate pair are valid JSON and would fail the insert."""
    assert field in problems_of(**{field: written})


@pytest.mark.parametrize("field", ["name", "company"])
def test_an_overlong_name_is_refused(field: str) -> None:
    """255 characters are a name, 256 are not."""
    assert getattr(read_contact(**{"name": "Jane", field: "a" * 255}), field) == "a" * 255
    assert "255" in problems_of(**{"name": "Jane", field: "a" * 256})[field]


@pytest.mark.parametrize(("written", "region"), [("us", "US"), (" De ", "DE"), ("UK", "GB")])
def test_a_region_is_two_capital_letters(written: str, region: str) -> None:
    """ISO 3166, in which the United Kingdom is GB."""
    assert read_contact(name="Jane Doe", region=written).region == region


@pytest.mark.parametrize("written", ["USA", "U", "1A", "ßs", "United States"])
def test_another_region_is_refused(written: str) -> None:
    """A country that is not two letters says what would be."""
    assert "ISO 3166" in problems_of(name="Jane Doe", region=written)["region"]


@pytest.mark.parametrize("fields", [{}, {"company": "Acme"}, {"region": "US"}, {"name": " ", "work_email": ""}])
def test_a_contact_without_identifier_is_refused(fields: dict[str, str]) -> None:
    """A company or a country is nobody: the whole contact is the problem, and says what would do."""
    problems = problems_of(**fields)

    assert list(problems) == [""]
    assert all(word in problems[""] for word in ("profile_url", "work_email", "personal_email", "name"))


def test_all_problems_are_named_at_once() -> None:
    """Whoever sends a contact learns everything in one answer, and of identifiers only what was given."""
    problems = problems_of(profile_url="linkedin.com/company/acme", work_email="jane", region="USA", company="a" * 256)

    assert list(problems) == ["profile_url", "work_email", "company", "region"]


@pytest.mark.parametrize("fields", [{"profile_url": "acme.test/in/secretjane"}, {"work_email": "secretjane@x"}])
def test_messages_never_repeat_the_value(fields: dict[str, str]) -> None:
    """Refusals are logged and shown, and the values are personal data."""
    with pytest.raises(NotUsable) as refused:
        read_contact(**fields)

    assert "secretjane" not in str(refused.value) + repr(refused.value) + repr(refused.value.problems)


def test_a_contact_shows_only_which_fields_it_has() -> None:
    """repr is what ends up in logs."""
    contact = read_contact(work_email="jane@acme.co", name="Jane Doe", region="US")

    assert repr(contact) == "Contact(work_email, name, region)"


@pytest.mark.parametrize(
    ("contact", "keys"),
    [
        (Contact(profile_url=PROFILE), {"in:janedoe"}),
        (Contact(work_email="jane@acme.co", personal_email="j@mail.co"), {"em:jane@acme.co", "em:j@mail.co"}),
        (Contact(profile_url=PROFILE, work_email="jane@acme.co", name="Jane"), {"in:janedoe", "em:jane@acme.co"}),
        (Contact(name="Jane DOE", company="ACME  Straße"), {"nc:jane doe|acme strasse"}),
        (Contact(name="Ｊａｎｅ Doe"), {"nc:jane doe|"}),
        (Contact(company="Acme"), set()),
        (Contact(), set()),
    ],
)
def test_keys_say_who_it_is(contact: Contact, keys: set[str]) -> None:
    """A profile or an e-mail identifies; name and company only where there is neither; nothing identifies nobody."""
    assert contact.keys() == keys


def test_two_people_never_share_a_key_by_punctuation() -> None:
    """The key's separator inside a name does not move the border between name and company."""
    assert Contact(name="a|b", company="c").keys() != Contact(name="a", company="b|c").keys()


@quick
@given(texts, texts)
def test_name_keys_ignore_spelling_of_one_name(name: str, company: str) -> None:
    """Letter case and whitespace make no other person."""
    spelled = Contact(name=f"jane {name.lower()}", company=company.lower())
    shouted = Contact(name=f"  JANE   {name.lower()} ", company=f" {company.lower()}\t")

    assert spelled.keys() == shouted.keys()


@quick
@given(field=st.sampled_from(FIELDS), text=texts)
def test_reading_is_idempotent_and_raises_nothing_else(field: str, text: str) -> None:
    """Any text is refused as NotUsable, or read to a form that reads to itself."""
    contact = Contact()
    with suppress(NotUsable):
        contact = read_contact(**({"name": "Jane Doe"} | {field: text}))
    assume(contact != Contact())

    assert read_contact(**{name: getattr(contact, name) for name in FIELDS}) == contact
    assert contact.keys()


@quick
@given(text=texts, other=texts)
def test_equal_profiles_have_equal_keys(text: str, other: str) -> None:
    """Two ways to write one profile never make two people."""
    with suppress(NotUsable):
        profile = read_contact(profile_url=f"linkedin.com/in/{text}").profile_url
        again = read_contact(profile_url=f"https://www.linkedin.com/in/{text}/{other}")

        assert again.profile_url == profile
