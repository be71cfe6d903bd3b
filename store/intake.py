"""Turn events into lookups: a batch in one transaction of two to four statements; ask for each person once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import getitem
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.decide import Fate, Search, Seeker, World, decide
from enrichment.wish import Keys, Policy, Wish, facts_of, keys_of
from store.columns import Columns
from store.database import Db, transaction
from store.deliveries import NEW_DELIVERIES
from store.floods import hold_beyond, let_through
from store.payers import find_payers, pay, share
from store.searches import (
    NEW_SEARCHES,
    SEARCHES,
    answer_row,
    hashes,
    lock_searches,
    new_search_columns,
    read_number,
    save_world,
)
from store.suppressed import suppressed_numbers

OF_A_WISH, OF_A_PROBLEM = 2048, 200  # bytes of memory


@dataclass(frozen=True, slots=True)
class Event:
    """A CRM's message, verbatim, with its wishes: all of them are stored, or none."""

    source: str
    body: bytes = field(repr=False)
    wishes: tuple[Wish, ...]
    id: UUID = field(default_factory=uuid7)
    is_approved: bool = False  # a person saw what it may cost: the flood guard lets it through

    @property
    def size(self) -> int:
        """Return the bytes of memory that it takes, about: a contact's fields and problems are objects, too."""
        return len(self.body) + sum(OF_A_WISH + OF_A_PROBLEM * len(wish.problems) for wish in self.wishes)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The lookup of a wish; the first event's lookup when this event is a *duplicate*."""

    id: UUID
    status: str
    duplicate: bool


async def ingest(pool: asyncpg.Pool[Any], events: Sequence[Event], policy: Policy) -> list[list[Receipt]]:
    """Commit a lookup for every wish of *events*; return a receipt for each, by event and wish.

    Events whose earlier commit went through unheard may come again: they find their own lookups.
    """
    async with transaction(pool, acknowledge=True) as connection:
        return await ingest_in(connection, events, policy)


async def ingest_in(db: Db, events: Sequence[Event], policy: Policy) -> list[list[Receipt]]:
    """Ingest *events* as `ingest` does, inside a transaction that holds no lock of a key, job, search or lookup."""
    if not events:
        return []
    batch = _Batch(events, policy)
    fingerprints, seen, keys, suppressed = await _lock(db, batch)
    locked = await lock_searches(db, keys, but=batch.proposed)
    if suppressed is not None:
        regions = {entry.wish.contact.region for entry in batch.entries}
        locked.world.suppressed = await suppressed_numbers(db, locked.world, regions, policy.hash)
    known = await _known_lookups(db, seen)
    batch.decide(locked.world, fingerprints, known, suppressed or frozenset(), datetime.now(UTC))
    await save_world(db, locked)
    payers = await find_payers(db, batch.waiting(), policy.guards)
    # The last lock, and one for all sources: it orders the intakes of each source.
    wanted = batch.begun() + Counter(payer.source for payer in payers)
    through = await let_through(db, wanted, policy.guards.floods)
    left = batch.hold_floods(through)
    await _insert(db, batch, locked.world, policy.channels)
    await pay(db, share(payers, left))
    return batch.results()


@dataclass(frozen=True, slots=True)
class _Entry:
    event: Event
    wish: Wish
    keys: Keys
    fingerprint: bytes
    new_search: UUID


class _Batch:
    """The wishes of a batch, and what is decided for each, one after the other."""

    def __init__(self, events: Sequence[Event], policy: Policy) -> None:
        self.events = events
        self.entries = [_entry(event, wish, policy) for event in events for wish in event.wishes]
        self.proposed = {entry.new_search for entry in self.entries}
        self.fates: dict[UUID, Fate] = {}
        self._policy = policy
        self._taken: dict[UUID, Receipt] = {}
        self.moved_fingerprints: dict[bytes, UUID] = {}

    def decide(
        self,
        world: World,
        fingerprints: dict[bytes, UUID],
        known: dict[UUID, asyncpg.Record],
        suppressed: frozenset[bytes],
        now: datetime,
    ) -> None:
        """Decide every wish in order, so that it can join the search of an earlier wish of the batch."""
        for entry in self.entries:
            first = fingerprints[entry.fingerprint]
            if first == entry.wish.id and first in known:  # an earlier commit of this event went through unheard
                self._taken[first] = Receipt(first, known[first]["status"], duplicate=False)
                continue
            if first != entry.wish.id:
                if (again := self._duplicate(entry, first, known, now)) is not None:
                    self._taken[entry.wish.id] = again
                    continue
                fingerprints[entry.fingerprint] = self.moved_fingerprints[entry.fingerprint] = entry.wish.id
            contact = entry.wish.contact
            seeker = Seeker(
                entry.wish.id, entry.keys, facts_of(contact, self._policy.hash), entry.wish.providers,
                entry.event.source, contact.region, is_suppressed=not suppressed.isdisjoint(entry.keys.asked),
                new_search=entry.new_search,
            )  # fmt: skip
            fate = decide(seeker, world, now, self._policy, read_number)
            self.fates[entry.wish.id] = fate
            self._taken[entry.wish.id] = Receipt(entry.wish.id, fate.status or "queued", duplicate=False)

    def _duplicate(
        self, entry: _Entry, first: UUID, known: dict[UUID, asyncpg.Record], now: datetime
    ) -> Receipt | None:
        """Return the earlier lookup of the same event, unless it is gone or its answer is too old."""
        if taken := self._taken.get(first):
            return Receipt(taken.id, taken.status, duplicate=True)
        row = known.get(first)
        if row is None or not (entry.wish.event_id or _is_reused(row, now, self._policy)):
            return None
        return Receipt(first, row["status"], duplicate=True)

    def waiting(self) -> list[tuple[UUID, str]]:
        """Return search and source of each lookup that waits for a search that was open before."""
        return [
            (fate.search.id, entry.event.source)
            for entry in self.entries
            if (fate := self.fates.get(entry.wish.id)) and fate.status is None and not fate.search.is_new
        ]

    def begun(self) -> Counter[str]:
        """Count by source the new searches that the flood guard counts."""
        return Counter(search.source for search in self._guarded_searches())

    def hold_floods(self, through: Mapping[str, int]) -> Counter[str]:
        """Hold the new searches beyond those that the flood guard lets *through*; return how many more may pass."""
        left = hold_beyond(self._guarded_searches(), through)
        for search in self._guarded_searches():
            if search.held:
                self._taken[search.begun_for] = Receipt(search.begun_for, "held", duplicate=False)
        return left

    def _guarded_searches(self) -> list[Search]:
        """Return the searches that this batch begins, in the order of its wishes, without approved ones."""
        fates = (self.fates.get(entry.wish.id) for entry in self.entries if not entry.event.is_approved)
        return list({fate.search.id: fate.search for fate in fates if fate and fate.search.is_new}.values())

    def results(self) -> list[list[Receipt]]:
        """Return the receipts, by event."""
        return [[self._taken[wish.id] for wish in event.wishes] for event in self.events]


def _entry(event: Event, wish: Wish, policy: Policy) -> _Entry:
    # The record is part of the fingerprint: one event may have two records of one person.
    event_id, record_id = wish.event_id or "", wish.record_id or ""
    fingerprint = policy.hash("event", event.source, event_id, record_id, wish.fingerprint)
    return _Entry(event, wish, keys_of(wish.contact, wish.record_id, policy.hash), fingerprint, uuid7())


def _is_reused(lookup: asyncpg.Record, now: datetime, policy: Policy) -> bool:
    """Tell whether an event without an id reuses this lookup's answer."""
    match lookup["status"]:
        case "found":
            return bool(lookup["finished_at"] > now - policy.found)
        case "not_found" | "unresolved" | "suppressed":
            return bool(lookup["finished_at"] > now - policy.not_found)
        case "failed" | "cancelled":
            return False
        case _:
            return True


async def _lock(
    db: Db, batch: _Batch
) -> tuple[dict[bytes, UUID], set[UUID], list[asyncpg.Record], frozenset[bytes] | None]:
    """Insert and lock the batch's fingerprints and keys, sorted.

    Return each fingerprint's lookup, the lookups of those that were there before, the key rows, and the suppressed
    hashes of the contacts: None where nothing at all is suppressed.
    """
    fingerprints = {entry.fingerprint: entry.wish.id for entry in reversed(batch.entries)}
    keys: dict[bytes, UUID] = {}
    for entry in batch.entries:
        for key in entry.keys.own:
            keys.setdefault(key, entry.new_search)
    rows = await db.fetch(
        """
        WITH fingerprint AS (
            INSERT INTO fingerprints (fingerprint, lookup_id)
            SELECT * FROM unnest($1::bytea[], $2::uuid[])   -- sorted: two batches cannot wait for each other
                ON CONFLICT (fingerprint) DO UPDATE SET lookup_id = fingerprints.lookup_id
            RETURNING fingerprint, lookup_id, xmax <> 0 AS was_there   -- locked, before it was updated
        ), key AS (
            INSERT INTO keys (key, searches)
            SELECT key, ARRAY[search_id] FROM unnest($3::bytea[], $4::uuid[]) AS new (key, search_id)
                ON CONFLICT (key) DO UPDATE SET shared = keys.shared
            RETURNING key, shared, searches
        )
        SELECT fingerprint AS key, true AS is_fingerprint, was_there, NULL AS shared, ARRAY[lookup_id] AS searches
          FROM fingerprint
        UNION ALL
        SELECT key, false, NULL, shared, searches
          FROM key
        UNION ALL
        SELECT hash, NULL, NULL, NULL, NULL
          FROM suppressions
         WHERE (SELECT EXISTS (SELECT FROM suppressions))   -- usually there are none: then this is all that it costs
           AND hash = ANY($5::bytea[])
        UNION ALL
        SELECT NULL, NULL, NULL, NULL, NULL
         WHERE EXISTS (SELECT FROM suppressions)
        """,
        sorted(fingerprints),
        [fingerprints[fingerprint] for fingerprint in sorted(fingerprints)],
        sorted(keys),
        [keys[key] for key in sorted(keys)],
        list({hash for entry in batch.entries for hash in entry.keys.asked}),
    )
    hits = [row["key"] for row in rows if row["is_fingerprint"] is None]
    suppressed = frozenset(filter(None, hits)) if hits else None
    claimed = {row["key"]: row["searches"][0] for row in rows if row["is_fingerprint"]}
    seen = {row["searches"][0] for row in rows if row["was_there"]}
    return claimed, seen, [row for row in rows if row["is_fingerprint"] is False], suppressed


async def _known_lookups(db: Db, ids: set[UUID]) -> dict[UUID, asyncpg.Record]:
    if not ids:
        return {}
    rows = await db.fetch(
        """
        SELECT lookups.id, lookup_status.status, lookups.finished_at
          FROM lookups
          JOIN lookup_status ON lookup_status.id = lookups.id
         WHERE lookups.id = ANY($1::uuid[])
        """,
        sorted(ids),
    )
    return {row["id"]: row for row in rows}


async def _insert(db: Db, batch: _Batch, world: World, channels: Sequence[str]) -> None:
    """Insert events, lookups, searches and their first jobs; deliveries of lookups that end at once."""
    entries = [entry for entry in batch.entries if entry.wish.id in batch.fates]
    if not entries:
        return
    kept = {entry.event.id: entry.event for entry in entries}.values()
    rows = [_lookup_row(entry, batch.fates[entry.wish.id]) for entry in entries]
    new = [search for search in world.searches.values() if search.is_new]
    await db.execute(
        f"WITH {NEW_SEARCHES}, {EVENTS.cte('event')}, {MOVED.cte('new_fingerprint')}, {LOOKUPS.cte('new')},"
        f" {CHANNELS.cte('channel')}, {_INSERT}, {NEW_DELIVERIES} SELECT",
        *new_search_columns(new),
        *EVENTS.of(list(kept)),
        list(batch.moved_fingerprints),
        list(batch.moved_fingerprints.values()),
        *LOOKUPS.of(rows, getitem),
        list(channels),
    )


EVENTS = Columns(SEARCHES.next, id="uuid", source="text", body="bytea")
MOVED = Columns(EVENTS.next, fingerprint="bytea", lookup_id="uuid")
LOOKUPS = Columns(
    MOVED.next,
    id="uuid", event_id="uuid", source="text", record_id="text", profile_url="text", work_email="text",
    personal_email="text", name="text", company="text", region_hint="text", providers="text", problems="text",
    keys="text", identifiers="text", search_id="uuid", reused_from="uuid", status="text", mobile="text",
    mobile_raw="text", region="text", line_type="text", provider="text", reason="text",
)  # fmt: skip
CHANNELS = Columns(LOOKUPS.next, name="text")
_INSERT = """
    inserted_event AS (
        INSERT INTO events (id, source, body)
        SELECT id, source, body FROM event
    ), moved AS (
        UPDATE fingerprints
           SET lookup_id = new.lookup_id
          FROM new_fingerprint AS new
         WHERE fingerprints.fingerprint = new.fingerprint
    ), changed_lookup AS (
        INSERT INTO lookups (id, event_id, source, record_id, profile_url, work_email, personal_email, name, company,
                             region_hint, providers, problems, keys, identifiers, search_id, reused_from,
                             final_status, finished_at, mobile, mobile_raw, region, line_type, provider, reason)
        SELECT id, event_id, source, record_id, profile_url, work_email, personal_email, name, company,
               region_hint, string_to_array(providers, ','), problems::jsonb, keys::bytea[], identifiers::bytea[],
               search_id, reused_from, status::final_status, CASE WHEN status IS NOT NULL THEN now() END,
               mobile, mobile_raw, region, line_type, provider, reason
          FROM new
        RETURNING id, source, record_id, final_status
    )
"""


def _lookup_row(entry: _Entry, fate: Fate) -> dict[str, Any]:
    wish, contact = entry.wish, entry.wish.contact
    return {
        "id": wish.id,
        "event_id": entry.event.id,
        "source": entry.event.source,
        "record_id": wish.record_id,
        "profile_url": contact.profile_url,
        "work_email": contact.work_email,
        "personal_email": contact.personal_email,
        "name": contact.name,
        "company": contact.company,
        "region_hint": contact.region,
        "providers": ",".join(wish.providers),
        "problems": json.dumps(list(wish.problems)) if wish.problems else None,
        "keys": hashes(entry.keys.own),
        "identifiers": hashes(entry.keys.identifiers),
        "search_id": fate.search.id,
        "reused_from": None if fate.search.begun_for == wish.id else fate.search.begun_for,
    } | answer_row(fate)
