"""Remove one person from rows that hold several: from an event's body, and from a search's facts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from enrichment.contact import Contact
from enrichment.emails import read_emails
from enrichment.event_json import NotJson, parse_json
from enrichment.facts import fold
from enrichment.linkedin import PREFIX, read_profiles
from enrichment.roles import is_role_address
from enrichment.texts import Unusable, tidy

SHORTEST_NEEDLE = 5  # characters; shorter texts also occur inside other words
EMPTY = b""
# Characters that continue an address, a profile or a number: with one beside it, the match is part of a longer value.
_EMAIL = r"(?<![\w.+-]){}(?![\w-]|\.\w)"
_SLUG = r"{}(?![\w-])"
_NUMBER = r"(?:(?<!\d)|(?<=00)(?<!\d00)|(?<=011)(?<!\d011)){}(?!\d)"
_ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|(.))")


@dataclass(slots=True)
class Person:
    """The values by which a person is known in texts; all of them are personal data."""

    emails: set[str] = field(default_factory=set, repr=False)
    profiles: set[str] = field(default_factory=set, repr=False)
    numbers: set[str] = field(default_factory=set, repr=False)
    names: set[str] = field(default_factory=set, repr=False)

    def learn(self, contact: Contact, mobile: str | None) -> None:
        """Add the values of one of the person's lookups. An address like info@ is not the person's."""
        emails = (contact.work_email, contact.personal_email)
        self.emails.update(email for email in emails if email and not is_role_address(email))
        self.profiles.update(filter(None, [contact.profile_url]))
        self.numbers.update(filter(None, [mobile]))
        self.names.update(filter(None, [contact.name]))

    def needles(self) -> list[str]:
        """Return lower-case texts that identify the person, unless they are part of a longer one."""
        return [needle for needle, _ in self._needles()]

    def _needles(self) -> Iterator[tuple[str, str]]:
        """Yield each needle with the pattern of the characters that may not stand beside it."""
        for values, around in (
            (self.emails, _EMAIL),
            ((f"/in/{unquote(profile.removeprefix(PREFIX))}" for profile in self.profiles), _SLUG),
            ((number.removeprefix("+") for number in self.numbers), _NUMBER),
        ):
            yield from ((value.lower(), around) for value in values if len(value) >= SHORTEST_NEEDLE)

    def is_in(self, value: Any) -> bool:
        """Tell whether a contact of an event is this person: one of the values occurs in its texts."""
        return any(self._is_named_by(text) for text in _texts(value))

    def occurs_in(self, text: str) -> bool:
        """Tell whether one of the values stands in *text*, which may be long."""
        ways = _ways(text.lower())
        return any(
            needle in way and re.search(around.format(re.escape(needle)), way) is not None
            for needle, around in self._needles()
            for way in ways
        )

    def _is_named_by(self, text: str) -> bool:
        if self.occurs_in(text):
            return True
        if self.emails and "@" in text.replace("%40", "@") and self.emails & _read(read_emails, text):
            return True
        return bool(self.profiles and len(text) >= SHORTEST_NEEDLE and self.profiles & _read(read_profiles, text))

    def has_name(self, value: Any) -> bool:
        """Tell whether a contact of an event has the person's name."""
        folded = {fold(name) for name in self.names}
        return any(fold(text) in folded for text in _texts(value))


@dataclass(frozen=True, slots=True)
class Record:
    """A person known only by the id of a CRM's record."""

    id: str

    def needles(self) -> list[str]:
        """Return the id as it is written."""
        return [self.id.lower()]

    def is_in(self, value: Any) -> bool:
        """Tell whether a contact of an event is this record: one of its own ids is the record's."""
        if isinstance(value, list):
            return any(self.is_in(one) for one in value)
        return isinstance(value, dict) and any(
            fold(name).endswith("id") and str(one) == self.id for name, one in value.items()
        )

    def has_name(self, _: Any) -> bool:
        """Return False: the name of the record's person is not known."""
        return False


def names(body: bytes, person: Person | Record) -> bool:
    """Tell whether an event's body names *person*. An unreadable body does if a needle occurs anywhere in it."""
    try:
        return person.is_in(parse_json(body))
    except NotJson:
        text = body.replace(b"\0", b"").decode("utf-8", "replace").lower()  # also of UTF-16
        return any(needle in way for needle in person.needles() for way in _ways(text))


def without(body: bytes, person: Person | Record, at_least: int = 1) -> bytes:
    """Return an event's body without the contacts of *person*; empty if none is left.

    Also empty if the body cannot be read, or if fewer than *at_least* of its contacts are found to be the person's:
    then the others may be theirs too. The remaining contacts keep their order, and their numbers stay exact.
    """
    try:
        value = parse_json(body)
    except NotJson:
        return EMPTY
    key = next((key for key in value if fold(key) == "contacts"), None) if isinstance(value, dict) else None
    contacts = value[key] if key is not None else value
    if not isinstance(contacts, list):
        return EMPTY
    kept = [one for one in contacts if not person.is_in(one)]
    if len(contacts) - len(kept) < at_least:
        kept = [one for one in kept if not person.has_name(one)]
    if not kept or len(contacts) - len(kept) < at_least:
        return EMPTY
    rest = kept if key is None else value | {key: kept}
    # The fields that apply to all contacts may name the person as well.
    if person.is_in(rest):
        return EMPTY
    return json.dumps(rest, ensure_ascii=False, default=str).encode("utf-8", "replace")


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, and every number as its digits."""
    match value:
        case str():
            yield value
        case dict():
            for name, one in value.items():
                yield name
                yield from _texts(one)
        case list():
            for one in value:
                yield from _texts(one)
        case None | bool():
            return
        case _:
            yield str(value)


def _ways(text: str) -> set[str]:
    """Return the lower-case *text*, and the texts that it contains once its URL or JSON escapes are decoded."""
    ways = {text}
    if "%" in text:
        ways.add(unquote(text).lower())
    if "\\" in text:
        ways |= {_ESCAPE.sub(_unescaped, way).lower() for way in ways}
    return ways


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    return " " if escape[2] in "nrtbf" else str(escape[2])


def _read(read: Any, text: str) -> set[str]:
    try:
        found: Sequence[str] = read(tidy(text))
    except Unusable:
        return set()
    return set(found)
