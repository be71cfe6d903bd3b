"""The list of suppressions: who is never to be asked about, and which numbers are never to be given.

A suppression holds from its commit on: intake, claim and ending read the list in their own statements
(`store/suppressed.py`). `end_waiting` only spares the lookups that wait already the way to their claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.suppression import Identifier, Kind
from enrichment.wish import Policy
from store.database import Db, transaction
from store.endings import follow_ends
from store.lookups import drop_unneeded
from store.partitions import NEWEST
from store.suppressed import drop_questions, end_suppressed

SEEN_AT_ONCE = 5000  # open lookups that one statement looks at
ENDED_AT_ONCE = 500  # lookups of one commit


@dataclass(frozen=True, slots=True)
class Suppression:
    """One suppression. The value itself is nowhere: only its hash is stored."""

    id: UUID
    kind: Kind
    note: str | None
    created_at: datetime
    is_new: bool = True  # it was not suppressed before


async def suppress(db: Db, identifiers: Sequence[Identifier], policy: Policy, note: str | None) -> list[Suppression]:
    """Store a suppression for each of *identifiers*; return them in order. One that is there already keeps its note.

    Call `end_waiting` after the commit.
    """
    hashes = {identifier.hashed(policy.hash): identifier for identifier in identifiers}
    rows = await db.fetch(
        """
        INSERT INTO suppressions (id, kind, hash, note)
        SELECT id, kind, hash, $4
          FROM unnest($1::uuid[], $2::text[], $3::bytea[]) AS new (id, kind, hash)
            ON CONFLICT (hash) DO UPDATE SET note = COALESCE(suppressions.note, excluded.note)
        RETURNING id, kind, hash, note, created_at, xmax = 0 AS is_new
        """,
        [uuid7() for _ in hashes],
        [hashes[hash].kind for hash in sorted(hashes)],
        sorted(hashes),  # two callers cannot wait for each other
        note,
    )
    found = {
        row["hash"]: Suppression(row["id"], row["kind"], row["note"], row["created_at"], row["is_new"]) for row in rows
    }
    return [found[identifier.hashed(policy.hash)] for identifier in identifiers]


async def list_suppressions(db: Db, *, before: UUID | None, limit: int) -> list[Suppression]:
    """Return up to *limit* suppressions older than *before*, newest first."""
    rows = await db.fetch(
        "SELECT id, kind, note, created_at FROM suppressions WHERE id < $1 ORDER BY id DESC LIMIT $2",
        before or NEWEST,
        limit,
    )
    return [Suppression(row["id"], row["kind"], row["note"], row["created_at"]) for row in rows]


async def unsuppress(db: Db, id: UUID) -> bool:
    """Delete a suppression. Return False when there is no such."""
    row = await db.fetchrow("DELETE FROM suppressions WHERE id = $1 RETURNING id", id)
    return row is not None


async def end_waiting(pool: asyncpg.Pool[Any], identifiers: Sequence[Identifier], policy: Policy) -> int:
    """End the open lookups of these people that no provider has been asked for; return how many.

    A question that is under way is waited for, and its answer is not kept. Idempotent, and resumed by calling again;
    a lookup that is missed is caught at its claim.
    """
    people = [identifier for identifier in identifiers if identifier.kind != "number"]
    ended, last = 0, UUID(int=0)
    while people:
        row = await pool.fetchrow(
            _WAITING,
            last,
            SEEN_AT_ONCE,
            [person.value for person in people if person.kind == "email"],
            [person.value for person in people if person.kind == "profile"],
            [person.value for person in people if person.kind == "domain"],
        )
        assert row is not None  # noqa: S101  it counts
        for start in range(0, len(row["found"]), ENDED_AT_ONCE):
            ended += await _end(pool, row["found"][start : start + ENDED_AT_ONCE], people, policy)
        if row["last"] is None:
            break
        last = row["last"]
    return ended


# Open lookups in the order of their ids. The domain of an address, and each domain above it.
_WAITING = """
        WITH seen AS MATERIALIZED (
            SELECT id, profile_url, work_email, personal_email
              FROM lookups
             WHERE final_status IS NULL
               AND id > $1
             ORDER BY id
             LIMIT $2
        )
        SELECT ARRAY(SELECT id
                       FROM seen
                      WHERE work_email = ANY ($3::text[])
                         OR personal_email = ANY ($3::text[])
                         OR profile_url = ANY ($4::text[])
                         OR EXISTS (SELECT
                                      FROM unnest($5::text[]) AS suppressed (domain)
                                     WHERE '.' || split_part(work_email, '@', 2) LIKE '%.' || domain
                                        OR '.' || split_part(personal_email, '@', 2) LIKE '%.' || domain)
                      ORDER BY id) AS found,
               (SELECT id FROM seen ORDER BY id DESC LIMIT 1) AS last
"""


async def _end(pool: asyncpg.Pool[Any], lookups: Sequence[UUID], people: Sequence[Identifier], policy: Policy) -> int:
    """End one chunk: the questions about these people first, in the order of locks, then the lookups."""
    async with transaction(pool) as connection:
        jobs = await connection.fetch(
            """
            SELECT jobs.lookup_id, jobs.search_id, jobs.state::text
              FROM jobs
              JOIN lookups ON lookups.search_id = jobs.search_id
             WHERE lookups.id = ANY($1::uuid[])
             ORDER BY jobs.id
               FOR UPDATE OF jobs   -- waits for a submitter that is claiming one
            """,
            lookups,
        )
        under_way = {job["lookup_id"] for job in jobs if job["state"] != "queued"}
        hashes = [person.hashed(policy.hash) for person in people]
        queued = sorted({job["search_id"] for job in jobs if job["state"] == "queued"})
        about = await connection.fetch(
            "SELECT id FROM searches WHERE id = ANY($1::uuid[]) AND asked && $2::bytea[] ORDER BY id FOR NO KEY UPDATE",
            queued,
            hashes,
        )
        unswept = await drop_questions(connection, [row["id"] for row in about])
        waited_for = await end_suppressed(connection, [id for id in lookups if id not in under_way], policy)
        unswept += await drop_unneeded(connection, waited_for)
    await follow_ends(pool, unswept, policy)
    return len(lookups) - len(under_way.intersection(lookups))
