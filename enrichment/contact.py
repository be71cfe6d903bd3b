"""Read one person as a CRM knows them, each identifier in its one form, before anything is spent.

    profile_url     linkedin.com/in/<slug>     from any way of writing a LinkedIn profile
    work_email      name@company.tld           lower case, domain in its ASCII form; personal_email alike
    name, company   as written                 whitespace collapsed; a text without a letter or digit is none
    region          US                         ISO 3166 alpha-2, the hint for numbers without a country code

Reading is idempotent: reading a result again changes nothing. Messages say what would be usable and never repeat the
value, because they end up in logs and in answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

from enrichment.emails import read_emails
from enrichment.linkedin import PREFIX, member_id, read_profiles
from enrichment.names import is_whole_name, join_names, read_company, read_name
from enrichment.nothing import is_nothing
from enrichment.regions import has_flag, read_region
from enrichment.texts import Unusable, tidy

Problem: TypeAlias = tuple[str, str]  # (path of the field, what would be usable)
Texts: TypeAlias = Mapping[str, Sequence[tuple[str, str]]]  # field -> (path, text as written), best first

NOTHING = "nothing to look up by; give a LinkedIn profile_url, a work_email, a personal_email, or at least a name"
_FIRST_NAME = "a first name is not enough: give the whole name, or a profile_url or an e-mail"
_ANOTHER_PROFILE = "another profile than the one that is used"
_ANOTHER_EMAIL = "more e-mail addresses than the two that can be used"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Contact:
    """One person as a lookup knows them, each identifier in its one form."""

    profile_url: str | None = None
    work_email: str | None = None
    personal_email: str | None = None
    name: str | None = None
    company: str | None = None
    region: str | None = None

    @property
    def slug(self) -> str | None:
        """Return the public slug of the profile; None if the profile is a member id."""
        return None if self.profile_url is None or self.member else self.profile_url.removeprefix(PREFIX)

    @property
    def member(self) -> str | None:
        """Return the member id (AC..AA..., case kept) if it stands for the slug."""
        return member_id(self.profile_url.removeprefix(PREFIX)) if self.profile_url else None

    def __repr__(self) -> str:
        """Show only which fields are present: the values are personal data."""
        return f"Contact({', '.join(f.name for f in fields(self) if getattr(self, f.name) is not None)})"


_NAMES = tuple(field.name for field in fields(Contact))
_WRITTEN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def fingerprint(contact: Contact, providers: Sequence[str] = ()) -> str:
    """Return one text for equal wishes, however they are written: the contact as read, and the providers it names."""
    return _WRITTEN.encode([*(getattr(contact, name) for name in _NAMES), providers])


def read_contact(
    *,
    profile_url: str | None = None,
    work_email: str | None = None,
    personal_email: str | None = None,
    name: str | None = None,
    first_name: str | None = None,
    last_name: str | None = None,
    company: str | None = None,
    region: str | None = None,
) -> tuple[Contact | None, tuple[Problem, ...]]:
    """Return the contact, None if nothing identifies it, and each field that cannot be used."""
    given = {
        "profile_url": profile_url,
        "work_email": work_email,
        "personal_email": personal_email,
        "name": name,
        "first_name": first_name,
        "last_name": last_name,
        "company": company,
        "region": region,
    }
    return read_texts({field: [(field, text)] for field, text in given.items() if text is not None})


def read_texts(given: Texts) -> tuple[Contact | None, tuple[Problem, ...]]:
    """Return the contact in *given*, or None if nothing identifies it, and a problem for each unused text."""
    problems: list[Problem] = []
    profile_url = _read_profile(given, problems)
    work_email, personal_email = _read_both_emails(given, problems)
    complaints = len(problems)
    name, name_path = _read_whole_name(given, problems)
    company = _read_first(given, "company", read_company, problems)
    region = _read_first(given, "region", read_region, problems)
    identified = profile_url or work_email or personal_email
    if not identified and name and not is_whole_name(name):
        problems.insert(complaints, (name_path, _FIRST_NAME))
        return None, tuple(problems)
    if not identified and not name:
        named = {path for field in _IDENTIFYING for path, _ in given.get(field, ())}
        if not any(path in named for path, _ in problems):
            problems.insert(0, ("", NOTHING))
        return None, tuple(problems)
    contact = Contact(
        profile_url=profile_url,
        work_email=work_email,
        personal_email=personal_email,
        name=name,
        company=company,
        region=region,
    )
    return contact, tuple(problems)


_IDENTIFYING = ("profile_url", "work_email", "personal_email", "name", "first_name", "last_name")


def _tidied(given: Texts, field: str, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """Yield (path, tidy text) of *field*, without words for nothing."""
    for path, raw in given.get(field, ()):
        try:
            text = tidy(raw)
        except Unusable as problem:
            problems.append((path, str(problem)))
        else:
            # A flag is a country, though it has no letter.
            if text and (not is_nothing(text) or (field == "region" and has_flag(text))):
                yield path, text


def _read_profile(given: Texts, problems: list[Problem]) -> str | None:
    """Return the first usable profile; add a problem for every other one."""
    profile = None
    for path, text in _tidied(given, "profile_url", problems):
        try:
            profiles = read_profiles(text)
        except Unusable as problem:
            problems.append((path, str(problem)))
            continue
        profile = profile or profiles[0]
        if any(other != profile for other in profiles):
            problems.append((path, _ANOTHER_PROFILE))
    return profile


def _read_both_emails(given: Texts, problems: list[Problem]) -> tuple[str | None, str | None]:
    """Return the work and the personal e-mail; a second address in one field fills the other field if it is empty."""
    firsts: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    for field in ("work_email", "personal_email"):
        for path, text in _tidied(given, field, problems):
            try:
                addresses = read_emails(text)
            except Unusable as problem:
                problems.append((path, str(problem)))
                continue
            first = firsts.setdefault(field, addresses[0])
            others.extend((path, address) for address in addresses if address != first)
    for path, address in others:
        free = next((field for field in ("work_email", "personal_email") if field not in firsts), None)
        if address in firsts.values():
            continue
        if free:
            firsts[free] = address
        elif (path, _ANOTHER_EMAIL) not in problems:
            problems.append((path, _ANOTHER_EMAIL))
    return firsts.get("work_email"), firsts.get("personal_email")


def _read_whole_name(given: Texts, problems: list[Problem]) -> tuple[str | None, str]:
    """Return the name, from the whole name or its parts, and the path of its field."""
    path = next((path for path, _ in given.get("name", ())), "name")
    name = _read_first(given, "name", read_name, problems)
    first, last = _part(given, "first_name", problems), _part(given, "last_name", problems)
    if name and (is_whole_name(name) or not (first or last)):
        return name, path
    joined = join_names(first or (name if last else None), last)
    if not joined or (name and joined == last):
        return name, path
    path = next((path for field in ("first_name", "last_name") for path, _ in given.get(field, ())), path)
    return _read_first({"name": [(path, joined)]}, "name", read_name, problems), path


def _part(given: Texts, field: str, problems: list[Problem]) -> str | None:
    """Return one part of a name, tidied but otherwise as written."""
    for path, raw in given.get(field, ()):
        try:
            if text := tidy(raw):
                return text
        except Unusable as problem:
            problems.append((path, str(problem)))
    return None


def _read_first(given: Texts, field: str, read: Callable[[str], str | None], problems: list[Problem]) -> str | None:
    """Return the first usable text of *field*."""
    for path, text in _tidied(given, field, problems):
        try:
            if value := read(text):
                return value
        except Unusable as problem:
            problems.append((path, str(problem)))
    return None
