"""The promises that must hold at the end of a run, checked by the true identities and the vendors' books."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.contact import Contact
from enrichment.facts import names_agree
from enrichment.wish import Policy, profile_key
from tests.model.journal import COVERING, Journal, Question
from tests.model.people import Town, human_of, identifiers

NUMBERLESS = ("not_found", "failed", "unresolved")


@dataclass(frozen=True)
class Ended:
    """The rows after the run, and the actors' journal."""

    town: Town
    policy: Policy
    journal: Journal
    lookups: dict[UUID, asyncpg.Record]
    searches: dict[UUID, asyncpg.Record]
    shared: set[bytes]
    jobs: int
    finished: dict[UUID, asyncpg.Record]
    events: set[UUID]


async def read_ended(pool: asyncpg.Pool[Any], town: Town, policy: Policy, journal: Journal) -> Ended:
    """Read all rows."""
    return Ended(
        town,
        policy,
        journal,
        {row["id"]: row for row in await pool.fetch("SELECT * FROM lookups")},
        {row["id"]: row for row in await pool.fetch("SELECT * FROM searches")},
        {row["key"] for row in await pool.fetch("SELECT key FROM keys WHERE shared")},
        await pool.fetchval("SELECT count(*) FROM jobs"),
        {row["id"]: row for row in await pool.fetch("SELECT * FROM finished_jobs")},
        {row["id"] for row in await pool.fetch("SELECT id FROM events")},
    )


def violations(end: Ended) -> list[str]:
    """Return every breach of a promise."""
    rules = (
        _accepted_events, _nothing_waits, _numbers_are_their_searches, _nobody_gets_a_strangers_number, _no_hearsay,
        _wrong_numbers_stay_wrong, _numbers_reach_all_they_may, _nothing_is_asked_twice, _ledger,
    )  # fmt: skip
    return [found for rule in rules for found in rule(end)]


def contact_of(lookup: asyncpg.Record) -> Contact:
    """Return the lookup's contact."""
    fields = ("profile_url", "work_email", "personal_email", "name", "company")
    return Contact(**{field: lookup[field] for field in fields}, region=lookup["region_hint"])


def _accepted_events(end: Ended) -> Iterator[str]:
    """Check that every accepted event has its lookup, and that a repeated event has the same one."""
    by_number: dict[int, list[Any]] = defaultdict(list)
    for sent in end.journal.sent:
        by_number[sent.number].append(sent)
        lookup = end.lookups.get(sent.lookup_id)
        if lookup is None or lookup["event_id"] not in end.events:
            yield f"an accepted event is nowhere: {sent}"
        elif lookup["record_id"].partition(":")[2] != str(sent.number):
            yield f"an event has another's lookup: {sent}"
    for number, all_sent in by_number.items():
        made = [sent for sent in all_sent if not sent.is_duplicate]
        if not made:
            yield f"every event {number} is a duplicate"
        if end.town.wish(number).event_id is None:  # after a failure, or after the windows, it is a new one
            made = [sent for sent in made if any(sent is not one and sent.overlaps(one) for one in made)]
        if len({sent.lookup_id for sent in made}) > 1:
            yield f"one event made two lookups: {made}"


def _nothing_waits(end: Ended) -> Iterator[str]:
    if end.jobs:
        yield f"{end.jobs} questions are open for ever"
    for lookup in end.lookups.values():
        if lookup["final_status"] is None:
            search = end.searches.get(lookup["search_id"])
            yield f"a lookup waits for ever: {lookup['id']}, its search {search and search['status']}"
    for search in end.searches.values():
        if search["ended_at"] is None or search["unswept"]:
            yield f"a search is never swept: {search['id']} {search['status']}"


def _numbers_are_their_searches(end: Ended) -> Iterator[str]:
    """Check that each number is the search's, from a provider that the lookup names."""
    for lookup in end.lookups.values():
        if lookup["mobile"] is None:
            continue
        number = json.loads(end.searches[lookup["search_id"]]["numbers"]).get(lookup["provider"], {})
        if number.get("mobile") != lookup["mobile"]:
            yield f"a number that its search has not: {lookup['id']}"
        if lookup["provider"] not in lookup["providers"]:
            yield f"a number of a provider that was not named: {lookup['id']}"


def _nobody_gets_a_strangers_number(end: Ended) -> Iterator[str]:
    """Check that a wrong number is only ever a vendor's error about the contact, or about the one asked."""
    for lookup, begun_for in _found(end):
        owner, human = human_of(lookup["mobile"]), int(lookup["record_id"].partition(":")[0])
        mine, asked = contact_of(lookup), contact_of(begun_for)
        meant = {holder for text in identifiers(mine) + identifiers(asked) for holder in end.town.holders[text]}
        if owner == human or owner in meant:
            continue
        if identifiers(asked):  # by a name alone the vendor may mean any person
            yield f"a stranger's number: {_shown(mine)} has the number of {owner}"


def _no_hearsay(end: Ended) -> Iterator[str]:
    """Check that a lookup itself holds a key that was asked, and does not contradict the contact asked about."""
    for lookup, begun_for in _found(end):
        mine, asked = contact_of(lookup), contact_of(begun_for)
        if not set(lookup["keys"]) & set(end.searches[lookup["search_id"]]["asked"]):
            yield f"hearsay: {_shown(mine)} has the number of {_shown(asked)}"
        if lookup["id"] != begun_for["id"] and _contradict(end, mine, asked):
            yield f"two who contradict each other share: {_shown(mine)} and {_shown(asked)}"


def _found(end: Ended) -> Iterator[tuple[asyncpg.Record, asyncpg.Record]]:
    """Yield each lookup with a number, and the lookup whose contact was asked about."""
    for lookup in end.lookups.values():
        if lookup["mobile"] is not None:
            yield lookup, end.lookups[end.searches[lookup["search_id"]]["begun_for"]]


def _contradict(end: Ended, one: Contact, other: Contact) -> bool:
    """Tell by the oracle's own rules whether two contacts cannot be one person.

    A contact with a profile has every name that is known at it, not only the one of its record.
    """
    if one.profile_url and one.profile_url == other.profile_url:
        return False
    if (one.slug and other.slug) or (one.member and other.member):
        return True
    names, others = _names(end, one), _names(end, other)
    return bool(names and others) and not any(names_agree(a, b) for a in names for b in others)


def _names(end: Ended, contact: Contact) -> set[str]:
    """Return the contact's name, and those that searches know at its profile."""
    known = {contact.name} if contact.name else set()
    if known and (key := profile_key(contact, end.policy.hash)):
        known.update(name for search in end.searches.values() if key in search["keys"] for name in search["names"])
    return known


def _shown(contact: Contact) -> str:
    return " ".join(filter(None, (*identifiers(contact), contact.name)))


def _wrong_numbers_stay_wrong(end: Ended) -> Iterator[str]:
    """Check that a number that a person called wrong is not given again."""
    for lookup in end.lookups.values():
        if lookup["mobile"] is None:
            continue
        if lookup["mobile"] in lookup["refused"]:
            yield f"a number was given again to the lookup that refused it: {lookup['id']}"
        since = end.journal.wrong.get((lookup["search_id"], lookup["mobile"]))
        if since is not None and lookup["finished_at"].timestamp() > since:
            yield f"a wrong number was given again: {lookup['id']}"


def _numbers_reach_all_they_may(end: Ended) -> Iterator[str]:
    """Check that a number reaches every lookup that holds a key, names the provider, and has none (rule 9)."""
    by_key: dict[bytes, list[asyncpg.Record]] = defaultdict(list)
    for lookup in end.lookups.values():
        if lookup["final_status"] in NUMBERLESS:
            for key in lookup["keys"]:
                by_key[key].append(lookup)
    now = datetime.now(UTC)
    wrong: dict[bytes, set[str]] = defaultdict(set)
    for search in end.searches.values():
        for key in search["keys"]:
            wrong[key].update(search["wrong"])
    for search in end.searches.values():
        numbers = json.loads(search["numbers"])
        usable = {p: n["mobile"] for p, n in numbers.items() if n.get("mobile") not in (None, *search["wrong"])}
        if not usable or now - search["ended_at"] > end.policy.found or search["id"] in end.journal.aged:
            continue
        for lookup in {row["id"]: row for key in search["keys"] for row in by_key[key]}.values():
            in_window = lookup["final_status"] != "not_found" or (
                lookup["finished_at"] > search["ended_at"] - end.policy.not_found
            )
            # A number reported wrong at another search of the contact's keys is not taken either.
            refused = set().union(lookup["refused"], *(wrong[key] for key in lookup["keys"]))
            may = {usable[name] for name in lookup["providers"] if name in usable} - refused
            if may and in_window and lookup["id"] not in end.journal.aged_lookups:
                yield (
                    f"a number was not given: {lookup['id']} ({lookup['final_status']}, {lookup['reason']}) "
                    f"holds a key of {search['id']}"
                )


def _nothing_is_asked_twice(end: Ended) -> Iterator[str]:
    """Check that no question is repeated while in doubt or in flight, nor the same or less within the window."""
    by_key: dict[tuple[bytes, str], list[Question]] = defaultdict(list)
    for question in end.journal.questions.values():
        for key in set(end.searches[question.search_id]["keys"]) - end.shared:
            by_key[key, question.provider].append(question)
    said = set()
    for questions in by_key.values():
        for earlier in questions:
            for later in questions:
                told = _asked_twice(end, earlier, later)
                if told and (earlier.job_id, later.job_id) not in said:
                    said.add((earlier.job_id, later.job_id))
                    yield told


def _asked_twice(end: Ended, earlier: Question, later: Question) -> str | None:
    before, after = end.searches[earlier.search_id], end.searches[later.search_id]
    if before["id"] >= after["id"] or after["is_retry"] or before["id"] in end.journal.aged:
        return None
    # The search was decided upon after its id was made, and before it was first asked.
    began = (after["id"].int >> 80) / 1000
    until = min(telling.began for telling in later.tellings)
    known = earlier.known_during(began, until)
    if known not in COVERING:
        return None
    if known == "nothing":
        covers = set(end.lookups[after["begun_for"]]["identifiers"]) <= set(before["asked"])
    else:
        covers = not set(before["asked"]) <= _answered_since(end, earlier, set(after["keys"]), until)
    if not covers:
        return None
    return f"{later.provider} was asked again ({known}): {later.job_id} after {earlier.job_id}"


def _answered_since(end: Ended, earlier: Question, keys: set[bytes], until: float) -> set[bytes]:
    """Return all that the provider may have answered until then, in newer searches of these keys: a retry's, say.

    An answer about all that was asked ends the doubt about it.
    """
    asked: set[bytes] = set()
    for question in end.journal.questions.values():
        search = end.searches[question.search_id]
        is_newer = question.provider == earlier.provider and search["id"] > earlier.search_id
        told = (telling.outcome for telling in question.tellings if telling.began < until)
        if is_newer and keys & set(search["keys"]) and {"nothing", "number"}.intersection(told):
            asked |= set(search["asked"])
    return asked


def _ledger(end: Ended) -> Iterator[str]:
    """Check, job by job, that the vendor's bill lies between charged, and charged plus possibly charged."""
    for question in end.journal.questions.values():
        job = end.finished.get(question.job_id)
        if job is None:  # one that was sent back may be dropped: it cost nothing
            if question.charged or question.tellings[-1].outcome != "requeued":
                yield f"a question has no finished job: {question.job_id}"
        elif not job["credits"] <= question.charged <= job["credits"] + job["possible"]:
            yield f"charged {question.charged}, booked {job['credits']} + {job['possible']}: {question.job_id}"
