"""A campaign: a file of contacts that wish for numbers. Read its rows, and tell which of them may cost something.

    reading -> read -> sampling -> quoted -> running -> done      `stopped` from each of them, and on from there

A row that asks exactly what an earlier one asks is a duplicate: the same identifiers at the same providers, and without
a profile also the same name and company. Two rows that only share an address may be two people, so both may cost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from enrichment.contact import Contact, fingerprint
from enrichment.decide import Fate, World
from enrichment.event import read_fields
from enrichment.money import cents
from enrichment.providers.base import Provider
from enrichment.wish import Hasher, Keys, Policy, Wish, keys_of

CampaignState = Literal[
    "uploading", "uploaded", "reading", "read", "sampling", "quoted", "running", "done", "stopped"
]  # fmt: skip
Verdict = Literal["new", "duplicate", "known", "unusable", "erased"]

SOURCE = "api"  # whose budget pays: campaigns are a person's wish, as POST /v1/lookups is
SLACK = timedelta(days=1)  # an answer that is reused now, and perhaps no longer when its row is begun
LONGEST_REASON = 200  # characters


@dataclass(frozen=True, slots=True)
class RowRead:
    """One row of the file: its wish, or the *reason* why it cannot be used. *given*: its contact as it was written."""

    number: int
    given: Mapping[str, str] = field(repr=False)
    wish: Wish | None
    keys: Keys | None
    content: bytes | None  # equal for rows that ask the same
    reason: str | None

    @property
    def own(self) -> frozenset[bytes]:
        """Return the keys of its contact."""
        return self.keys.own if self.keys else frozenset()

    @property
    def asked(self) -> frozenset[bytes]:
        """Return every hash that a question about its contact reveals."""
        return self.keys.asked if self.keys else frozenset()

    def stored_keys(self, hash: Hasher) -> frozenset[bytes]:
        """Return the hashes by which an erasure finds the row: its keys, and its addresses that are none."""
        contact = self.wish.contact if self.wish else Contact()
        return self.own | {hash("email", email) for email in (contact.work_email, contact.personal_email) if email}


def read_row(
    campaign_id: UUID, number: int, given: Mapping[str, str], providers: Mapping[str, Provider], hash: Hasher
) -> RowRead:
    """Read the contact of one row as /events/generic would."""
    read = read_fields(given, providers=providers)
    if read.contact is None:
        return RowRead(number, given, None, None, None, _reason(read.problems))
    content = fingerprint(read.contact, read.named)
    event_id = f"{campaign_id}/{number}"
    wish = Wish(read.contact, read.providers, read.record_id, event_id, content, read.problems)
    keys = keys_of(read.contact, read.record_id, hash)
    asked = hash("row", *(key.hex() for key in sorted(keys.own)), "", *read.providers)
    return RowRead(number, given, wish, keys, asked, None)


def body_of(campaign_id: UUID, rows: Iterable[RowRead]) -> bytes:
    """Return these rows as the body of an event, kept verbatim as every event is."""
    contacts = [{**row.given, "event_id": f"{campaign_id}/{row.number}"} for row in rows]
    return json.dumps({"contacts": contacts}, ensure_ascii=False).encode("utf-8", "replace")


def forecasting(policy: Policy) -> Policy:
    """Return the policy of a forecast: an answer that is about to be too old counts as too old."""
    return replace(policy, found=policy.found - SLACK, not_found=policy.not_found - SLACK)


def strangers(rows: Sequence[RowRead], world: World, suppressed: frozenset[bytes]) -> frozenset[int]:
    """Return the numbers of the rows that share no key with what is known, nor with one another.

    Each of them begins a search of its own, whatever `decide` makes of the others: most rows of a large file do.
    """
    holders = Counter(key for row in rows for key in row.own)
    return frozenset(
        row.number
        for row in rows
        if all(holders[key] == 1 and key not in world.links for key in row.own) and suppressed.isdisjoint(row.asked)
    )


def most_of_stranger(row: RowRead, prices: Mapping[str, Decimal], asked: Sequence[str]) -> Decimal:
    """Return the most that *row* can cost, if nothing is known; *asked* are the providers in use."""
    wanted = row.wish.providers if row.wish else ()
    return price_of(tuple(name for name in wanted if name in asked) or wanted, prices)


def most_of(row: RowRead, fate: Fate, prices: Mapping[str, Decimal], asked: Sequence[str]) -> Decimal:
    """Return the most that *row* can cost, if this is its *fate*; *asked* are the providers in use.

    A search that another row begins, or that leaves something unasked, makes no row free: its own may follow.
    """
    wish, search = row.wish, fate.search
    if wish is None or row.keys is None or fate.status is not None:
        return Decimal(0)
    if search.is_new and search.begun_for == wish.id:
        return price_of(search.chain, prices)
    is_covered = row.keys.identifiers <= search.asked and set(wish.providers) <= set(search.providers)
    if not search.is_new and is_covered:
        return Decimal(0)
    return most_of_stranger(row, prices, asked)


def price_of(chain: Iterable[str], prices: Mapping[str, Decimal]) -> Decimal:
    """Return the most that asking *chain* can cost: each of them may charge, if the one before it ended in doubt."""
    return cents(sum((prices[name] for name in chain), Decimal(0)))


def _reason(problems: Sequence[tuple[str, str]]) -> str:
    path, message = problems[0] if problems else ("", "nothing to look up by")
    return (f"{path}: {message}" if path else message)[:LONGEST_REASON]
