"""Who a lookup is about: identifiers as CRMs hold them, given one form each before anything is spent.

    profile_url     linkedin.com/in/<slug>     from any way of writing a public LinkedIn profile
    work_email      name@company.tld           lower case, domain in its ASCII form; personal_email alike
    name, company   as written                 whitespace collapsed; a text without a letter or digit is none
    region          US                         ISO 3166 alpha-2, the hint for numbers without a country code

Reading is idempotent: what comes out goes in again unchanged. Messages say what would be usable and never
repeat the value, because they end up in logs and in answers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from urllib.parse import unquote

LONGEST_INPUT = 2048  # characters; browsers and vendors stop at about as much
LONGEST_NAME = 255  # characters; the longest company that Nyne's sibling endpoints take
LONGEST_SLUG = 100  # characters; https://www.linkedin.com/help/linkedin/answer/87
LONGEST_EMAIL = 254  # characters; https://www.rfc-editor.org/errata/eid1690

# Joiners mean something inside Persian and Indic words and emoji: only edges lose them. Dust goes everywhere.
_JOINERS = "\u200c\u200d"
_DUST = "\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_CLEAN = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ") | dict.fromkeys(map(ord, _DUST), "")
_OPENING = " \"'`<([{«»“”‘’„" + _JOINERS
_CLOSING = _OPENING + ">)]},;:.!"
_BLANKS = frozenset({"n/a", "none", "null", "undefined", "unknown", "not available"})

_SCHEME = re.compile(r"(?:https?:/*|[a-z][a-z0-9+.-]*://|//+)", re.IGNORECASE)
# Members' ids stand for slugs in Sales Navigator's exports. They are base64: in lower case they are nobody's.
# https://learn.microsoft.com/en-us/linkedin/sales/sync-services/profile-associations
_MEMBER_ID = re.compile(r"AC[A-Za-z]AA[A-Za-z0-9_-]{34}")
_MOBILE_PREFIXES = frozenset({"mwlite", "comm", "m"})
_NOBODY = frozenset({"me", "unavailable"})  # whoever looks, and whoever has left: any number of people

_PROFILE = "a public LinkedIn profile, like linkedin.com/in/<name>"
_PUBLIC = f"copy the public profile URL from the person's page: {_PROFILE}"
_NOT_PROFILES = {
    "company": f"this is a company's page; needed is a person's: {_PROFILE}",
    "school": f"this is a school's page; needed is a person's: {_PROFILE}",
    "showcase": f"this is a showcase page; needed is a person's: {_PROFILE}",
    "groups": f"this is a group; needed is a person's page: {_PROFILE}",
    "posts": f"this is a post; needed is its author's page: {_PROFILE}",
    "feed": f"this is a feed; needed is a person's page: {_PROFILE}",
    "sales": f"this is a Sales Navigator URL; {_PUBLIC}",
    "talent": f"this is a LinkedIn Recruiter URL; {_PUBLIC}",
    "pub": f"this is the old form of a profile URL; open it and {_PUBLIC}",
}
_NOT_SLUGS = _NOT_PROFILES.keys() | {"in", "linkedin"}

_EMAIL = "one e-mail address, like name@company.tld"
_LOCAL_PART = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOP_LEVEL = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}")
# Nyne refuses them, LeadMagic on some endpoints: https://www.rfc-editor.org/rfc/rfc2606
# .test is reserved as well, and let through: the sandbox lives there.
_PLACEHOLDER_DOMAIN = re.compile(r"(?:.*\.)?(?:example\.(?:com|net|org)|invalid|localhost)")
_PLACEHOLDERS = frozenset({"test@test.com"})

_NOTHING = "a LinkedIn profile_url, a work_email, a personal_email, or at least a name"


def is_role_address(email: str) -> bool:
    """Tell whether *email* is a shared mailbox by its name."""
    return email.partition("@")[0] in {"info", "sales", "office", "noreply", "support", "contact"}


class NotUsable(ValueError):
    """The contact cannot be looked up as it is: one (field, what would be usable) for each problem."""

    def __init__(self, problems: tuple[tuple[str, str], ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{field or 'contact'}: {message}" for field, message in problems))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Contact:
    """One person as a lookup knows them, every identifier in its one form."""

    profile_url: str | None = None
    work_email: str | None = None
    personal_email: str | None = None
    name: str | None = None
    company: str | None = None
    region: str | None = None

    @property
    def slug(self) -> str | None:
        """The public slug of the profile."""
        name = (self.profile_url or "").removeprefix("linkedin.com/in/")
        return name if name and not _MEMBER_ID.fullmatch(name) else None

    @property
    def member(self) -> str | None:
        """The member id that stands for the slug in Sales Navigator's exports."""
        name = (self.profile_url or "").removeprefix("linkedin.com/in/")
        return name if _MEMBER_ID.fullmatch(name) else None

    def keys(self) -> frozenset[str]:
        """What identifies the person: two contacts that share a key are one person; nothing for nobody."""
        strong = {f"em:{email}" for email in (self.work_email, self.personal_email) if email}
        if self.profile_url:
            strong.add(f"in:{self.profile_url.removeprefix('linkedin.com/in/')}")
        if not strong and self.name:
            return frozenset({f"nc:{_folded(self.name)}|{_folded(self.company or '')}"})
        return frozenset(strong)

    def __repr__(self) -> str:
        """Only which fields are present: the values are personal data."""
        return f"Contact({', '.join(f.name for f in fields(self) if getattr(self, f.name) is not None)})"


def read_contact(
    *,
    profile_url: str | None = None,
    work_email: str | None = None,
    personal_email: str | None = None,
    name: str | None = None,
    company: str | None = None,
    region: str | None = None,
) -> Contact:
    """A contact with one form for each identifier; NotUsable names all fields that have none, at once."""
    given = {
        "profile_url": profile_url,
        "work_email": work_email,
        "personal_email": personal_email,
        "name": name,
        "company": company,
        "region": region,
    }
    contact: dict[str, str | None] = {}
    problems: list[tuple[str, str]] = []
    for field, raw in given.items():
        try:
            text = _read_text(raw or "")
            contact[field] = _READERS[field](text) if text else None
        except _FieldError as problem:
            problems.append((field, str(problem)))
    identified = any(contact.get(field) for field in _IDENTIFIERS)
    if not identified and not any(field in _IDENTIFIERS for field, _ in problems):
        problems.insert(0, ("", f"nothing to look up by; give {_NOTHING}"))
    if problems:
        raise NotUsable(tuple(problems))
    return Contact(**contact)


class _FieldError(ValueError):
    """What would be usable instead."""


def _read_text(raw: str) -> str:
    """*raw* without controls, dust and extra whitespace; "" when that leaves nothing, or a word for it."""
    if "\0" in raw:  # a PostgreSQL text cannot hold it
        raise _FieldError("text without NUL characters")
    if len(raw) > LONGEST_INPUT:
        raise _FieldError(f"at most {LONGEST_INPUT} characters")
    try:
        raw.encode()
    except UnicodeEncodeError:  # half a surrogate pair: valid in JSON, in nothing else
        raise _FieldError("whole Unicode characters") from None
    text = " ".join(raw.translate(_CLEAN).split()).strip(" " + _JOINERS)
    return "" if text.casefold() in _BLANKS else text


def _unwrapped(text: str) -> str:
    """*text* without the quotes, brackets and punctuation of the sentence it was copied from."""
    return text.lstrip(_OPENING).rstrip(_CLOSING)


def _read_profile_url(raw: str) -> str | None:
    """linkedin.com/in/<slug>, from a URL of any length or the slug alone."""
    text = _unwrapped(raw)
    if not text:
        return None
    address = _SCHEME.sub("", text, count=1) if _SCHEME.match(text) else text
    segments = [part for part in re.split(r"[?#]", address, maxsplit=1)[0].split("/") if part]
    if not segments:
        raise _FieldError(_PROFILE)
    hosted = address != text or "." in segments[0]
    if hosted:
        _check_host(segments.pop(0))
    alone = not hosted and len(segments) == 1 and segments[0].lower() not in _NOT_SLUGS
    slug = segments[0].removeprefix("@") if alone else _slug_in(segments)
    return f"linkedin.com/in/{_read_slug(slug)}"


def _check_host(host: str) -> None:
    """The host is LinkedIn's, whatever the subdomain."""
    host = re.sub(r":\d+$", "", host.lower()).rstrip(".")
    if host == "lnkd.in":
        raise _FieldError(f"this is a short link; open it and {_PUBLIC}")
    if host != "linkedin.com" and not host.endswith(".linkedin.com"):
        raise _FieldError(f"this is another site; needed is {_PROFILE}")


def _slug_in(segments: list[str]) -> str:
    """The segment after /in/."""
    path = segments[1:] if segments and segments[0].lower() in _MOBILE_PREFIXES else segments
    kind = path[0].lower() if path else ""
    if kind != "in":
        raise _FieldError(_NOT_PROFILES.get(kind, f"this is not a person's page; needed is {_PROFILE}"))
    if len(path) == 1:
        raise _FieldError(f"the part after /in/ is missing; needed is {_PROFILE}")
    return path[1]


def _read_slug(raw: str) -> str:
    """The slug decoded and in lower case, the form in which equal profiles are equal texts."""
    slug = raw
    try:
        for _ in range(3):  # exports encode what was encoded already
            slug = unquote(slug, errors="strict")
    except UnicodeDecodeError:
        raise _FieldError(f"the part after /in/ is not UTF-8; needed is {_PROFILE}") from None
    if not _MEMBER_ID.fullmatch(slug):
        slug = unicodedata.normalize("NFC", unicodedata.normalize("NFC", slug).lower()).strip(_JOINERS)
    if len(slug) > LONGEST_SLUG:
        raise _FieldError(f"the part after /in/ has at most {LONGEST_SLUG} characters")
    if not all(map(_is_in_slugs, slug)) or not any(map(str.isalnum, slug)):
        raise _FieldError(f"the part after /in/ has letters, digits and hyphens only; needed is {_PROFILE}")
    if slug in _NOBODY:
        raise _FieldError(f"this page is nobody's in particular; {_PUBLIC}")
    return slug


def _is_in_slugs(character: str) -> bool:
    """LinkedIn makes slugs of names, so any script and even emoji occur; ASCII punctuation does not."""
    if character.isascii():
        return character.isalnum() or character in "-_"
    category = unicodedata.category(character)
    return category[0] in "LMN" or category == "So" or character in _JOINERS


def _read_email(raw: str) -> str | None:
    """The address alone, in lower case, its domain in ASCII."""
    shown = re.search(r"<([^<>]*)>$", raw)  # Jane Doe <jane@acme.co>
    text = _unwrapped(shown[1] if shown else raw)
    if text.lower().startswith("mailto:"):
        text = _unwrapped(text[len("mailto:") :].partition("?")[0])
    if not text:
        return None
    local, at, domain = text.rpartition("@")
    local, domain = local.lower(), _read_domain(domain)
    email = f"{local}{at}{domain}"
    if not _LOCAL_PART.fullmatch(local) or len(local) > 64 or len(email) > LONGEST_EMAIL:
        raise _FieldError(_EMAIL)
    if _PLACEHOLDER_DOMAIN.fullmatch(domain) or email in _PLACEHOLDERS:
        raise _FieldError(f"this is a placeholder; needed is the person's own, {_EMAIL}")
    return email


def _read_domain(raw: str) -> str:
    """The domain as DNS knows it."""
    plain = unicodedata.normalize("NFKC", raw.lower()).lower().replace("\u3002", ".")
    labels = [_read_label(label) for label in plain.rstrip(".").split(".")]
    if len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)) or not _TOP_LEVEL.fullmatch(labels[-1]):
        raise _FieldError(_EMAIL)
    return ".".join(labels)


def _read_label(label: str) -> str:
    """The label in ASCII."""
    if label.isascii():
        return label
    if not all(unicodedata.category(character)[0] in "LMN" or character == "-" for character in label):
        raise _FieldError(_EMAIL)
    # Not Python's own idna codec: it is of 2003 and turns ß into ss, which today is another domain.
    return f"xn--{label.encode('punycode').decode('ascii')}"


def _read_name(text: str) -> str | None:
    """The text as written, None when it names nothing."""
    if len(text) > LONGEST_NAME:
        raise _FieldError(f"at most {LONGEST_NAME} characters")
    return text if any(map(str.isalnum, text)) else None


def _read_region(text: str) -> str:
    """Two capital letters."""
    region = text.upper()
    if not re.fullmatch(r"[A-Z]{2}", region):
        raise _FieldError("a country as two letters of ISO 3166, like US")
    return "GB" if region == "UK" else region  # reserved for the same country, and what people write


def _folded(text: str) -> str:
    """The form in which two spellings of one name are equal; the key's separator cannot occur in it."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.replace("|", " ").split())


_READERS: Mapping[str, Callable[[str], str | None]] = {
    "profile_url": _read_profile_url,
    "work_email": _read_email,
    "personal_email": _read_email,
    "name": _read_name,
    "company": _read_name,
    "region": _read_region,
}
_IDENTIFIERS = ("profile_url", "work_email", "personal_email", "name")
