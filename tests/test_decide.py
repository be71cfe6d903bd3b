"""What a lookup does, as a table: no database, no clock.

Every case names what is known, who seeks, and what becomes of the lookup. The rules are those of enrichment/decide.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from enrichment.contact import Contact
from enrichment.decide import (
    ASKED_OFTEN,
    MOST_LINKS,
    MOST_SEARCHES,
    NOBODY_LEFT,
    Fate,
    Number,
    Search,
    Seeker,
    decide,
)
from enrichment.wish import keys_of
from tests.known import MEMBER, NOW, POLICY, known, seeker, the_world

NUMBER = Number("+15551234567", "+1 555 123 4567")
WRONG = {"+15551234567"}
KEPT = Number(None, "07400123456", needs_region=True)
SLUG = "linkedin.com/in/jane"
EMAIL, OTHER = "jane@acme.co", "jane@mail.co"


def read(raw: str, region: str) -> Number | None:
    """Read the kept number, with the one region that fits."""
    return Number("+447400123456", raw, region) if (raw, region) == (KEPT.raw, "GB") else None


def fate(one: Seeker, *searches: Search, policy: Any = POLICY) -> Fate:
    """Decide in a world where these searches are known under all their keys."""
    return decide(one, the_world(*searches), NOW, policy, read)


def ended(**more: Any) -> Search:
    """A search for the e-mail and the profile that found nothing yesterday; *more* says otherwise."""
    given: dict[str, Any] = {"profile_url": SLUG, "work_email": EMAIL, "said": {"leadmagic": "answered"}}
    return known(**(given | more))


@dataclass(frozen=True)
class Case:
    """One row: what is known, who seeks, and whom a new search asks, or how the lookup ends."""

    name: str
    searches: Sequence[Search]
    seeks: Seeker
    status: str | None = None  # None: it waits
    asks: tuple[str, ...] = ()  # (): it begins no search
    reason: str | None = None
    policy: Any = field(default=POLICY)


LM = ("leadmagic",)
BOTH = ("leadmagic", "nyne")
FORGETS = replace(POLICY, found=timedelta(0), not_found=timedelta(0))
WITHOUT_NYNE = replace(POLICY, providers=LM)
HOLDS = replace(POLICY, stops_in_doubt=True)
JANE = {"profile_url": SLUG, "work_email": EMAIL}
FOUND: dict[str, Any] = {"numbers": {"leadmagic": NUMBER}, "status": "found"}
OPEN: dict[str, Any] = {"status": None, "said": {}}


def often(count: int = MOST_SEARCHES) -> list[Search]:
    """So many searches, each for another address."""
    return [ended(personal_email=f"jane{n}@mail.co", days_ago=n) for n in range(1, count + 1)]


def doubted(state: str, **more: Any) -> Search:
    """A search that ended in doubt about LeadMagic."""
    return ended(said={"leadmagic": state}, status="unresolved", reason="leadmagic: timeout", **more)


CASES = [
    # A number of the reuse window.
    Case("nothing is known", [], seeker(LM, **JANE), asks=LM),
    Case("a number is known", [ended(**FOUND)], seeker(LM, **JANE), "found"),
    Case("a number, by the e-mail alone", [ended(**FOUND)], seeker(LM, work_email=EMAIL), "found"),
    Case("a number, and more identifiers", [ended(**FOUND)], seeker(LM, **JANE, personal_email=OTHER), "found"),
    Case("a number of 89 days ago", [ended(**FOUND, days_ago=89.9)], seeker(LM, **JANE), "found"),
    Case("a number of 90 days ago", [ended(**FOUND, days_ago=90)], seeker(LM, **JANE), asks=LM),
    Case("a number is no \"no number\", though reused for less long", [ended(**FOUND, days_ago=10)], seeker(LM, **JANE),
         asks=LM, policy=replace(POLICY, found=timedelta(days=7))),
    Case("a number of a provider that is not named", [ended(**FOUND)], seeker(("nyne",), **JANE), asks=("nyne",)),
    Case("a number that was called wrong", [ended(numbers={"leadmagic": NUMBER}, wrong=WRONG, status="found")],
         seeker(LM, **JANE), "not_found", reason=NOBODY_LEFT),
    Case("a number that was called wrong, and more identifiers",
         [ended(numbers={"leadmagic": NUMBER}, wrong=WRONG, status="found")],
         seeker(LM, **JANE, personal_email=OTHER), "not_found", reason=NOBODY_LEFT),
    Case("a number that was called wrong, and another provider",
         [ended(numbers={"leadmagic": NUMBER}, wrong=WRONG, status="found", said={"leadmagic": "answered"})],
         seeker(BOTH, **JANE, personal_email=OTHER), asks=("nyne",)),
    Case("a number that was called wrong 89 days ago",
         [ended(numbers={"leadmagic": NUMBER}, wrong=WRONG, status="found", days_ago=89)],
         seeker(LM, **JANE), "not_found", reason=NOBODY_LEFT),
    Case("a number that was called wrong 90 days ago",
         [ended(numbers={"leadmagic": NUMBER}, wrong=WRONG, status="found", days_ago=90)],
         seeker(LM, **JANE), asks=LM),
    Case("a number that the search of another key has", [ended(), known(work_email=OTHER, **FOUND)],
         seeker(LM, **JANE, personal_email=OTHER), "found"),
    Case("a number, and an open search beside it", [ended(**FOUND), known(work_email=OTHER, **OPEN)],
         seeker(LM, **JANE, personal_email=OTHER), "found"),
    Case("a kept number, and no region", [ended(numbers={"leadmagic": KEPT})], seeker(LM, **JANE), "not_found"),
    Case("a kept number, and another region", [ended(numbers={"leadmagic": KEPT})],
         seeker(LM, **JANE, region="DE"), "not_found"),
    Case("a kept number, and its region", [ended(numbers={"leadmagic": KEPT})],
         seeker(LM, **JANE, region="GB"), "found"),
    # An open search.
    Case("an open search", [ended(**OPEN)], seeker(LM, **JANE)),
    Case("an open search for less", [known(work_email=EMAIL, **OPEN)], seeker(LM, **JANE)),
    Case("an open search that asks another provider", [ended(**OPEN, providers=LM)], seeker(("nyne",), **JANE)),
    Case("an open search, and a person insists", [ended(**OPEN)], seeker(LM, **JANE, insists=True)),
    # Covered, or not.
    Case("no number, asked for the same", [ended()], seeker(LM, **JANE), "not_found"),
    Case("no number, asked for more", [ended(personal_email=OTHER)], seeker(LM, **JANE), "not_found"),
    Case("no number, asked for less", [ended()], seeker(LM, **JANE, personal_email=OTHER), asks=LM),
    Case("no number, asked for each in turn", [ended(), known(work_email=OTHER, said={"leadmagic": "answered"})],
         seeker(LM, **JANE, personal_email=OTHER), "not_found"),
    Case("no number, 29 days ago", [ended(days_ago=29.9)], seeker(LM, **JANE), "not_found"),
    Case("no number, 30 days ago", [ended(days_ago=30)], seeker(LM, **JANE), asks=LM),
    Case("one of two covered", [ended()], seeker(BOTH, **JANE), asks=("nyne",)),
    Case("the order of the wish", [ended(said={})], seeker(("nyne", "leadmagic"), **JANE), asks=("nyne", "leadmagic")),
    Case("a failure covers nothing", [ended(said={"leadmagic": "failed"}, status="failed")],
         seeker(LM, **JANE), asks=LM),
    Case("a dropped search is nothing", [ended(status="dropped")], seeker(LM, **JANE), asks=LM),
    # Doubt.
    *(Case(f"{state}, the same", [doubted(state)], seeker(LM, **JANE), "unresolved", reason="leadmagic: timeout")
      for state in ("unknown", "lost", "asked")),
    *(Case(f"{state}, and more identifiers", [doubted(state)], seeker(LM, **JANE, personal_email=OTHER), "unresolved",
           reason="leadmagic: timeout") for state in ("unknown", "lost", "asked")),
    Case("doubt about one of two", [doubted("unknown")], seeker(BOTH, **JANE), asks=("nyne",)),
    Case("doubt, 300 days ago", [doubted("unknown", days_ago=300)], seeker(LM, **JANE), "unresolved",
         reason="leadmagic: timeout"),
    Case("doubt, and no answer is reused", [doubted("unknown")], seeker(LM, **JANE), "unresolved",
         reason="leadmagic: timeout", policy=FORGETS),
    Case("doubt, 300 days ago, about one of two", [doubted("unknown", days_ago=300)], seeker(BOTH, **JANE),
         asks=("nyne",)),
    Case("doubt that a retry settled", [doubted("unknown", days_ago=300), ended(days_ago=200)],
         seeker(LM, **JANE), asks=LM),
    Case("doubt that a retry for less did not settle",
         [doubted("unknown", days_ago=300), known(work_email=EMAIL, said={"leadmagic": "answered"}, days_ago=200)],
         seeker(LM, **JANE), "unresolved", reason="leadmagic: timeout"),
    Case("doubt about one of two, and a person decides", [doubted("unknown")], seeker(BOTH, **JANE), "unresolved",
         reason="leadmagic: timeout", policy=HOLDS),
    Case("a person insists", [doubted("unknown")], seeker(LM, **JANE, insists=True), asks=LM),
    Case("a person insists, and it decides", [doubted("unknown")], seeker(BOTH, **JANE, insists=True), asks=BOTH,
         policy=HOLDS),
    Case("insisting does not ask beside a question in flight", [doubted("asked")], seeker(LM, **JANE, insists=True),
         "unresolved", reason="leadmagic: timeout"),
    # The cap.
    Case("six searches", often(), seeker(LM, **JANE, personal_email=OTHER), "not_found", reason=ASKED_OFTEN),
    Case("five searches", often(5), seeker(LM, **JANE, personal_email=OTHER), asks=LM),
    Case("six searches, one in doubt", [*often(5), doubted("unknown")], seeker(BOTH, **JANE, personal_email=OTHER),
         "unresolved", reason=ASKED_OFTEN),
    Case("six searches, one of them a retry", [*often(5), ended(is_retry=True)],
         seeker(LM, **JANE, personal_email=OTHER), asks=LM),
    Case("six searches, one of them past", [*often(5), ended(days_ago=31)],
         seeker(LM, **JANE, personal_email=OTHER), asks=LM),
    Case("six searches, and a person insists", often(),
         seeker(LM, **JANE, personal_email=OTHER, insists=True), asks=LM),
    # A number that a person called wrong.
    Case("wrong, another provider is left", [ended(numbers={"leadmagic": NUMBER}, wrong=WRONG, status="found")],
         seeker(BOTH, **JANE, insists=True, refused=frozenset(WRONG)), asks=("nyne",)),
    Case("wrong, no other provider is left", [ended(numbers={"leadmagic": NUMBER}, wrong=WRONG, status="found")],
         seeker(LM, **JANE, insists=True, refused=frozenset(WRONG)), "not_found", reason=NOBODY_LEFT),
    Case("wrong, but another number is known",
         [ended(numbers={"leadmagic": NUMBER, "nyne": Number("+447400123456")}, wrong=WRONG, status="found")],
         seeker(BOTH, **JANE, insists=True, refused=frozenset(WRONG)), "found"),
    # A provider that was taken out of PROVIDERS.
    Case("a removed provider's number", [ended(numbers={"nyne": NUMBER}, status="found")],
         seeker(BOTH, **JANE), "found", policy=WITHOUT_NYNE),
    Case("a removed provider is not asked", [], seeker(BOTH, **JANE), asks=LM, policy=WITHOUT_NYNE),
    Case("doubt about a removed provider", [ended(said={"leadmagic": "answered", "nyne": "unknown"})],
         seeker(BOTH, **JANE), "not_found", policy=WITHOUT_NYNE),
    Case("only a removed provider is named, and a sweep passes it over", [], seeker(("nyne",), **JANE), asks=("nyne",),
         policy=WITHOUT_NYNE),
    # Keys: which contacts share.
    Case("another person", [ended(**FOUND)], seeker(LM, profile_url="linkedin.com/in/bob"), asks=LM),
    Case("a name without a company is nobody else's", [known(name="Jane Doe", **FOUND)],
         seeker(LM, name="Jane Doe"), asks=LM),
    Case("the same name at the same company", [known(name="Jane Doe", company="Acme", **FOUND)],
         seeker(LM, name="jane döe", company="ACME"), "found"),
    Case("the same name at another company", [known(name="Jane Doe", company="Acme", **FOUND)],
         seeker(LM, name="Jane Doe", company="Other"), asks=LM),
    Case("a role address is no key", [known(work_email="info@acme.co", name="Jane Doe", **FOUND)],
         seeker(LM, work_email="info@acme.co", name="Bob Ray"), asks=LM),
    Case("a role address and the same question", [known(work_email="info@acme.co", name="Jane Doe", **FOUND)],
         seeker(LM, work_email="info@acme.co", name="Jane Doe"), "found"),
    # Contradictions.
    Case("another slug at the same address", [ended(**FOUND)],
         seeker(LM, profile_url="linkedin.com/in/bob", work_email=EMAIL), asks=LM),
    Case("another member id at the same address", [known(profile_url=MEMBER, work_email=EMAIL, **FOUND)],
         seeker(LM, profile_url=MEMBER.replace("0", "1"), work_email=EMAIL), asks=LM),
    Case("a slug and a member id at one address", [known(profile_url=MEMBER, work_email=EMAIL, **FOUND)],
         seeker(LM, **JANE), "found"),
    Case("another name at the same address", [known(work_email=EMAIL, name="Jane Doe", **FOUND)],
         seeker(LM, work_email=EMAIL, name="Bob Ray"), asks=LM),
    Case("a spelling of the name", [known(work_email=EMAIL, name="Jane Doe", **FOUND)],
         seeker(LM, work_email=EMAIL, name="Doe, J."), "found"),
    Case("the profile outweighs the name", [ended(name="Jane Doe", **FOUND)],
         seeker(LM, **JANE, name="Bob Ray"), "found"),
    Case("a profile by hearsay does not", [known(work_email=EMAIL, name="Jane Doe", facts_slug=SLUG, **FOUND)],
         seeker(LM, **JANE, name="Bob Ray"), asks=LM),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_becomes_of_a_lookup(case: Case) -> None:
    """The lookup takes a number, waits, asks, or ends, as the table says."""
    decided = fate(case.seeks, *case.searches, policy=case.policy)

    assert (decided.status, decided.reason) == (case.status, case.reason)
    assert decided.search.is_new is bool(case.asks)
    assert decided.search.chain == case.asks
    assert (decided.number is not None) == (case.status == "found")


def test_a_new_search_asks_about_one_contact() -> None:
    """A search asks about its contact's identifiers only, never about others known of the person."""
    before = ended(personal_email=OTHER, days_ago=31)

    begun = fate(seeker(LM, work_email=EMAIL), before).search

    assert begun.keys == keys_of(Contact(work_email=EMAIL), None, POLICY.hash).own
    assert before.facts.slug == begun.facts.slug  # but it inherits the facts


def test_a_number_of_hearsay_is_not_taken() -> None:
    """A key that a third contact brought carries nothing further."""
    first = ended(**FOUND)
    world = the_world(first)
    decide(seeker(LM, **JANE, personal_email=OTHER), world, NOW, POLICY, read)

    decided = decide(seeker(LM, personal_email=OTHER), world, NOW, POLICY, read)

    assert world.knowing(only_key(OTHER)) == [first, decided.search]  # for facts
    assert decided.status is None
    assert decided.search.chain == LM


def test_facts_of_hearsay_contradict() -> None:
    """A third contact's key still counts for contradictions: a contact that contradicts them shares the address."""
    world = the_world(ended(**FOUND))
    decide(seeker(LM, **JANE, personal_email=OTHER), world, NOW, POLICY, read)

    decide(seeker(LM, profile_url="linkedin.com/in/bob", personal_email=OTHER), world, NOW, POLICY, read)

    assert only_key(OTHER) in world.shared


def test_a_contested_address_is_nobodys_from_then_on() -> None:
    """The search keeps its other keys; the address leads nowhere, for its first holder as well."""
    first = ended(**FOUND)
    world = the_world(first)

    decide(seeker(LM, profile_url="linkedin.com/in/bob", work_email=EMAIL), world, NOW, POLICY, read)

    assert (only_key(EMAIL) in first.keys, first.is_changed) == (False, True)
    assert world.knowing(only_key(EMAIL)) == []
    assert decide(seeker(LM, work_email=EMAIL), world, NOW, POLICY, read).status is None
    assert decide(seeker(LM, profile_url=SLUG), world, NOW, POLICY, read).status == "found"


def test_two_addresses_of_people_who_contradict_each_other_are_shared() -> None:
    """A mixed record with an address of each connects the two people no more: both addresses stop being keys."""
    jane = known(work_email=EMAIL, name="Jane Doe", **FOUND)
    bob = known(work_email="bob@acme.co", name="Bob Ray", **FOUND)
    world = the_world(jane, bob)

    decided = decide(seeker(LM, work_email=EMAIL, personal_email="bob@acme.co"), world, NOW, POLICY, read)

    assert world.shared == {only_key(EMAIL), only_key("bob@acme.co")}
    assert decided.search.chain == LM


def test_the_same_question_finds_its_own_answer_at_a_shared_address() -> None:
    """The hash of the whole question is a key where no profile is."""
    world = the_world()
    first = decide(seeker(LM, work_email=EMAIL, name="Jane Doe"), world, NOW, POLICY, read).search
    decide(seeker(LM, work_email=EMAIL, name="Bob Ray"), world, NOW, POLICY, read)

    again = decide(seeker(LM, work_email=EMAIL, name="Jane Doe"), world, NOW, POLICY, read)

    assert again.search is first


@pytest.mark.parametrize("order", [lambda s: s, lambda s: list(reversed(s))])
def test_the_order_in_which_searches_are_read_does_not_matter(order: Callable[[Any], Any]) -> None:
    """The newest number is taken."""
    older, newer = ended(**FOUND, days_ago=5), ended(**FOUND, days_ago=2)

    assert fate(seeker(LM, **JANE), *order([older, newer])).search is newer


def test_what_is_taken_teaches() -> None:
    """A contact that takes an answer adds its own facts to the search."""
    search = ended(**FOUND)

    fate(seeker(LM, work_email=EMAIL, name="Jane Doe"), search)

    assert (search.facts.names, search.is_changed) == (["Jane Doe"], True)


def test_a_doubt_is_inherited() -> None:
    """A search that began in doubt cannot end as not_found; a person's retry removes the doubt."""
    assert fate(seeker(BOTH, **JANE), doubted("unknown")).search.is_doubtful
    assert not fate(seeker(BOTH, **JANE, insists=True), doubted("unknown")).search.is_doubtful


def test_a_kept_number_that_is_read_ends_its_search_anew() -> None:
    """All lookups that wait for it, or ended without it, follow."""
    search = ended(numbers={"leadmagic": KEPT}, status="not_found")

    fate(seeker(LM, **JANE, region="GB"), search)

    assert (search.status, search.ended_at, search.is_changed) == ("found", NOW, True)
    assert search.numbers["leadmagic"].mobile == "+447400123456"


@pytest.mark.parametrize("unsettled", [{"said": {"leadmagic": "unknown"}, "status": "unresolved"}, OPEN])
def test_a_key_leads_to_what_is_unsettled_however_many_come_after(unsettled: dict[str, Any]) -> None:
    """Forgotten, an open or a doubtful question would be asked and paid for again."""
    oldest = ended(**unsettled, days_ago=2)
    world = the_world(oldest, *(ended() for _ in range(MOST_LINKS)))

    world.link(only_key(EMAIL), known(work_email=EMAIL), NOW, POLICY)

    links = world.links[only_key(EMAIL)]
    assert (links[0], len(links)) == (oldest.id, MOST_LINKS)


def test_a_key_leads_to_few_searches() -> None:
    """A key keeps the newest 32 searches, and none that is past every window."""
    world = the_world(*(ended(days_ago=91 if n == 0 else 1) for n in range(MOST_LINKS + 2)))
    past = world.links[only_key(EMAIL)][0]

    begun = decide(seeker(LM, work_email=EMAIL, personal_email=OTHER), world, NOW, POLICY, read).search

    assert begun.chain == ()  # the cap: it waits for none, and begins none
    world.link(only_key(EMAIL), known(work_email=EMAIL), NOW, POLICY)
    assert len(world.links[only_key(EMAIL)]) == MOST_LINKS
    assert past not in world.links[only_key(EMAIL)]


def only_key(email: str) -> bytes:
    """The key of this address."""
    return POLICY.hash("email", email)
