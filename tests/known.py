"""Searches and seekers as `decide` sees them: legal by construction, no database."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from enrichment.contact import Contact
from enrichment.decide import Search, Seeker, World
from enrichment.facts import Facts
from enrichment.wish import Hasher, Policy, facts_of, keys_of

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
POLICY = Policy(
    Hasher.of(b"identity-key"), ("leadmagic", "nyne"), found=timedelta(days=90), not_found=timedelta(days=30)
)
MEMBER = "linkedin.com/in/ACwAA" + "0" * 34
_FIELDS = ("profile_url", "work_email", "personal_email", "name", "company", "region")
_ids = itertools.count(1)


def known(
    *, days_ago: float = 1, status: str | None = "not_found", facts_slug: str | None = None, **given: Any
) -> Search:
    """Return a search for such a contact that ended so many days ago, or is open when *status* is None."""
    contact = _contact(given)
    keys = keys_of(contact, None, POLICY.hash)
    facts = facts_of(contact, POLICY.hash)
    if facts_slug:  # known from a third contact
        facts = Facts(POLICY.hash("slug", facts_slug.removeprefix("linkedin.com/in/")), facts.member, facts.names)
    number = next(_ids)
    ended_at = NOW - timedelta(days=days_ago)
    values: dict[str, Any] = {"said": {}, "providers": ("leadmagic", "nyne"), "facts": facts, "status": status}
    values |= {"keys": set(keys.own), "asked": set(keys.asked), "ended_at": ended_at if status else None}
    # Newer searches have the larger ids.
    return Search(UUID(int=(int(ended_at.timestamp()) << 32) + number), UUID(int=number), **(values | given))


def seeker(providers: tuple[str, ...], **given: Any) -> Seeker:
    """Return a lookup for a contact with these fields."""
    contact = _contact(given)
    return Seeker(
        UUID(int=next(_ids)), keys_of(contact, None, POLICY.hash), facts_of(contact, POLICY.hash), providers,
        "generic", contact.region, **given,
    )  # fmt: skip


def the_world(*searches: Search) -> World:
    """Return a world in which each search is known under its keys."""
    links: dict[bytes, list[UUID]] = {}
    for search in searches:
        for key in search.keys:
            links.setdefault(key, []).append(search.id)
    return World(links, set(), {search.id: search for search in searches})


def _contact(given: dict[str, Any]) -> Contact:
    """Take the contact's fields out of *given*."""
    return Contact(**{field: given.pop(field) for field in _FIELDS if field in given})
