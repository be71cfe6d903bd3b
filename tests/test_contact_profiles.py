"""LinkedIn profiles as people, exports and sales tools write them."""

from __future__ import annotations

import pytest

from enrichment.contact import read_contact
from tests.test_contact import MEMBER_ID, PROFILE, problems_of, usable


@pytest.mark.parametrize(
    "written",
    [
        "linkedin.com/in/janedoe",
        "https://www.linkedin.com/in/janedoe/",
        "http://uk.linkedin.com/in/janedoe?trk=public_profile&x=https://a.b/c",
        "HTTPS://WWW.LinkedIn.COM/IN/JaneDoe",
        "https://m.linkedin.com/in/janedoe#experience",
        "https://www.linkedin.com/mwlite/in/janedoe",
        "https://www.linkedin.com/mwlite/profile/in/janedoe",
        "https://www.linkedin.com/comm/in/janedoe?midToken=x",
        "https://www.linkedin.com/in/janedoe/details/experience/",
        "https://www.linkedin.com/in/janedoe/overlay/contact-info/",
        "linkedin.com/in/janedoe/en",
        "https://www.linkedin.com:443/in/janedoe",
        "https:/www.linkedin.com//in//janedoe",
        "//www.linkedin.com/in/janedoe",
        "https//www.linkedin.com/in/janedoe",
        "https://www.linkedin.com/in/jane%64oe",
        "https://www.linkedin.com/in/jane%2564oe",
        "/in/janedoe",
        "in/JaneDoe/",
        "@janedoe",
        "janedoe",
        "  <https://www.linkedin.com/in/janedoe>,\n",
        '"linkedin.com/in/janedoe".',
        "“https://www.linkedin.com/in/janedoe”",
        "\ufefflinkedin.com/in/janedoe\u200b",
    ],
)
def test_a_profile_has_one_form(written: str) -> None:
    """Scheme, subdomain, letter case, tracking, further path and wrapping make no difference."""
    assert usable(profile_url=written).profile_url == PROFILE


@pytest.mark.parametrize(
    "written",
    [
        "https://www.linkedin.com/in/https://www.linkedin.com/in/janedoe",
        "https://www.linkedin.com/in/www.linkedin.com/in/janedoe",
        "https://www.linkedin.com/in/linkedin.com/in/janedoe/",
        "http://https://www.linkedin.com/in/janedoe",
        "https://www.linkedin.com/https://de.linkedin.com/in/janedoe?x=y",
        "https://www.linkedin.com/authwall?trk=x&sessionRedirect=https%3A%2F%2Fwww.linkedin.com%2Fin%2Fjanedoe%2F",
        "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fwww.linkedin.com%2Fin%2Fjanedoe&data=x",
        "https://www.google.com/url?q=https://www.linkedin.com/in/janedoe&sa=D",
        "https%3A%2F%2Fwww.linkedin.com%2Fin%2Fjanedoe",
        r"https:\/\/www.linkedin.com\/in\/janedoe",
        "[Jane Doe](https://www.linkedin.com/in/janedoe/)",
        "[https://www.linkedin.com/in/janedoe](https://www.linkedin.com/in/janedoe)",
        "<https://www.linkedin.com/in/janedoe|LinkedIn>",
        "<https://www.linkedin.com/in/janedoe|Jane Doe | LinkedIn>",
        '<a href="https://www.linkedin.com/in/janedoe">Jane</a>',
        "LinkedIn: https://www.linkedin.com/in/janedoe",
        "https://www.linkedin.com/in/janedoe - Jane Doe",
        "https://www.linkedin.com/in/janedoe (Jane)",
        "https://www.linkedin.com/in/janedoe https://www.linkedin.com/in/JaneDoe/",
        "https://www.linkedin.com/in/janedoe%20",
        "https://www.linkedin.com/in/janedoe%0A",
        "https://www.linkedin.com/in/janedoe%0D%0A",
        "https://www.linkedin.com/in/janedoe%09",
        "https://www.linkedin.com/in/janedoe%E2%80%8B",
        "https://www.linkedin.com/in/janedoe%EF%BB%BF",
        "https://www.linkedin.com/in/janedoe%C2%A0",
        "https://www.linkedin.com/in/%20janedoe",
        "https://www.linkedin.com/in/janedoe&trk=people-guest",
        "https://www.linkedin.com/in/janedoe&amp;trk=x",
        "https://www.linkedin.com/in/janedoe%3Ftrk%3Dx",
        "https://www.linkedin.com/in/janedoe;trk=people-guest",
        "https://www.linkedin.com/in/janedoe%22",
        "https://www.linkedin.com/in/janedoe%27",
        "https://www.linkedin.com/in/janedoe%3E",
        "https://www.linkedin.com/in/janedoe%29",
        "https://www.linkedin.com/in/janedoe%2C",
        "https://www.linkedin.com/in/janedoe%5C",
        "https://www.linkedin.com/in/in/janedoe",
        "**https://www.linkedin.com/in/janedoe**",
        "_https://www.linkedin.com/in/janedoe_",
        "~~https://www.linkedin.com/in/janedoe~~",
        "https://www.linkedin.com/authwall?sessionRedirect=https%3A%2F%2Fwww%2Elinkedin%2Ecom%2Fin%2Fjanedoe",
        "https://x.test/r?url=https%253A%252F%252Fwww%252Elinkedin%252Ecom%252Fin%252Fjanedoe",
        "https://www．linkedin．com/in/janedoe",
        "ｈｔｔｐｓ：／／ｗｗｗ．ｌｉｎｋｅｄｉｎ．ｃｏｍ／ｉｎ／ｊａｎｅｄｏｅ",
        "https://www.linkedin.com/in/ｊａｎｅｄｏｅ",
        "https://www.linkedin.com/in/%EF%BD%8Aanedoe",
        "ｊａｎｅｄｏｅ",
        "https://www.linkedin.com/in/@janedoe",
        "https://www.linkedin.com/in/%40janedoe",
        "https://www.linkedin.com/in/janedoe%3F",
        "https://www.linkedin.com/in/janedoe%26trk%3Dx",
        "https://www.linkedin.com/in/janedoe&quot;",
    ],
)
def test_a_profile_is_found_inside_what_was_copied(written: str) -> None:
    """Nested, redirected, encoded and marked-up URLs hold the same profile.

    SFDC normaliser "double_url"; TechJar05/z_recruiter_bot; kobestarr/ad-creator; npm linkedin-canonical-url.
    """
    contact, problems = read_contact(profile_url=written)

    assert contact is not None
    assert contact.profile_url == PROFILE
    assert problems == ()


@pytest.mark.parametrize(
    ("written", "slug"),
    [
        ("linkedin.com/in/jane-doe-1a2b3c", "jane-doe-1a2b3c"),
        ("linkedin.com/in/jan%C3%A9-d%C3%B3e", "jané-dóe"),
        ("linkedin.com/in/JANÉ", "jané"),
        ("linkedin.com/in/jane\u0301", "jané"),
        ("linkedin.com/in/%E5%B1%B1%E7%94%B0", "山田"),
        ("linkedin.com/in/jane-doe-%F0%9F%9A%80", "jane-doe-🚀"),
        ("linkedin.com/in/jane-%F0%9F%91%8B%F0%9F%8F%BD", "jane-👋🏽"),
        ("linkedin.com/in/jane-👩‍💻", "jane-👩‍💻"),
        ("linkedin.com/in/jane-%E2%9D%A4%EF%B8%8F", "jane-❤️"),
        ("linkedin.com/in/jane-%E2%80%93-doe", "jane-–-doe"),
        ("linkedin.com/in/jane%E2%80%94doe", "jane—doe"),
        ("linkedin.com/in/o%E2%80%99doe", "o’doe"),
        ("linkedin.com/in/jane-%E2%80%9Cjd%E2%80%9D-doe", "jane-“jd”-doe"),
        ("linkedin.com/in/jane-%E2%88%9E", "jane-∞"),
        ("linkedin.com/in/jane-%E2%84%A2", "jane-™"),
        ("linkedin.com/in/jane%C2%B7doe", "jane·doe"),
        ("linkedin.com/in/jane_doe", "jane_doe"),
        ("linkedin.com/in/-erica-fld", "-erica-fld"),
        ("https://sy.linkedin.com/pub/krzysztof-fld/a7/576/b50?trk=x", "krzysztof-fld-b50576a7"),
        ("https://uk.linkedin.com/pub/abdi-fld/100/384/6b0", "abdi-fld-6b0384100"),
        ("linkedin.com/pub/jane-doe/5/4b/a", "jane-doe-00a04b5"),
        ("linkedin.com/pub/Jane-Doe/1A/2/3B/", "jane-doe-03b0021a"),
        ("linkedin.com/pub/jan%C3%A9-doe/11/22/33/de", "jané-doe-03302211"),
        ("pub/jane-doe/11/222/333", "jane-doe-33322211"),
    ],
)
def test_a_slug_is_decoded_and_folded(written: str, slug: str) -> None:
    """Any script, emoji, dash and typographic quote is kept, decoded and in lower case; /pub/ becomes /in/.

    npm linkedin-canonical-url; customeros/customeros#11284; zerocracy/far.
    """
    contact = usable(profile_url=written)

    assert (contact.profile_url, contact.slug) == (f"linkedin.com/in/{slug}", slug)


@pytest.mark.parametrize(
    "written",
    [
        f"https://www.linkedin.com/in/{MEMBER_ID}",
        f"https://www.linkedin.com/in/{MEMBER_ID}/?trk=x",
        f"https://www.linkedin.com/sales/lead/{MEMBER_ID},NAME_SEARCH,n7cD",
        f"https://www.linkedin.com/sales/lead/{MEMBER_ID}%2CNAME_SEARCH%2Cn7cD",
        f"https://www.linkedin.com/sales/people/{MEMBER_ID},name,x?_ntb=y",
        f"https://www.linkedin.com/sales/people/{MEMBER_ID}",
        f"https://www.linkedin.com/talent/profile/{MEMBER_ID}?project=1",
        f"urn:li:fsd_profile:{MEMBER_ID}",
        f"urn:li:fs_salesProfile:({MEMBER_ID},NAME_SEARCH,n7cD)",
        MEMBER_ID,
        f"linkedin.com/in/%22{MEMBER_ID}%22",
        f"linkedin.com/in/@{MEMBER_ID}%3Ftrk%3Dx",
    ],
)
def test_a_member_id_stands_for_a_slug(written: str) -> None:
    """Sales Navigator's and other exports carry a member's id, whose case is kept. jackwener/OpenCLI#1640."""
    contact = usable(profile_url=written)

    assert (contact.profile_url, contact.member) == (f"linkedin.com/in/{MEMBER_ID}", MEMBER_ID)


@pytest.mark.parametrize(
    "written",
    [
        f"linkedin.com/in/{MEMBER_ID.lower()}",
        f"linkedin.com/in/{MEMBER_ID.upper()}",
        f"https://www.linkedin.com/sales/lead/{MEMBER_ID.lower()},NAME_SEARCH,n7cD",
        MEMBER_ID.lower(),
    ],
)
def test_a_member_id_that_lost_its_case_is_refused(written: str) -> None:
    """A member's id is base64: in lower case it no longer names one person."""
    assert "leads to no profile" in problems_of(profile_url=written)["profile_url"]


def test_a_member_id_that_was_cut_off_is_refused() -> None:
    """A part of an id, as a short CRM field leaves it, is no slug."""
    assert "not whole" in problems_of(profile_url=f"linkedin.com/in/{MEMBER_ID[:30]}")["profile_url"]


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
        ("https://www.linkedin.com/pub/jane-doe", "old form"),
        ("https://www.linkedin.com/pub/dir/Jane/Doe", "old form"),
        ("https://www.linkedin.com/pub/jane-doe/1/2", "old form"),
        ("https://www.linkedin.com/pub/jane-doe/1/2/xyz", "old form"),
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
        ("https://www.linkedin.com/comm/in/jane doe", "letters, digits and hyphens"),
        ("linkedin.com/in/jane,doe", "letters, digits and hyphens"),
        ("linkedin.com/in/jane(doe)", "letters, digits and hyphens"),
        ("linkedin.com/in/jane.doe", "letters, digits and hyphens"),
        ("linkedin.com/in/jane%00doe", "letters, digits and hyphens"),
        ("linkedin.com/in/jane%20doe", "letters, digits and hyphens"),
        ("linkedin.com/in/jane%2Fdoe", "letters, digits and hyphens"),
        ("linkedin.com/in/---", "letters, digits and hyphens"),
        ("linkedin.com/in/jane%FF", "UTF-8"),
        ("linkedin.com/in/jane-doe（Jane）", "letters, digits and hyphens"),
        ("linkedin.com/in/jane-doe【Jane】", "letters, digits and hyphens"),
        ("linkedin.com/in/jane%23doe", "not certain"),
        ("linkedin.com/in/jane%2523doe", "not certain"),
        ("linkedin.com/in/jane%3Fdoe", "not certain"),
        ("linkedin.com/in/jane-%26-john", "not certain"),
        ("linkedin.com/in/jane&john", "not certain"),
        ("linkedin.com/in/jane&amp;john", "not certain"),
        ("jane&john", "not certain"),
        ("https://www.linkedin.com/in/jane...", "cut off"),
        ("https://www.linkedin.com/in/jane-d…", "cut off"),
        ("jane-d..", "cut off"),
        ("https://www.linkedin.com/in/jane-d…)", "cut off"),
        ("linkedin.com/in/" + "a-b" * 34, "100"),
        ("Jane Doe", "letters, digits and hyphens"),
        ("jane@acme.co", "another site"),
        ("https://www.facebook.com/janedoe", "another site"),
        ("x" * 3000, "2048"),
    ],
)
def test_what_is_no_profile_is_named_as_what_it_is(written: str, says: str) -> None:
    """Pages of companies, posts, recruiting tools and other sites, and half of a name, are named before spending."""
    contact, problems = read_contact(profile_url=written)

    assert contact is None
    assert [path for path, _ in problems] == ["profile_url"]
    assert says in problems[0][1]


@pytest.mark.parametrize(
    "slug",
    ["undefined", "null", "NULL", "None", "nan", "n-a", "N%2FA", "na", "unknown", "not-available", "no-linkedin", "me",
     "example", "test", "your-name", "username", "firstname-lastname", "unavailable", "xxx", "0", "tbd", "keine",
     "n/a", "N/D/", "null-null", "undefined_undefined", "your_name", "first_last", "test-user", "dummy-profile",
     "linkedin-member", "page-not-found", "search", "yes", "y", "x", "n", "ok", "url", "link", "here", "view",
     "click-here", "found", "connected", "private", "hidden", "confidential", "restricted", "locked", "available",
     "see-notes", "see-notes-below", "not-sure", "later", "skip", "done", "home", "jobs", "about", "na-na", "null-1",
     "undefined-1", "profile-id", "id", "insert-url", "null-1234567", "check-linkedin",
     "oui", "siehe-notizen"],
)  # fmt: skip
@pytest.mark.parametrize("before", ["https://www.linkedin.com/in/", ""])
def test_a_placeholder_slug_is_no_profile(slug: str, before: str) -> None:
    """A word for nothing behind /in/ looks like a value, so it is named; two people must not share it.

    PostHog/posthog#5527; sentinl/sentinl#53.
    """
    contact, problems = read_contact(profile_url=f"https://www.linkedin.com/in/{slug}", work_email="jane@acme.co")

    assert contact is not None
    assert contact.profile_url is None
    assert [path for path, _ in problems] == ["profile_url"]


@pytest.mark.parametrize("slug", ["grace-link", "will-page", "sue-see-12345678", "yes-man", "jobs-steve", "ian-home",
                                  "view-askew-2b", "home-1234567", "person-1", "user-17", "test-7", "jd", "na-li",
                                  "yves", "here-doe"])  # fmt: skip
def test_a_name_that_resembles_a_placeholder_is_a_profile(slug: str) -> None:
    """One word of a form beside a name, or behind it what LinkedIn adds to a name, is a person's page."""
    assert usable(profile_url=f"linkedin.com/in/{slug}").slug == slug
