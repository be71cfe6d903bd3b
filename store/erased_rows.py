"""Erase some lookups, and everything that was kept for them, in one transaction.

Order of locks: readings, fingerprints and keys, jobs, searches, lookups, the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from enrichment.contact import Contact
from enrichment.forgetting import Person, without
from enrichment.suppression import job_hash
from enrichment.wish import Policy
from store.database import Connection, Db
from store.erased_files import erase_rows_of
from store.erased_searches import Plan, find_touched, lock_touched, plan_search, read_left, save_search
from store.erased_words import forget_texts

TRIES = 5  # of one chunk


class MovedOn(Exception):
    """A search went on to its next question, or another one inherited from it, between two of our locks."""


@dataclass(slots=True)
class Chunk:
    """What was erased: rows by table; and what is to be done after the commit."""

    counts: dict[str, int] = field(default_factory=dict)
    lookups: list[UUID] = field(default_factory=list)
    jobs: list[UUID] = field(default_factory=list)  # of which only tombstones are left
    strays: list[UUID] = field(default_factory=list)  # open lookups of others whose search is gone
    unswept: list[UUID] = field(default_factory=list)

    def count(self, **rows: int) -> None:
        """Add to the counts."""
        for name, number in rows.items():
            self.counts[name] = self.counts.get(name, 0) + number


async def erase_within(db: Connection, ids: Sequence[UUID], policy: Policy) -> Chunk:
    """Erase these lookups within a transaction, in a savepoint; again if a search moved on meanwhile."""
    for _ in range(TRIES):
        try:
            async with db.transaction():
                return await erase_chunk(db, ids, policy)
        except MovedOn:
            continue
    raise MovedOn


async def erase_chunk(db: Db, ids: Sequence[UUID], policy: Policy) -> Chunk:
    """Erase these lookups. Call inside a transaction; then decide the strays anew, and let the unswept follow.

    Raise MovedOn when a search went on to its next question meanwhile: nothing is lost, try again.
    """
    chunk = Chunk()
    await _erase_readings(db, sorted(ids), chunk)
    links = await _lock_keys(db, sorted(ids))
    waits = await db.fetch("SELECT search_id FROM lookups WHERE id = ANY($1::uuid[])", sorted(ids))
    known = {id for row in links.values() for id in row["searches"]} | {row["search_id"] for row in waits}
    touched = await find_touched(db, sorted(ids), known)
    jobs = await db.fetch(f"{_JOBS} FOR UPDATE", touched)
    searches = await lock_touched(db, touched)
    if {job["id"] for job in await db.fetch(_JOBS, touched)} - {job["id"] for job in jobs}:
        raise MovedOn
    if set(await find_touched(db, sorted(ids), known)).difference(touched):
        raise MovedOn
    lookups = await db.fetch(_LOOKUPS, sorted(ids))
    person, keys = Person(), frozenset[bytes]().union(*(row["keys"] for row in lookups))
    for row in lookups:
        person.learn(contact_of(row), row["mobile"])
    erased = [row["id"] for row in lookups]
    left = await read_left(db, searches, erased)
    asked = {job["search_id"]: job["state"] for job in jobs}
    plans = [
        plan_search(row, left.get(row["id"], []), asked.get(row["id"]), set(erased), person, keys) for row in searches
    ]
    await _erase_searches(db, erased, plans, jobs, policy, chunk)
    await _save_keys(db, links, plans)
    await forget_texts(db, plans, person)
    await _erase_events(db, lookups, person, chunk)
    await _erase_lookups(db, erased, chunk)
    await erase_rows_of(db, erased, chunk.jobs)
    chunk.lookups = erased
    chunk.count(numbers=len(person.numbers))
    return chunk


def contact_of(row: asyncpg.Record) -> Contact:
    """Return the contact in a row of `lookups`."""
    return Contact(
        profile_url=row["profile_url"], work_email=row["work_email"], personal_email=row["personal_email"],
        name=row["name"], company=row["company"],
    )  # fmt: skip


_JOBS = "SELECT id, search_id, state::text FROM jobs WHERE search_id = ANY($1::uuid[]) ORDER BY id"
_LOOKUPS = """
        SELECT id, event_id, profile_url, work_email, personal_email, name, company, mobile, keys
          FROM lookups
         WHERE id = ANY($1::uuid[])
         ORDER BY id
           FOR UPDATE
"""


async def _erase_readings(db: Db, ids: Sequence[UUID], chunk: Chunk) -> None:
    """Delete the readings that ended; one that is queued, or under way, forgets its lookup and goes on."""
    rows = await db.fetch(
        "SELECT id, state::text FROM readings WHERE lookup_id = ANY($1::uuid[]) ORDER BY id FOR UPDATE", ids
    )
    over = [row["id"] for row in rows if row["state"] in ("done", "skipped")]
    await db.execute("DELETE FROM readings WHERE id = ANY($1::uuid[])", over)
    await db.execute(
        """
        UPDATE readings
           SET lookup_id = NULL, error = NULL
         WHERE id = ANY($1::uuid[])
           AND state IN ('queued', 'reading')
        """,
        [row["id"] for row in rows],
    )
    chunk.count(readings=len(over))


async def _lock_keys(db: Db, ids: Sequence[UUID]) -> dict[bytes, asyncpg.Record]:
    """Delete the lookups' fingerprints, and lock and return the rows of their keys."""
    await db.execute(
        """
        WITH theirs AS MATERIALIZED (
            SELECT fingerprints.fingerprint
              FROM unnest($1::uuid[]) AS erased (id)
              JOIN fingerprints ON fingerprints.lookup_id = erased.id
             ORDER BY fingerprints.fingerprint
               FOR UPDATE OF fingerprints
        )
        DELETE FROM fingerprints
         USING theirs
         WHERE fingerprints.fingerprint = theirs.fingerprint
        """,
        ids,
    )
    rows = await db.fetch(
        """
        SELECT key, shared, searches
          FROM keys
         WHERE key IN (SELECT unnest(keys) FROM lookups WHERE id = ANY($1::uuid[]))
         ORDER BY key
           FOR UPDATE
        """,
        ids,
    )
    return {row["key"]: row for row in rows}


async def _erase_searches(
    db: Db,
    ids: Sequence[UUID],
    plans: Sequence[Plan],
    jobs: Sequence[asyncpg.Record],
    policy: Policy,
    chunk: Chunk,
) -> None:
    """Delete the searches that are the person's alone, with their jobs; hand the others on to those who share them."""
    gone = [plan.id for plan in plans if not plan.is_kept]
    heirs = {plan.id: plan.heir for plan in plans if plan.heir is not None}
    dropped = [plan.id for plan in plans if plan.ends]
    open_jobs = [job["id"] for job in jobs if job["search_id"] in gone or job["search_id"] in dropped]
    await _end_open_jobs(db, open_jobs)
    finished = await db.fetch(
        """
        DELETE FROM finished_jobs
         WHERE lookup_id = ANY($1::uuid[])
           AND search_id <> ALL ($2::uuid[])
        RETURNING id
        """,
        ids,
        list(heirs),
    )
    chunk.jobs = sorted({*open_jobs, *(row["id"] for row in finished)})
    await _bury(db, chunk.jobs, policy)
    chunk.count(jobs=len(chunk.jobs), callbacks=await erase_callbacks(db, chunk.jobs), searches=len(gone))
    handed_on = await _hand_on(db, ids, heirs, sorted({id for plan in plans if plan.heir for id in plan.others}))
    await _bury(db, handed_on, policy)  # their questions were about the person, too: a callback counts, and is not kept
    for plan in plans:
        if plan.is_kept and plan.is_changed:
            await save_search(db, plan)
    await db.execute("DELETE FROM searches WHERE id = ANY($1::uuid[])", gone)
    chunk.unswept = [plan.id for plan in plans if plan.ends and plan.is_kept]
    chunk.strays = [id for plan in plans if not plan.is_kept for id in plan.waiting]


async def _bury(db: Db, jobs: Iterable[UUID], policy: Policy) -> None:
    """Leave tombstones of these jobs: no callback of theirs is stored from now on."""
    await db.execute(
        "INSERT INTO tombstones (job_hash) SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING",
        sorted(job_hash(id, policy.hash) for id in jobs),
    )


async def _end_open_jobs(db: Db, jobs: Sequence[UUID]) -> None:
    """Delete open jobs; what was reserved for a question that is under way was perhaps charged."""
    await db.execute(
        """
        WITH gone AS (
            DELETE FROM jobs
             WHERE id = ANY($1::uuid[])
               AND state IN ('queued', 'submitting', 'awaiting')
            RETURNING id, lookup_id, source, provider, reserved, reserved_on
        ), entered AS (
            INSERT INTO ledger (job_id, lookup_id, provider, kind, credits, day)
            SELECT id, lookup_id, provider, 'possible', reserved, reserved_on
              FROM gone
             WHERE reserved > 0
        )
        INSERT INTO usage (provider, source, day, slot, reserved, possible)
        SELECT provider, source, reserved_on, pg_backend_pid() % 16, -sum(reserved), sum(reserved)
          FROM gone
         WHERE reserved > 0
         GROUP BY provider, source, reserved_on
         ORDER BY provider, source, reserved_on
            ON CONFLICT (provider, source, day, slot) DO UPDATE
           SET reserved = usage.reserved + excluded.reserved, possible = usage.possible + excluded.possible
        """,
        jobs,
    )


async def erase_callbacks(db: Db, jobs: Sequence[UUID]) -> int:
    """Delete the callbacks of these jobs; return how many."""
    rows = await db.fetch("DELETE FROM callbacks WHERE job_id = ANY($1::uuid[]) RETURNING job_id", jobs)
    return len(rows)


async def _hand_on(db: Db, ids: Sequence[UUID], heirs: Mapping[UUID, UUID], others: Sequence[UUID]) -> list[UUID]:
    """Give the jobs of shared searches to another lookup of each, without the words about the erased person.

    Return these jobs.
    """
    searches, lookups = list(heirs), list(heirs.values())
    open_jobs = await db.fetch(
        """
        UPDATE jobs
           SET lookup_id = heir.lookup_id, raw = NULL, error = NULL
          FROM unnest($1::uuid[], $2::uuid[]) AS heir (search_id, lookup_id)
         WHERE jobs.search_id = heir.search_id
        RETURNING jobs.id
        """,
        searches,
        lookups,
    )
    finished = await db.fetch(
        """
        UPDATE finished_jobs
           SET lookup_id = heir.lookup_id, raw = NULL
          FROM unnest($1::uuid[], $2::uuid[]) AS heir (search_id, lookup_id)
         WHERE finished_jobs.search_id = heir.search_id
           AND finished_jobs.lookup_id = ANY ($3::uuid[])
        RETURNING finished_jobs.id
        """,
        searches,
        lookups,
        ids,
    )
    await db.execute(
        """
        UPDATE lookups
           SET reused_from = NULLIF(heir.lookup_id, lookups.id)
          FROM unnest($1::uuid[], $2::uuid[]) AS heir (search_id, lookup_id)
         WHERE lookups.search_id = heir.search_id
           AND lookups.id = ANY ($3::uuid[])
        """,
        searches,
        lookups,
        others,
    )
    jobs = [row["id"] for row in (*open_jobs, *finished)]
    await db.execute(
        "UPDATE callbacks SET body = '', lookup_id = NULL WHERE job_id = ANY($1::uuid[]) AND body <> ''", jobs
    )
    return jobs


async def _save_keys(db: Db, links: Mapping[bytes, asyncpg.Record], plans: Sequence[Plan]) -> None:
    """Unlink the keys from searches that no longer know them; delete those that lead nowhere and are not shared."""
    planned = {plan.id: plan for plan in plans}
    kept = {
        key: [id for id in row["searches"] if id in planned and planned[id].still_knows(key)]
        for key, row in links.items()
    }
    changed = [key for key in sorted(kept) if kept[key] != list(links[key]["searches"])]
    await db.execute(
        """
        UPDATE keys
           SET searches = new.searches::uuid[]
          FROM unnest($1::bytea[], $2::text[]) AS new (key, searches)
         WHERE keys.key = new.key
        """,
        changed,
        ["{" + ",".join(map(str, kept[key])) + "}" for key in changed],
    )
    await db.execute("DELETE FROM keys WHERE key = ANY($1::bytea[]) AND NOT shared AND searches = '{}'", sorted(kept))


async def _erase_events(db: Db, lookups: Sequence[asyncpg.Record], person: Person, chunk: Chunk) -> None:
    """Take the contacts out of their events' bodies."""
    contacts: dict[UUID, int] = {}
    for row in lookups:
        contacts[row["event_id"]] = contacts.get(row["event_id"], 0) + 1
    rows = await db.fetch(
        "SELECT id, body FROM events WHERE id = ANY($1::uuid[]) AND body <> '' ORDER BY id FOR UPDATE",
        sorted(contacts),
    )
    await save_bodies(db, {row["id"]: without(row["body"], person, contacts[row["id"]]) for row in rows})
    chunk.count(events=len(rows))


async def save_bodies(db: Db, bodies: Mapping[UUID, bytes]) -> None:
    """Replace the bodies of these events."""
    await db.execute(
        """
        UPDATE events
           SET body = new.body
          FROM unnest($1::uuid[], $2::bytea[]) AS new (id, body)
         WHERE events.id = new.id
        """,
        list(bodies),
        list(bodies.values()),
    )


async def _erase_lookups(db: Db, ids: Sequence[UUID], chunk: Chunk) -> None:
    """Delete the lookups, their deliveries, and their places in selections."""
    deliveries = await db.fetch("DELETE FROM deliveries WHERE lookup_id = ANY($1::uuid[]) RETURNING id", ids)
    # What a worker has taken is an id that it will not find. Two sessions that waited here might wait for each other.
    await db.execute(
        """
        WITH item AS MATERIALIZED (
            SELECT selected.selection_id, selected.item_id
              FROM selections
              JOIN selected ON selected.selection_id = selections.id AND selected.item_id = ANY ($1::uuid[])
               FOR UPDATE OF selected SKIP LOCKED
        )
        DELETE FROM selected
         USING item
         WHERE selected.selection_id = item.selection_id
           AND selected.item_id = item.item_id
        """,
        [*ids, *(row["id"] for row in deliveries)],
    )
    rows = await db.fetch("DELETE FROM lookups WHERE id = ANY($1::uuid[]) RETURNING id", ids)
    chunk.count(lookups=len(rows), deliveries=len(deliveries))
