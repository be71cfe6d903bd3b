"""A wish: what one lookup asks for, and the keys under which it may share answers.

A contact's keys are its LinkedIn profile and each of its e-mails whose name is not that of a shared mailbox. Without a
profile, the hash of the whole question is a key too: the same question again finds its own answer, even if its
addresses turned out to be shared. A name without a company is never shared with another contact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from enrichment.contact import Contact
from enrichment.facts import Facts, fold
from enrichment.guards import Guards
from enrichment.roles import is_role_address

WEBHOOK = "webhook"  # the channel of results to RESULT_WEBHOOK_URL; other channels have the names of CRMs


@dataclass(frozen=True, slots=True)
class Hasher:
    """A keyed hash of identifiers, so that a stolen table cannot be searched for an e-mail."""

    key: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> Hasher:
        """Return the hasher for this secret, of any length: blake2b itself accepts keys of at most 64 bytes."""
        return cls(hashlib.blake2b(secret, digest_size=32).digest())

    def __call__(self, *parts: str) -> bytes:
        """Return the hash of *parts*, 16 bytes."""
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16, key=self.key).digest()


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for reusing answers, which providers to ask, where results go, and what sources may spend."""

    hash: Hasher
    providers: tuple[str, ...]  # PROVIDERS: the ones to ask
    found: timedelta  # how long a number is reused
    not_found: timedelta  # how long a "no number" answer is reused
    stops_in_doubt: bool = False  # UNKNOWN_POLICY=hold: after an unknown outcome a person decides
    channels: tuple[str, ...] = ()  # WEBHOOK, and the CRMs to write numbers back to
    guards: Guards = field(default_factory=Guards)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one contact.

    *own*: those that the contact itself holds. *sure*: those that contradicting names do not outweigh. *identifiers*:
    those that a provider is asked about; the question itself if there is no other. *asked*: every hash that a question
    about the contact reveals, also of shared mailboxes and domains: a suppression of any one forbids the question.
    """

    own: frozenset[bytes]
    sure: frozenset[bytes]
    emails: tuple[bytes, ...]
    identifiers: frozenset[bytes]
    asked: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Wish:
    """One contact to look up at *providers*, in this order."""

    contact: Contact
    providers: tuple[str, ...]
    record_id: str | None = None
    event_id: str | None = None
    fingerprint: str = field(
        default="", repr=False
    )  # the contact as read, canonical: the same event again has the same
    problems: Sequence[tuple[str, str]] = ()
    id: UUID = field(default_factory=uuid7)  # of its lookup


def keys_of(contact: Contact, record_id: str | None, hash: Hasher) -> Keys:
    """Return the keys of *contact*; *record_id* keeps a name without a company apart from namesakes."""
    profile = profile_key(contact, hash)
    written = {email: hash("email", email) for email in (contact.work_email, contact.personal_email) if email}
    emails = tuple(key for email, key in written.items() if not is_role_address(email))
    question = profile or _question(contact, record_id, hash)
    strong = frozenset({*emails, profile} if profile else emails)
    own = strong | {question}
    return Keys(
        own=own,
        sure=frozenset({question}),
        emails=emails,
        identifiers=strong or own,
        asked=own.union(written.values(), _domain_keys(written, hash)),
    )


def keys_from_hashes(contact: Contact, own: frozenset[bytes], identifiers: frozenset[bytes], hash: Hasher) -> Keys:
    """Return a contact's keys from its stored hashes: a question's key without a record cannot be computed again."""
    profile = profile_key(contact, hash)
    emails = tuple(hash("email", email) for email in (contact.work_email, contact.personal_email) if email)
    sure = frozenset({profile}) if profile else own.difference(emails)
    asked = own | suppressible(contact, hash)
    return Keys(own, sure, tuple(key for key in dict.fromkeys(emails) if key in own), identifiers, asked)


def facts_of(contact: Contact, hash: Hasher) -> Facts:
    """Return the facts that *contact* states about its person."""
    return Facts(
        slug=hash("slug", contact.slug) if contact.slug else None,
        member=hash("member", contact.member) if contact.member else None,
        names=[contact.name] if contact.name else [],
    )


def profile_key(contact: Contact, hash: Hasher) -> bytes | None:
    """Return the key of the contact's LinkedIn profile."""
    if member := contact.member:
        return hash("member", member)
    return hash("slug", slug) if (slug := contact.slug) else None


def suppressible(contact: Contact, hash: Hasher) -> frozenset[bytes]:
    """Return the hashes any one of which, if suppressed, suppresses *contact*: of its profile, e-mails and domains."""
    emails = [email for email in (contact.work_email, contact.personal_email) if email]
    profile = profile_key(contact, hash)
    return frozenset([
        *(hash("email", email) for email in emails),
        *_domain_keys(emails, hash),
        *([profile] if profile else []),
    ])  # fmt: skip


def _domain_keys(emails: Iterable[str], hash: Hasher) -> list[bytes]:
    """Return the hashes of the domains of *emails*, and of their parents below the top level.

    A suppression of acme.co also covers mail.acme.co.
    """
    domains = [email.rpartition("@")[2].split(".") for email in emails]
    return [hash("domain", ".".join(labels[place:])) for labels in domains for place in range(len(labels) - 1)]


def _question(contact: Contact, record_id: str | None, hash: Hasher) -> bytes:
    emails = sorted(email for email in (contact.work_email, contact.personal_email) if email)
    alone = "" if emails or contact.company else record_id or str(uuid7())
    return hash("question", *emails, "", fold(contact.name or ""), fold(contact.company or ""), alone)
