"""Rows of a file that nothing known bears on are judged without a decision, to the same end."""

from __future__ import annotations

import random
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from uuid import UUID

from enrichment.campaign import SOURCE, RowRead, most_of, most_of_stranger, read_row, strangers
from enrichment.decide import Fate, Seeker, World, decide
from enrichment.guards import Guards
from enrichment.providers import build_providers
from enrichment.providers.base import Provider
from enrichment.settings import Settings
from enrichment.wish import Hasher, Policy, facts_of
from store.searches import read_number
from tests.factories import PRICES

HASH = Hasher.of(b"secret")
NOW = datetime.now(UTC)
DAYS = timedelta(days=30)
POLICY = Policy(HASH, ("nyne",), found=DAYS, not_found=DAYS, guards=Guards(prices=PRICES))


def rows(count: int, chance: random.Random, providers: Mapping[str, Provider]) -> list[RowRead]:
    """Return rows of which many share an address or a profile."""
    people = chance.choices(range(60), k=count)
    given = [
        {"work_email": f"p{one}@acme.co", "name": chance.choice(["Jane Doe", "John Roe"])}
        | ({"profile_url": f"linkedin.com/in/p{one}-{chance.randrange(2)}"} if chance.random() < 0.4 else {})
        for one in people
    ]
    return [read_row(UUID(int=1), number, one, providers, HASH) for number, one in enumerate(given)]


def decided(row: RowRead, world: World, suppressed: frozenset[bytes]) -> Fate:
    """Return the fate of *row* in *world*."""
    assert row.wish
    assert row.keys
    facts = facts_of(row.wish.contact, HASH)
    is_suppressed = not suppressed.isdisjoint(row.asked)
    seeker = Seeker(row.wish.id, row.keys, facts, row.wish.providers, SOURCE, is_suppressed=is_suppressed)
    return decide(seeker, world, NOW, POLICY, read_number)


def test_a_stranger_costs_what_its_decision_says_and_changes_no_other(settings: Settings) -> None:
    """Each row costs the same at most, whether strangers are decided among the others or not."""
    chance = random.Random(12)
    providers, seen = build_providers(settings), 0
    for _ in range(20):
        known = World({}, set(), {})
        for row in rows(10, chance, providers):
            decided(row, known, frozenset())
        for search in known.searches.values():
            search.is_new = False
            if chance.random() < 0.7:
                search.ended_at, search.status = NOW - DAYS * chance.random() * 2, "not_found"
                search.said = {name: chance.choice(["answered", "unknown"]) for name in search.chain}
        read = rows(20, chance, providers)
        suppressed = frozenset(key for row in read for key in sorted(row.own) if chance.random() < 0.05)
        alone = strangers(read, known, suppressed)
        whole = deepcopy(known)
        for row in read:
            expected = most_of(row, decided(row, whole, suppressed), PRICES, POLICY.providers)
            if row.number in alone:
                seen += 1
                assert most_of_stranger(row, PRICES, POLICY.providers) == expected
            else:
                assert most_of(row, decided(row, known, suppressed), PRICES, POLICY.providers) == expected
    assert 50 < seen < 350
