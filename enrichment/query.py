"""Read the search term of lookups: one e-mail, one profile or one number."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from enrichment.contact import Contact
from enrichment.emails import read_emails
from enrichment.linkedin import read_profiles
from enrichment.phone import read_phone
from enrichment.texts import Unusable, tidy
from enrichment.wish import Hasher, profile_key

LONGEST_QUERY = 1000
USABLE = "one e-mail address, one LinkedIn profile, or one number with its country code, like +15551234567"

_NUMBER = re.compile(r"[+(]?[0-9][0-9 ()./-]*")


@dataclass(frozen=True, slots=True)
class Query:
    """The contact or the number to search for; exactly one of them is set."""

    contact: Contact | None = field(repr=False)
    mobile: str | None = field(repr=False)

    @property
    def email(self) -> str | None:
        """Return the e-mail, if the query is for one."""
        return self.contact.work_email if self.contact else None

    def keys(self, hash: Hasher) -> list[bytes]:
        """Return the key of the e-mail or profile."""
        if self.contact is None:
            return []
        if self.email:
            return [hash("email", self.email)]
        key = profile_key(self.contact, hash)
        return [key] if key else []


def read_query(text: str) -> Query:
    """Read *text* with the readers of contacts and vendors' numbers, so that every way of writing it finds the same.

    Raise Unusable.
    """
    try:
        tidied = tidy(text[:LONGEST_QUERY]) or ""
    except Unusable:
        raise Unusable(USABLE) from None
    if _NUMBER.fullmatch(tidied):
        phone = read_phone(tidied if tidied.startswith("+") else f"+{tidied}", None)
        if phone is None:
            raise Unusable(USABLE)
        return Query(None, phone.e164)
    try:
        found = read_emails(tidied) if "@" in tidied else read_profiles(tidied)
    except Unusable:
        raise Unusable(USABLE) from None
    if len(found) != 1:
        raise Unusable(USABLE)
    contact = Contact(work_email=found[0]) if "@" in tidied else Contact(profile_url=found[0])
    return Query(contact, None)
