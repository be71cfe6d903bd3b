"""Erase people: every lookup of theirs, and all that was kept for it. The sums of the ledger stay.

    who is erased                 the lookups that hold the e-mail, the profile or the number; nothing is inferred
    their events                  the contacts are taken out of the bodies; a body that cannot be read is emptied
    searches, jobs, callbacks     deleted; of each job a hashed tombstone stays, so that a late callback is not stored
    searches that others share    go on without the person; a question not yet asked is dropped, and they ask their own
    readings, deliveries          deleted, with the answers of the other side
    rows of campaigns             their keys are deleted; an upload that holds one of them is, too
    ledger, usage                 stay: they have no personal data. What was asked, and is open, was perhaps charged

Every chunk is one commit, and nothing is remembered between two: after an interruption, erase again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.forgetting import Person, Record, names, without
from enrichment.reading import MERGED_INTO
from enrichment.suppression import Identifier
from enrichment.wish import Policy
from store.database import transaction
from store.endings import follow_ends
from store.erased_files import erase_rows_with, erase_uploads_naming
from store.erased_rows import TRIES, Chunk, contact_of, erase_callbacks, erase_within, save_bodies
from store.erased_words import forget_words
from store.lookups import decide_again
from store.suppressions import end_waiting, suppress

LOOKED_AT = 5000  # lookups of one statement
BODIES_AT_ONCE = 200  # events of one statement; many of their bodies may have to be read here
ERASED_AT_ONCE = 50  # lookups of one commit
FIRST, NEWEST = UUID(int=0), UUID(int=2**128 - 1)


@dataclass(slots=True)
class Erased:
    """How much was erased, by kind; of a preview, how much would be."""

    lookups: int = 0
    events: int = 0
    numbers: int = 0
    searches: int = 0
    jobs: int = 0
    callbacks: int = 0
    readings: int = 0
    deliveries: int = 0
    suppressions: int = 0
    person: Person = field(default_factory=Person, repr=False)

    def add(self, chunk: Chunk) -> None:
        """Add what a chunk erased."""
        for name, number in chunk.counts.items():
            setattr(self, name, getattr(self, name) + number)

    def counts(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in COUNTED}


COUNTED = (
    "lookups", "events", "numbers", "searches", "jobs", "callbacks", "readings", "deliveries", "suppressions",
)  # fmt: skip


async def erase_person(
    pool: asyncpg.Pool[Any],
    policy: Policy,
    identifiers: Sequence[Identifier],
    *,
    suppressing: bool = False,
    note: str | None = None,
) -> Erased:
    """Erase every lookup that holds one of *identifiers* (e-mails, profiles, numbers), and the events that name them.

    *suppressing*: suppress each of them first, so that nobody asks meanwhile.
    """
    erased = Erased()
    if suppressing:
        async with transaction(pool) as connection:
            made = await suppress(connection, identifiers, policy, note)
        erased.suppressions = sum(one.is_new for one in made)
        await end_waiting(pool, identifiers, policy)
    person = erased.person
    _learn(person, identifiers)
    async for rows in _lookups_of(pool, identifiers):
        for row in rows:
            person.learn(contact_of(row), row["mobile"])
        await _erase(pool, policy, [row["id"] for row in rows], erased)
    erased.events += await _erase_bodies(pool, person)
    await erase_rows_with(pool, [one.hashed(policy.hash) for one in identifiers])
    await erase_uploads_naming(pool, person)
    await forget_words(pool, person)
    return erased


async def erase_lookups(pool: asyncpg.Pool[Any], policy: Policy, ids: Sequence[UUID]) -> Erased:
    """Erase these lookups, and nothing else of their people."""
    erased = Erased()
    await _erase(pool, policy, ids, erased)
    return erased


async def erase_record(
    pool: asyncpg.Pool[Any], policy: Policy, source: str, record_id: str, *, suppressing: bool = False
) -> Erased:
    """Erase the person of a CRM's record: its lookups, and all that hold their profile or one of their e-mails.

    An address that is a shared mailbox, or that led to several people, is nobody's, and erases nobody else. A reading
    of the record that is under way stays, for its submitter to end. Records that were merged into it go with it.
    """
    rows = await pool.fetch(
        """
        WITH RECURSIVE record (id) AS (
            SELECT $2::text
             UNION
            SELECT readings.record_id
              FROM record
              JOIN readings ON readings.source = $1 AND readings.reason = $3 || ' ' || record.id
        )
        SELECT lookups.id, profile_url, work_email, personal_email, name, company, mobile
          FROM lookups
         WHERE record_id IN (SELECT id FROM record)
           AND source = $1
        """,
        source,
        record_id,
        MERGED_INTO,
    )
    person = Person()
    for row in rows:
        person.learn(contact_of(row), None)
    found = [Identifier("email", email) for email in sorted(person.emails)]
    shared = await pool.fetch(
        "SELECT key FROM keys WHERE key = ANY($1::bytea[]) AND shared", [one.hashed(policy.hash) for one in found]
    )
    nobodys = {row["key"] for row in shared}
    found = [one for one in found if one.hashed(policy.hash) not in nobodys]
    found += [Identifier("profile", profile) for profile in sorted(person.profiles)]
    erased = await erase_person(pool, policy, found, suppressing=suppressing) if found else Erased()
    await _erase(pool, policy, [row["id"] for row in rows], erased)
    # A workflow may have sent the contact, and the reading of it led to no lookup.
    erased.events += await _erase_bodies(pool, Record(record_id), source)
    return erased


async def preview_erasure(pool: asyncpg.Pool[Any], identifiers: Sequence[Identifier]) -> Erased:
    """Count the lookups, events and numbers that `erase_person` would erase, and suppressions that it would make."""
    would, numbers, events = Erased(), set[str](), set[UUID]()
    _learn(would.person, identifiers)
    async for rows in _lookups_of(pool, identifiers):
        would.lookups += len(rows)
        events.update(row["event_id"] for row in rows)
        numbers.update(row["mobile"] for row in rows if row["mobile"])
        for row in rows:
            would.person.learn(contact_of(row), row["mobile"])
    async for found in _events_naming(pool, would.person):
        events.update(row["id"] for row in found)
    would.events, would.numbers = len(events), len(numbers)
    return would


def _learn(person: Person, identifiers: Sequence[Identifier]) -> None:
    person.emails.update(one.value for one in identifiers if one.kind == "email")
    person.profiles.update(one.value for one in identifiers if one.kind == "profile")
    person.numbers.update(one.value for one in identifiers if one.kind == "number")


async def _lookups_of(
    pool: asyncpg.Pool[Any], identifiers: Sequence[Identifier]
) -> AsyncIterator[list[asyncpg.Record]]:
    """Yield the lookups that hold one of *identifiers*: all lookups are read, some thousand in each statement."""
    values = {kind: [one.value for one in identifiers if one.kind == kind] for kind in ("email", "profile", "number")}
    last: UUID | None = FIRST
    while last is not None:
        rows = await pool.fetch(
            """
            WITH seen AS MATERIALIZED (
                SELECT id, event_id, profile_url, work_email, personal_email, name, company, mobile
                  FROM lookups
                 WHERE id > $1
                 ORDER BY id
                 LIMIT $2
            ), theirs AS (
                SELECT *
                  FROM seen
                 WHERE work_email = ANY ($3::text[])
                    OR personal_email = ANY ($3::text[])
                    OR profile_url = ANY ($4::text[])
                    OR mobile = ANY ($5::text[])
            )
            SELECT (SELECT id FROM seen ORDER BY id DESC LIMIT 1) AS last, theirs.*
              FROM (SELECT) AS always
              LEFT JOIN theirs ON true
             ORDER BY theirs.id
            """,
            last,
            LOOKED_AT,
            *values.values(),
        )
        last = rows[0]["last"]
        if found := [row for row in rows if row["id"] is not None]:
            yield found


async def _erase(pool: asyncpg.Pool[Any], policy: Policy, ids: Sequence[UUID], erased: Erased) -> None:
    for start in range(0, len(ids), ERASED_AT_ONCE):
        chunk = await _erase_chunk(pool, policy, ids[start : start + ERASED_AT_ONCE])
        erased.add(chunk)
        # A callback that was being stored when its job was deleted.
        erased.callbacks += await erase_callbacks(pool, chunk.jobs)
        await decide_again(pool, chunk.strays, policy)
        await follow_ends(pool, chunk.unswept, policy)


async def _erase_chunk(pool: asyncpg.Pool[Any], policy: Policy, ids: Sequence[UUID]) -> Chunk:
    for again in reversed(range(TRIES)):
        try:
            async with transaction(pool) as connection:
                return await erase_within(connection, ids, policy)
        except asyncpg.DeadlockDetectedError:
            if not again:
                raise
    raise AssertionError


async def _events_naming(
    pool: asyncpg.Pool[Any], person: Person | Record, source: str | None = None
) -> AsyncIterator[list[asyncpg.Record]]:
    """Yield the events whose bodies name *person*: also those of duplicates, and of contacts that became no lookup.

    Of one *source* only, if it is given.
    """
    needles = person.needles()
    last: UUID | None = FIRST if needles else None
    while last is not None:
        rows = await pool.fetch(
            r"""
            WITH seen AS MATERIALIZED (
                SELECT id, source, body FROM events WHERE id > $1 ORDER BY id LIMIT $2
            ), naming AS (
                SELECT seen.id, seen.body
                  FROM seen
                 CROSS JOIN LATERAL lower(encode(seen.body, 'escape')) AS shown (text)
                 WHERE seen.body <> ''
                   AND (seen.source = $4 OR $4 IS NULL)
                   -- Letters that are escaped, or are not ASCII, are read by Python.
                   AND (position('\' IN shown.text) > 0 OR position('%' IN shown.text) > 0
                        OR EXISTS (SELECT FROM unnest($3::text[]) AS needle WHERE position(needle IN shown.text) > 0))
            )
            SELECT (SELECT id FROM seen ORDER BY id DESC LIMIT 1) AS last, naming.*
              FROM (SELECT) AS always
              LEFT JOIN naming ON true
             ORDER BY naming.id
            """,
            last,
            BODIES_AT_ONCE,
            needles,
            source,
        )
        last = rows[0]["last"]
        if found := [row for row in rows if row["id"] is not None and names(row["body"], person)]:
            yield found


async def _erase_bodies(pool: asyncpg.Pool[Any], person: Person | Record, source: str | None = None) -> int:
    """Take *person* out of all events that still name them; return how many."""
    changed = 0
    async for rows in _events_naming(pool, person, source):
        async with transaction(pool) as connection:
            bodies = await connection.fetch(
                "SELECT id, body FROM events WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE",
                [row["id"] for row in rows],
            )
            # Another erasure may have been here meanwhile, and what is left is others'.
            left = {row["id"]: without(row["body"], person) for row in bodies if names(row["body"], person)}
            await save_bodies(connection, left)
        changed += len(left)
    return changed
