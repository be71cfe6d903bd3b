"""Events become lookups and first jobs: a whole batch in one transaction, each person asked for once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.contact import Contact
from enrichment.identity import Follow, Lead, Leader, ReusePolicy, Take, decide, person_keys
from store.database import ACQUIRE_TIMEOUT, Db
from store.followers import end_followers
from store.keys import claim_keys, follow, lock_leaders, move_keys


@dataclass(frozen=True, slots=True)
class Wish:
    """One contact of an event, checked: who is looked for, for which record, and who can be asked."""

    contact: Contact
    record_id: str | None
    event_key: bytes  # the same event again has the same key
    providers: tuple[str, ...]
    problems: tuple[tuple[str, str], ...] = ()  # (path, message) of each field that could not be used


@dataclass(frozen=True, slots=True)
class Event:
    """A CRM's message, verbatim, with the wishes in it: all are stored, or none."""

    source: str
    body: bytes
    wishes: tuple[Wish, ...]
    id: UUID = field(default_factory=uuid7)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a wish: its lookup."""

    id: UUID
    status: str
    duplicate: bool


async def ingest(pool: asyncpg.Pool[Any], events: Sequence[Event], policy: ReusePolicy) -> list[list[Taken]]:
    """Every wish of *events* has its lookup, committed; the lookups are returned, event by event, wish by wish."""
    batch = _Batch(events)
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection, connection.transaction():
        batch.claimed, batch.before = await claim_keys(connection, batch.proposed)
        strangers = set(batch.claimed.values()) - batch.ids
        if strangers:
            batch.statuses = await _statuses(connection, strangers)
            batch.leaders = await lock_leaders(connection, batch.speakers - batch.ids)
        batch.decide(datetime.now(UTC), policy)
        await _insert(connection, events, batch)
        await follow(connection, batch.new_followers)
        await move_keys(connection, batch.moved, batch.dropped)
        if batch.takes:
            await end_followers(connection, batch.takes)
    return batch.results()


class _Batch:
    """The wishes of a batch while their fates are decided, one after the other."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.entries = [(uuid7(), event, wish, person_keys(wish.contact)) for event in events for wish in event.wishes]
        self.ids = {id for id, _, _, _ in self.entries}
        self.proposed: dict[bytes, UUID] = {}
        for id, _, wish, keys in self.entries:
            for key in (wish.event_key, *keys):
                self.proposed.setdefault(key, id)
        self.claimed: dict[bytes, UUID] = {}
        self.before: dict[bytes, UUID] = {}
        self.statuses: dict[UUID, str] = {}
        self.leaders: dict[UUID, Leader] = {}
        self.taken: dict[UUID, Taken] = {}
        self.inserted: dict[UUID, tuple[Event, Wish, Lead | Follow | Take]] = {}
        self.followed: Counter[UUID] = Counter()
        self.takes: list[UUID] = []
        self.moved: dict[bytes, UUID] = {}
        self.dropped: list[bytes] = []

    @property
    def speakers(self) -> set[UUID]:
        """Whoever speaks, or spoke, for one of these people."""
        person = {key for _, _, _, keys in self.entries for key in keys}
        return {self.claimed[key] for key in person} | set(self.before.values())

    def decide(self, now: datetime, policy: ReusePolicy) -> None:
        """Every wish has its fate; in order, so that a wish can follow an earlier one of its own batch."""
        speaks = dict(self.claimed)
        for id, event, wish, keys in self.entries:
            first = speaks[wish.event_key]
            # A key whose lookup was dropped with its month leads nowhere: then the event is new.
            if first != id and (first in self.taken or first in self.statuses):
                known = self.taken.get(first)
                self.taken[id] = Taken(first, known.status if known else self.statuses.get(first, "queued"), True)
                continue
            heard = {speaks[key] for key in keys} | {self.before[key] for key in keys if key in self.before}
            fate = decide(keys, [self.leaders[id] for id in heard if id in self.leaders], now, policy)
            speaker = id
            status = "queued"
            match fate:
                case Lead():
                    self.leaders[id] = Leader(id, keys)
                    speaks.update(dict.fromkeys(keys, id))
                case Follow(leader):
                    speaker = leader.id
                    self.followed[leader.id] += 1
                case Take(leader):
                    speaker = leader.id
                    status = leader.final_status or status
                    self.takes.append(id)
            for key in keys:
                if speaks[key] not in self.leaders:
                    speaks[key] = speaker
            speaks[wish.event_key] = id
            self.inserted[id] = (event, wish, fate)
            self.taken[id] = Taken(id, status, False)
        self.moved = {
            key: to
            for key, to in speaks.items()
            if to != self.claimed[key] and (to in self.leaders or to in self.inserted)
        }
        self.dropped = [key for key, to in speaks.items() if to in self.ids and to not in self.inserted]

    @property
    def new_followers(self) -> Counter[UUID]:
        """How many new followers each leader of earlier batches has."""
        return Counter({id: n for id, n in self.followed.items() if id not in self.inserted})

    def results(self) -> list[list[Taken]]:
        """The fates, event by event."""
        fates = iter(self.taken[id] for id, _, _, _ in self.entries)
        return [[next(fates) for _ in event.wishes] for event in self.events]


async def _statuses(db: Db, ids: Iterable[UUID]) -> dict[UUID, str]:
    rows = await db.fetch("SELECT id, status FROM lookup_status WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"]: row["status"] for row in rows}


async def _insert(db: Db, events: Sequence[Event], batch: _Batch) -> None:
    """-> queued: events, lookups and the first jobs of those that lead are written."""
    if not batch.inserted:
        return
    stored = {event.id for event, _, _ in batch.inserted.values()}
    kept = [event for event in events if event.id in stored]
    rows = [
        (
            id, event.id, event.source, wish.record_id,
            wish.contact.profile_url, wish.contact.work_email, wish.contact.personal_email,
            wish.contact.name, wish.contact.company, wish.contact.region, ",".join(wish.providers),
            None if isinstance(fate, Lead) else fate.leader.id,
            isinstance(fate, Follow) and fate.brings_more,
            batch.followed[id],
            uuid7() if isinstance(fate, Lead) else None,
        )
        for id, (event, wish, fate) in batch.inserted.items()
    ]  # fmt: skip
    await db.execute(
        """
        WITH event AS (
            INSERT INTO events (id, source, body)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])
        ), new AS (
            SELECT *, string_to_array(providers, ',') AS chain
              FROM unnest($4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                          $11::text[], $12::text[], $13::text[], $14::text[], $15::uuid[], $16::bool[], $17::int[],
                          $18::uuid[])
                AS new (id, event_id, source, record_id, profile_url, work_email, personal_email,
                        name, company, region_hint, providers, reused_from, brings_more, followers, job_id)
        ), lookup AS (
            INSERT INTO lookups (id, event_id, source, record_id, profile_url, work_email, personal_email,
                                 name, company, region_hint, providers, reused_from, brings_more, followers)
            SELECT id, event_id, source, record_id, profile_url, work_email, personal_email,
                   name, company, region_hint, chain, reused_from, brings_more, followers
              FROM new
        )
        INSERT INTO jobs (id, lookup_id, provider, todo)
        SELECT job_id, id, chain[1], chain[2:]
          FROM new
         WHERE job_id IS NOT NULL
        """,
        [event.id for event in kept],
        [event.source for event in kept],
        [event.body for event in kept],
        *map(list, zip(*rows, strict=True)),
    )
