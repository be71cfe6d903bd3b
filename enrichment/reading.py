"""Decide whether a contact that was read from a CRM becomes a lookup. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from enrichment.contact import fingerprint
from enrichment.crms.base import CrmContact
from enrichment.event import ContactRead, read_fields
from enrichment.providers.base import Provider
from enrichment.wish import Wish

# Why a contact became no lookup. Some reasons continue after these first words.
HAS_A_MOBILE = "has a mobile"
SUPPRESSED = "suppressed"
NOT_WORTH_ASKING = "not worth asking"
TOO_OLD = "older than the connection"
GONE = "gone"
MERGED_INTO = "merged into"
ERASED = "erased"
NOTHING_USABLE = "nothing usable:"
COULD_NOT_BE_READ = "could not be read:"

LONGEST_REASON = 500  # characters
ASKED_FOR = ("backfill", "request")  # a person or a workflow asks about these contacts, however old they are


@dataclass(frozen=True, slots=True)
class Skip:
    """Make no lookup of the contact, for this reason."""

    reason: str


def read_contact(
    contact: CrmContact, *, connected_at: datetime | None, named_by: str, providers: Mapping[str, Provider]
) -> Wish | Skip:
    """Return the wish for the contact's number, or why there is none; ask all *providers* that can be asked.

    *connected_at*: skip older contacts, unless a backfill or a workflow named them. If the CRM does not date a contact,
    an event is enough.
    """
    if contact.mobile and contact.mobile.strip():
        return Skip(HAS_A_MOBILE)
    if connected_at is not None and _is_old(contact.news_at, connected_at, named_by):
        return Skip(TOO_OLD)
    if not contact.is_wanted:
        return Skip(NOT_WORTH_ASKING)
    read = read_fields(contact.fields, providers=providers)
    if read.contact is None:
        return Skip(_nothing_usable(read))
    # The CRM's own record, whatever its fields say. The same content makes the same wish.
    return Wish(
        read.contact, read.providers, contact.record_id, None, fingerprint(read.contact), problems=read.problems
    )


def _is_old(news_at: datetime | None, connected_at: datetime, named_by: str) -> bool:
    if named_by in ASKED_FOR:
        return False
    return news_at < connected_at if news_at is not None else named_by != "event"


def _nothing_usable(read: ContactRead) -> str:
    """Return why nothing in the contact can be used: which fields, and what would be usable, never their values."""
    said = "; ".join(f"{path}: {message}" if path else message for path, message in read.problems)
    return f"{NOTHING_USABLE} {said}"[:LONGEST_REASON]
