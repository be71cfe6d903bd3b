"""Decide what a lookup does, given the searches of its keys: take a number, wait for a search, begin one, or end.

Pure. `store/searches.py` reads the world under lock and writes the changes. Searches are the only record of a person;
a search's answer is for lookups that themselves hold one of its keys (docs/decisions.md, "No hearsay").

    known under the contact's keys                                  the lookup
    the contact is suppressed                                       ends: suppressed; nothing is learned from it
    a number that is suppressed                                     ends: suppressed
    a number of the reuse window, by a provider it names            takes it: found
    an open search                                                  waits for it
    an answer that was not kept, because it was suppressed          ends: suppressed
    some of its providers are not covered                           begins a search that asks those
    all are covered, one of them in doubt                           ends: unresolved
    all are covered by "no number"                                  ends: not_found
    six searches in the window already                              ends: not_found or unresolved, with that reason

A provider is covered when it answered "no number" to all identifiers of the contact within the window, or when its
answer is unknown, lost, or still to come, however long ago it was asked: asking again might pay twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from uuid_utils.compat import uuid7

from enrichment.ending import REMOVED
from enrichment.facts import Facts, contradict
from enrichment.states import SearchStatus
from enrichment.wish import Keys, Policy

MOST_SEARCHES = 6  # for one contact's keys within the window, retries not counted
MOST_LINKS = 32  # searches that a key leads to
ASKED_OFTEN = f"asked {MOST_SEARCHES} times for this contact already; retry asks again"
NOBODY_LEFT = "the number was reported wrong, and no other provider is left to ask"
SUPPRESSED = "suppressed"
STILL_ASKED = "a provider has yet to answer; retry asks again"
IN_DOUBT = ("unknown", "lost")


@dataclass(frozen=True, slots=True)
class Number:
    """One provider's number. *mobile* is None where *raw* could not be read."""

    mobile: str | None = field(repr=False)
    raw: str | None = field(default=None, repr=False)
    region: str | None = None
    line_type: str | None = None
    needs_region: bool = False  # *raw* is a national number: a later region may read it


@dataclass(slots=True)
class Search:
    """The paid work on one contact's identifiers, and its results; open while *ended_at* is None."""

    id: UUID
    begun_for: UUID  # the lookup whose contact is asked about
    keys: set[bytes]  # its answer is shared under these
    asked: set[bytes]  # identifiers that its providers were asked about
    providers: tuple[str, ...]
    facts: Facts
    said: Mapping[str, str] = field(default_factory=dict)  # provider -> the state in which its job ended, or "asked"
    numbers: dict[str, Number] = field(default_factory=dict)  # by provider
    wrong: set[str] = field(default_factory=set, repr=False)  # numbers that a person reported wrong: never given
    is_doubtful: bool = False  # it began while another answer was in doubt
    is_retry: bool = False  # a person asked for it
    status: SearchStatus | None = None
    reason: str | None = None
    ended_at: datetime | None = None
    chain: tuple[str, ...] = ()  # of a new search: the providers that it asks
    source: str = ""  # of a new search: whose budget pays for it
    held: str | None = None  # of a new search: why its first job is held
    is_new: bool = False
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class Seeker:
    """A lookup that seeks a number: a new one, or one that is decided anew.

    *insists*: a person retried it, so doubtful providers are asked too. *refused*: the numbers that a person reported
    wrong at this lookup.
    """

    id: UUID
    keys: Keys
    facts: Facts
    providers: tuple[str, ...]
    source: str  # the source of the wish; its budget pays
    region: str | None = None
    insists: bool = False
    refused: frozenset[str] = field(default=frozenset(), repr=False)
    is_suppressed: bool = False  # a person forbade every question about this contact
    new_search: UUID = field(default_factory=uuid7)  # the id of the search that it may begin


@dataclass(frozen=True, slots=True)
class Fate:
    """The decision about a lookup: it waits for *search* while *status* is None."""

    search: Search
    status: Literal["found", "not_found", "unresolved", "suppressed"] | None = None
    provider: str | None = None  # the provider of the number that it takes
    number: Number | None = None
    reason: str | None = None


ReadNumber = Callable[[str, str], Number | None]  # a stored text and a region -> the number, if it can be read now


@dataclass
class World:
    """The searches and links of the keys of a batch, all of them locked; `decide` changes them."""

    links: dict[bytes, list[UUID]]  # key -> the searches that know it, the newest last
    shared: set[bytes]  # addresses of more than one person: no longer keys
    searches: dict[UUID, Search]
    suppressed: frozenset[str] = field(default=frozenset(), repr=False)  # numbers of these searches: never given

    def knowing(self, key: bytes) -> list[Search]:
        """Return the searches whose facts bear on *key*."""
        return [search for id in self.links.get(key, ()) if (search := self.searches.get(id))]

    def answering(self, key: bytes) -> list[Search]:
        """Return the searches whose own contact has *key*: their answers are shared under it."""
        return [search for search in self.knowing(key) if key in search.keys]

    def begun(self) -> list[Search]:
        """Return the new searches that no person asked for."""
        return [search for search in self.searches.values() if search.is_new and not search.is_retry]

    def share(self, key: bytes) -> None:
        """Stop using *key* as a key: people who contradict each other have this address."""
        for search in self.answering(key):
            search.keys.discard(key)
            search.is_changed = True
        self.shared.add(key)
        self.links[key] = []

    def link(self, key: bytes, search: Search, now: datetime, policy: Policy) -> None:
        """Let *key* lead to *search*; forget searches past every window, and settled ones where there are many."""
        links = self.links.setdefault(key, [])
        if search.id in links:
            return
        kept = [id for id in links if (known := self.searches.get(id)) and not _is_past(known, now, policy)]
        while len(kept) >= MOST_LINKS:
            kept.remove(next((id for id in kept if _is_settled(self.searches[id])), kept[0]))
        self.links[key] = [*kept, search.id]


def decide(seeker: Seeker, world: World, now: datetime, policy: Policy, read: ReadNumber) -> Fate:
    """Decide what *seeker* does, and record in *world* what its contact says about the person."""
    if seeker.is_suppressed:  # its search never begins, and is not stored
        never = Search(seeker.new_search, seeker.id, set(), set(seeker.keys.asked), seeker.providers, Facts())
        return Fate(never, "suppressed", reason=SUPPRESSED)
    me = Facts(seeker.facts.slug, seeker.facts.member, list(seeker.facts.names))
    for search in _each(world.knowing(key) for key in sorted(seeker.keys.sure)):
        me.learn(search.facts)
    _share_contested(seeker.keys, me, world)
    keys = seeker.keys.own - world.shared
    for search in _each(world.knowing(key) for key in sorted(keys)):  # one person with this contact from now on
        search.is_changed |= search.facts.learn(me)
    fate = _fate(seeker, keys, me, world, now, policy, read)
    for key in keys:
        world.link(key, fate.search, now, policy)
    return fate


def _share_contested(keys: Keys, me: Facts, world: World) -> None:
    """Mark as shared every address that leads to a contradiction, and two that lead to contradicting people."""
    emails = [key for key in keys.emails if key not in world.shared]
    for key in emails:
        # The same profile held by both outweighs names; a search that holds the profile cannot contradict.
        others = (search for search in world.knowing(key) if not search.keys & keys.sure)
        if any(contradict(me, search.facts) for search in others):
            world.share(key)
    if len(emails) == 2:
        one, other = (world.knowing(key) for key in emails)
        if any(contradict(a.facts, b.facts) for a in one for b in other):
            world.share(emails[0])
            world.share(emails[1])


def _fate(
    seeker: Seeker, keys: frozenset[bytes], me: Facts, world: World, now: datetime, policy: Policy, read: ReadNumber
) -> Fate:
    touching = [search for search in _each(world.answering(key) for key in sorted(keys)) if not _is_dropped(search)]
    touching.sort(key=lambda search: search.id, reverse=True)
    recent = [search for search in touching if search.ended_at and search.ended_at > now - policy.not_found]
    known = _number_to_take(seeker, touching, world, now, policy, read) or _search_to_join(seeker, touching, recent)
    if known is not None:
        return known
    # A provider taken out of PROVIDERS is not asked; a number that it gave before is taken all the same.
    asking = tuple(name for name in seeker.providers if name in policy.providers) or seeker.providers
    unanswered = [name for name in asking if not _has_answered(name, seeker, recent)]
    doubts = {name: doubted for name in unanswered if (doubted := _doubt(name, seeker, touching))}
    doubtful = next(iter(doubts.values()), None)
    # The provider of a wrong number would give it again, to any seeker.
    wrong = _wrong_numbers(seeker, touching, now, policy)
    missing = tuple(name for name in unanswered if name not in doubts and name not in wrong)
    gave = [wrong[name] for name in asking if name in wrong]
    if not missing and not doubtful and ((seeker.insists and seeker.refused) or gave):
        return Fate((gave or touching)[0], "not_found", reason=NOBODY_LEFT)
    if (recent or doubtful) and not (seeker.insists and missing):
        ended = doubtful or next((search for search in recent if search.status == "not_found"), recent[0])
        status: Literal["not_found", "unresolved"] = "unresolved" if doubtful else "not_found"
        if not missing or (policy.stops_in_doubt and doubtful):
            return Fate(ended, status, reason=ended.reason or (STILL_ASKED if doubtful else None))
        if sum(not search.is_retry for search in recent) >= MOST_SEARCHES:
            return Fate(ended, status, reason=ASKED_OFTEN)
    begun = _begin(seeker, keys, me, missing, touching, world, doubtful is not None)
    if removed := [name for name in seeker.providers if name not in asking]:
        begun.reason = f"{', '.join(removed)}: {REMOVED}"
    return Fate(begun)


def _number_to_take(
    seeker: Seeker, touching: Sequence[Search], world: World, now: datetime, policy: Policy, read: ReadNumber
) -> Fate | None:
    """Return the fate of a seeker for whom a number of the window is there: to take, or suppressed."""
    wrong = seeker.refused.union(*(search.wrong for search in touching))
    for search in touching:
        if search.ended_at is not None and search.ended_at <= now - policy.found:
            continue
        for provider in seeker.providers:
            number = search.numbers.get(provider)
            if number is None or search.ended_at is None:
                continue
            if number.needs_region and number.raw and seeker.region and (known := read(number.raw, seeker.region)):
                if known.mobile in world.suppressed:
                    return Fate(search, "suppressed", reason=SUPPRESSED)
                search.numbers[provider] = number = known
                search.status, search.ended_at, search.is_changed = "found", now, True
            if number.mobile in world.suppressed:
                return Fate(search, "suppressed", reason=SUPPRESSED)
            if number.mobile is not None and number.mobile not in wrong:
                return Fate(search, "found", provider, number)
    return None


def _search_to_join(seeker: Seeker, touching: Iterable[Search], recent: Iterable[Search]) -> Fate | None:
    """Return the fate of a seeker for whom a search is open, or ended with an answer that was not kept."""
    if (waited_for := next((search for search in touching if search.ended_at is None), None)) is not None:
        return Fate(waited_for)
    for search in recent:
        if search.status == "suppressed" and not seeker.insists and set(seeker.providers) <= set(search.providers):
            return Fate(search, "suppressed", reason=SUPPRESSED)
    return None


def _is_dropped(search: Search) -> bool:
    """Tell whether *search* ended before it asked any provider, so that it means nothing to others."""
    return search.status == "dropped" or (search.status == "suppressed" and not search.said)


def _has_answered(provider: str, seeker: Seeker, recent: Iterable[Search]) -> bool:
    """Tell whether *provider* answered "no number" for all identifiers of the seeker."""
    answered = [search.asked for search in recent if _said_no_number(provider, search)]
    return bool(answered) and seeker.keys.identifiers <= set().union(*answered)


def _said_no_number(provider: str, search: Search) -> bool:
    number = search.numbers.get(provider)
    return search.said.get(provider) == "answered" and (number is None or number.mobile is None)


def _doubt(provider: str, seeker: Seeker, newest_first: Iterable[Search]) -> Search | None:
    """Return the search in which *provider* was asked with an unknown answer: asking again might pay twice.

    Time does not end a doubt; a later answer of the same provider about all identifiers does.
    """
    feared = ("asked",) if seeker.insists else ("asked", *IN_DOUBT)
    answered: set[bytes] = set()
    for search in newest_first:
        said = search.said.get(provider)
        if said in feared and not search.asked <= answered:
            return search
        if said == "answered":
            answered |= search.asked
    return None


def _wrong_numbers(seeker: Seeker, touching: Sequence[Search], now: datetime, policy: Policy) -> dict[str, Search]:
    """Return the providers whose number was reported wrong within the window of numbers, each with its search."""
    wrong = seeker.refused.union(*(search.wrong for search in touching))
    return {
        name: search
        for search in touching
        if search.ended_at is None or search.ended_at > now - policy.found
        for name, number in search.numbers.items()
        if number.mobile in wrong
    }


def _begin(
    seeker: Seeker,
    keys: frozenset[bytes],
    me: Facts,
    chain: tuple[str, ...],
    touching: Sequence[Search],
    world: World,
    is_doubtful: bool,
) -> Search:
    """Begin a search for *seeker* that asks *chain*; it inherits the facts of searches of the same keys.

    It also inherits their wrong numbers, so that no provider's answer brings one back.
    """
    facts = Facts(me.slug, me.member, list(me.names))
    for search in touching:
        facts.learn(search.facts)
    begun = Search(
        id=seeker.new_search,
        begun_for=seeker.id,
        keys=set(keys),
        asked=set(seeker.keys.asked),
        providers=seeker.providers,
        facts=facts,
        wrong=set().union(seeker.refused, *(search.wrong for search in touching)),
        is_doubtful=is_doubtful and not seeker.insists,
        is_retry=seeker.insists,
        chain=chain,
        source=seeker.source,
        is_new=True,
    )
    world.searches[begun.id] = begun
    return begun


def _each(groups: Iterable[Iterable[Search]]) -> Iterable[Search]:
    """Return every search once. A world holds one object for each."""
    return {id(search): search for group in groups for search in group}.values()


def _is_settled(search: Search) -> bool:
    """Tell whether *search* has ended without a doubt: forgetting it loses an answer, but pays for none twice."""
    return search.ended_at is not None and not {"asked", *IN_DOUBT}.intersection(search.said.values())


def _is_past(search: Search, now: datetime, policy: Policy) -> bool:
    """Tell whether *search* is past every window, and no late answer can come."""
    if search.ended_at is None or any(state != "answered" for state in search.said.values()):
        return False
    return search.ended_at < now - max(policy.found, policy.not_found)
