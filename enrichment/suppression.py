"""Read a value to suppress or to erase: an e-mail, a profile, a domain or a number, in its one form.

The readers are those of contacts and of vendors' numbers, so every way of writing a value is matched.
Messages say what would be usable and never repeat the value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args
from uuid import UUID

from enrichment.contact import Contact
from enrichment.emails import read_domain, read_emails
from enrichment.linkedin import read_profiles
from enrichment.nothing import is_nothing
from enrichment.phone import read_phone
from enrichment.texts import Unusable, tidy
from enrichment.wish import Hasher, profile_key, suppressible

Kind = Literal["email", "profile", "domain", "number"]

KINDS: tuple[Kind, ...] = get_args(Kind)
LONGEST_NOTE = 500  # characters

_WANTED = {
    "email": "one e-mail address, like name@company.tld",
    "profile": "one public LinkedIn profile, like linkedin.com/in/<name>",
    "domain": "one domain, like company.tld",
    "number": "one number with its country code, like +15551234567",
}


@dataclass(frozen=True, slots=True)
class Identifier:
    """One e-mail, profile, domain or number in its one form; *value* is personal data."""

    kind: Kind
    value: str = field(repr=False)

    def hashed(self, hash: Hasher) -> bytes:
        """Return the hash to suppress; for an e-mail or a profile, it is also the key of its searches."""
        if self.kind == "profile":
            key = profile_key(Contact(profile_url=self.value), hash)
            assert key is not None  # noqa: S101  a profile has a slug or a member id
            return key
        return hash(self.kind, self.value)


def read_identifier(kind: Kind, text: str) -> Identifier:
    """Read what a person typed. Raise Unusable, whose message says what would be usable."""
    tidied = tidy(text)
    if not tidied or is_nothing(tidied):
        raise Unusable(_WANTED[kind])
    match kind:
        case "email":
            return Identifier(kind, _only(kind, read_emails(tidied)))
        case "profile":
            return Identifier(kind, _only(kind, read_profiles(tidied)))
        case "domain":
            try:
                return Identifier(kind, read_domain(tidied.removeprefix("*").removeprefix("@").removeprefix(".")))
            except Unusable:
                raise Unusable(_WANTED[kind]) from None
        case "number":
            phone = read_phone(tidied, None)
            if phone is None:
                raise Unusable(_WANTED[kind])
            return Identifier(kind, phone.e164)


def number_hash(mobile: str, hash: Hasher) -> bytes:
    """Return the hash under which the number *mobile*, in E.164, is suppressed."""
    return hash("number", mobile)


def result_hashes(contact: Contact, number: str | None, hash: Hasher) -> frozenset[bytes]:
    """Return the hashes under which a result may be suppressed: the person's, and that of the *number*, in E.164."""
    of_person = suppressible(contact, hash)
    return of_person | {number_hash(number, hash)} if number else of_person


def job_hash(job_id: UUID, hash: Hasher) -> bytes:
    """Return the tombstone of an erased person's job."""
    return hash("job", str(job_id))


def _only(kind: Kind, found: tuple[str, ...]) -> str:
    if len(found) > 1:  # more than one address: which one was meant is unclear
        raise Unusable(_WANTED[kind])
    return found[0]
