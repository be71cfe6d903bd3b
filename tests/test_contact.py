"""One contact out of many fields: what is used, what is named, and the forms that come out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enrichment.contact import Contact, fingerprint, read_contact

PROFILE = "linkedin.com/in/janedoe"
MEMBER_ID = "ACwAA" + "Ab3_-" * 6 + "xYz9"
FIELDS = ["profile_url", "work_email", "personal_email", "name", "company", "region"]

quick = settings(max_examples=200, deadline=None, database=None)
# Text in which the things we look for are likelier than in any text.
pieces = st.sampled_from(
    [
        *("linkedin.com", "www.", "https://", "/in/", "in/", "/pub/", "jane", "%C3%A9", "%2541"),
        *("%00", "%20", "%E2%80%99", "(work)", "null", "Jane Doe", "＠", "ｊ", "’", "–"),
        *("mailto:", "xn--", "none", "undefined", "{{", "}}", "[", "](", ")", "|", ";", ","),
        *("@", "acme.co", ".", "/", "?", "#", "&", "<", ">", '"', "'", " ", "İ", "ß", "Σ", "Å", "é", "。"),
        *("\u200d", "\u200b", "\ufeff", "\u212b", "\0", MEMBER_ID, MEMBER_ID.lower(), "👋🏽", "en-US", "Germany"),
    ]
)  # fmt: skip
texts = st.text(max_size=30) | st.lists(pieces | st.text(max_size=3), max_size=8).map("".join)


def usable(**fields: Any) -> Contact:
    """Read a contact that can be used."""
    contact, _ = read_contact(**fields)
    assert contact is not None
    return contact


def problems_of(**fields: Any) -> dict[str, str]:
    """Return the problems of a contact by their paths."""
    return dict(read_contact(**fields)[1])


def test_names_are_kept_as_written() -> None:
    """Whitespace and invisible characters are tidied, spelling is not."""
    contact = usable(name=" Jané \t\n O'Doe\u200b ", company="Acme\u00a0 &\x07 Söhne")

    assert (contact.name, contact.company) == ("Jané O'Doe", "Acme & Söhne")


def test_an_email_may_be_both() -> None:
    """The same address may be the work and the personal e-mail."""
    contact, problems = read_contact(work_email="jane@acme.co", personal_email="Jane@acme.co")

    assert contact == Contact(work_email="jane@acme.co", personal_email="jane@acme.co")
    assert problems == ()


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("written", ["jane\0doe", "jane\ud800doe", "x" * 2049, "x" * 1024 * 1024])
def test_what_postgresql_cannot_hold_is_named_and_not_fatal(field: str, written: str) -> None:
    """NUL, half a surrogate pair and an endless text are named; the rest of the contact is used."""
    other = "work_email" if field == "personal_email" else "personal_email"
    contact, problems = read_contact(**{other: "jane@acme.co", field: written})

    assert contact == Contact(**{other: "jane@acme.co"})
    assert [path for path, _ in problems] == [field]


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        ({"personal_email": "test@test.com"}, "personal_email"),
        ({"work_email": "jane at acme"}, "work_email"),
        ({"company": "x" * 300}, "company"),
        ({"name": "x" * 300}, "name"),
        ({"region": "Nowhere"}, "region"),
        ({"name": "{{contact.name}}"}, "name"),
    ],
)
def test_a_contact_is_not_refused_for_one_bad_field(bad: dict[str, str], path: str) -> None:
    """What can be used is used, and the field that cannot is named. Budibase/budibase#8818."""
    contact, problems = read_contact(profile_url="https://www.linkedin.com/in/JaneDoe", **bad)

    assert contact == Contact(profile_url=PROFILE)
    assert [at for at, _ in problems] == [path]


@pytest.mark.parametrize("fields", [{}, {"company": "Acme"}, {"region": "US"}, {"name": " ", "work_email": "-"}])
def test_a_contact_without_identifier_is_none(fields: dict[str, str]) -> None:
    """A company or a country identifies no person: the contact is the problem, and says what would do."""
    contact, problems = read_contact(**fields)

    assert contact is None
    assert [path for path, _ in problems] == [""]
    assert all(word in problems[0][1] for word in ("profile_url", "work_email", "personal_email", "name"))


def test_all_problems_are_named_at_once() -> None:
    """A sender learns everything in one answer, in the order of the fields."""
    problems = problems_of(profile_url="linkedin.com/company/acme", work_email="jane", region="Nix", company="a" * 256)

    assert list(problems) == ["profile_url", "work_email", "company", "region"]


@pytest.mark.parametrize(
    ("fields", "work", "personal", "named"),
    [
        ({"work_email": "a@x.test; b@y.test"}, "a@x.test", "b@y.test", []),
        ({"personal_email": "a@x.test, b@y.test"}, "b@y.test", "a@x.test", []),
        ({"work_email": "a@x.test b@y.test", "personal_email": "c@z.test"}, "a@x.test", "c@z.test", ["work_email"]),
        ({"work_email": "a@x.test, b@y.test, c@z.test"}, "a@x.test", "b@y.test", ["work_email"]),
        ({"work_email": "a@x.test;b@y.test", "personal_email": "b@y.test"}, "a@x.test", "b@y.test", []),
        ({"work_email": "test@test.com; b@y.test"}, "b@y.test", None, []),
    ],
)
def test_a_second_address_takes_the_free_place(
    fields: dict[str, str], work: str | None, personal: str | None, named: list[str]
) -> None:
    """Of several addresses in one text the first is used, the second is if its place is free; else it is named.

    marktext/marktext#4051, mysociety/alaveteli#7652.
    """
    contact, problems = read_contact(**fields)

    assert contact == Contact(work_email=work, personal_email=personal)
    assert [path for path, _ in problems] == named


def test_a_second_profile_is_named() -> None:
    """Two profiles in one text are two people: the first is used and the other named."""
    contact, problems = read_contact(profile_url="linkedin.com/in/ann-lee; https://www.linkedin.com/in/bob-ray")

    assert contact == Contact(profile_url="linkedin.com/in/ann-lee")
    assert [path for path, _ in problems] == ["profile_url"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"first_name": "Jane", "last_name": "Doe"}, "Jane Doe"),
        ({"name": "Jane Mary Doe", "first_name": "Jane", "last_name": "Doe"}, "Jane Mary Doe"),
        ({"name": "Jane", "last_name": "Doe"}, "Jane Doe"),
        ({"name": "Doe", "first_name": "Jane", "last_name": "Doe"}, "Jane Doe"),
        ({"name": "", "first_name": "Jane", "last_name": "Doe"}, "Jane Doe"),
        ({"first_name": "Jane", "last_name": "null"}, "Jane"),
        ({"first_name": "nan", "last_name": "Doe"}, "Doe"),
        ({"first_name": "Nan", "last_name": "Goldin"}, "Nan Goldin"),
        ({"first_name": "Malcolm", "last_name": "X"}, "Malcolm X"),
        ({"first_name": "null", "last_name": "undefined"}, None),
        ({"last_name": "Doe"}, "Doe"),
        ({"first_name": "Jane", "last_name": "No Last Name"}, "Jane"),
        ({"first_name": "Jane", "last_name": "Not Provided"}, "Jane"),
    ],
)
def test_a_name_may_come_in_parts(fields: dict[str, str], name: str | None) -> None:
    """A whole name comes before its parts; a part that is a word for nothing is left out, a short name is not."""
    assert usable(work_email="jane@acme.co", **fields).name == name


@pytest.mark.parametrize("fields", [{"profile_url": "acme.test/in/secretjane"}, {"work_email": "secretjane@x"}])
def test_messages_never_repeat_the_value(fields: dict[str, str]) -> None:
    """Problems are logged and shown, and the values are personal data."""
    assert "secretjane" not in repr(read_contact(**fields))


def test_a_contact_shows_only_which_fields_it_has() -> None:
    """repr is what ends up in logs."""
    contact = usable(work_email="jane@acme.co", name="Jane Doe", region="US")

    assert repr(contact) == "Contact(work_email, name, region)"


def test_a_profile_is_a_slug_or_a_member_id() -> None:
    """A member's id is no public slug, and keeps its case."""
    slug, member = usable(profile_url=PROFILE), usable(profile_url=f"https://www.linkedin.com/in/{MEMBER_ID}")

    assert (slug.slug, slug.member) == ("janedoe", None)
    assert (member.slug, member.member) == (None, MEMBER_ID)
    assert (Contact(name="Jane Doe").slug, Contact(name="Jane Doe").member) == (None, None)


def test_a_fingerprint_is_the_same_however_the_wish_was_written() -> None:
    """Spelling makes no other wish; another field, a value in another field or other providers do."""
    one = usable(profile_url="https://www.linkedin.com/in/JaneDoe/", work_email="Jane@Acme.co", region="usa")
    same = usable(profile_url="janedoe", work_email="<jane@acme.co>", region="en-US")
    moved = usable(profile_url="janedoe", personal_email="jane@acme.co", region="US")

    assert fingerprint(one) == fingerprint(same)
    assert len({fingerprint(one), fingerprint(moved), fingerprint(one, ["nyne"]), fingerprint(one, ["a", "b"])}) == 4
    assert fingerprint(one, ["a", "b"]) != fingerprint(one, ["b", "a"])


@quick
@given(field=st.sampled_from(FIELDS), text=texts)
def test_reading_is_idempotent_and_never_raises(field: str, text: str) -> None:
    """Any text is named, ignored, or read to a form that reads to itself without a problem."""
    contact, _ = read_contact(**({"name": "Jane Doe"} | {field: text}))
    if contact is None:
        return

    assert read_contact(**{name: getattr(contact, name) for name in FIELDS}) == (contact, ())


@quick
@given(first=texts, last=texts)
@example(first="", last=": \u200cA")
def test_names_in_parts_read_to_a_name_that_reads_to_itself(first: str, last: str) -> None:
    """However the parts are written, the name that comes out goes in again unchanged."""
    contact = usable(work_email="jane@acme.co", first_name=first, last_name=last)

    assert read_contact(work_email="jane@acme.co", name=contact.name) == (contact, ())


@quick
@given(text=texts, other=texts)
def test_equal_profiles_read_to_equal_texts(text: str, other: str) -> None:
    """Two ways to write one profile never make two people."""
    one, _ = read_contact(profile_url=f"linkedin.com/in/{text}")
    again, _ = read_contact(profile_url=f"https://www.linkedin.com/in/{text}/{other}")

    if one and again:
        assert one == again


def steps(work: Callable[[], object]) -> int:
    """Count the calls that *work* takes, of Python and of C functions."""
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "piece",
    ["a", "@", "a@", "a@b.", "/in/", "linkedin.com/", "linkedin.com/in/a/", "%20", "%25", "{", "[", "<", "(", "a,",
     "e\u0301"],
)  # fmt: skip
def test_twice_the_text_takes_about_twice_the_steps(field: str, piece: str) -> None:
    """No text of the longest length makes a reader look at everything again for each part of it."""
    short, long = (piece * (length // len(piece)) for length in (1000, 2000))

    assert steps(lambda: read_contact(**{field: long})) <= 2.5 * steps(lambda: read_contact(**{field: short})) + 200


@pytest.mark.parametrize("field", FIELDS)
def test_a_mebibyte_is_refused_before_it_is_read(field: str) -> None:
    """The length is looked at first: a mebibyte takes no more steps than a few thousand characters."""
    assert steps(lambda: read_contact(**{field: "a@b." * 262_144})) <= 200
