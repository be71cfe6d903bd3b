"""One person, one charge: whether a lookup leads, follows one in flight, or takes an answer that is there.

Pure: `store/intake.py` reads the candidates under lock and carries out the decision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from enrichment.contact import Contact


@dataclass(frozen=True, slots=True)
class ReusePolicy:
    """How long an answer is taken again for free."""

    found: timedelta
    not_found: timedelta


@dataclass(frozen=True, slots=True)
class Leader:
    """A lookup that speaks for a person: open while *final_status* is None."""

    id: UUID
    keys: frozenset[bytes]
    final_status: str | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lead:
    """Nobody speaks for this person now: this lookup does."""


@dataclass(frozen=True, slots=True)
class Follow:
    """*leader* is in flight: end as it ends, unless *brings_more* identifiers and it ends without a number."""

    leader: Leader
    brings_more: bool


@dataclass(frozen=True, slots=True)
class Take:
    """*leader* has ended, not long ago: end the same, at once."""

    leader: Leader


Decision = Lead | Follow | Take


def person_keys(contact: Contact) -> frozenset[bytes]:
    """The keys under which this person is known, hashed."""
    return frozenset(key_hash("person", key) for key in contact.keys())  # noqa: SIM118  not a dict


def key_hash(*parts: str) -> bytes:
    """Sixteen bytes that stand for *parts* and show nothing of them."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()


def decide(keys: frozenset[bytes], leaders: Iterable[Leader], now: datetime, policy: ReusePolicy) -> Decision:
    """What the lookup with these *keys* does, given the *leaders* that speak for any of them.

    A number wins over an answer in flight, that over an old "no number". A doubtful end (unresolved) counts as
    "no number": asking again by itself might pay twice.
    """
    by_age = sorted(set(leaders), key=lambda leader: leader.id)
    for leader in by_age:
        if leader.final_status == "found" and _is_recent(leader, now, policy.found):
            return Take(leader)
    for leader in by_age:
        if leader.final_status is None:
            return Follow(leader, brings_more=not keys <= leader.keys)
    for leader in reversed(by_age):
        if (
            leader.final_status in ("not_found", "unresolved")
            and keys <= leader.keys
            and _is_recent(leader, now, policy.not_found)
        ):
            return Take(leader)
    return Lead()


def _is_recent(leader: Leader, now: datetime, window: timedelta) -> bool:
    return leader.finished_at is not None and leader.finished_at > now - window
