"""Who speaks for an event or a person: the keys, claimed and moved under lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import asyncpg

from enrichment.contact import Contact
from enrichment.identity import Leader, person_keys
from store.database import Db


async def claim_keys(db: Db, proposed: dict[bytes, UUID]) -> tuple[dict[bytes, UUID], dict[bytes, UUID]]:
    """Every key is claimed and locked.

    Returns who speaks for it now, ourselves where nobody did; and who spoke before that one, where somebody did.
    """
    keys = sorted(proposed)
    rows = await db.fetch(
        """
        INSERT INTO keys (key, lookup_id)
        SELECT * FROM unnest($1::bytea[], $2::uuid[])   -- sorted: two batches cannot wait for each other
            ON CONFLICT (key) DO UPDATE SET lookup_id = keys.lookup_id
        RETURNING key, lookup_id, before
        """,
        keys,
        [proposed[key] for key in keys],
    )
    before = {row["key"]: row["before"] for row in rows if row["before"] is not None}
    return {row["key"]: row["lookup_id"] for row in rows}, before


async def lock_leaders(db: Db, ids: Iterable[UUID]) -> dict[UUID, Leader]:
    """The lookups with these ids, locked: none of them ends before this transaction does."""
    rows = await db.fetch(
        """
        SELECT id, profile_url, work_email, personal_email, name, company, final_status, finished_at
          FROM lookups
         WHERE id = ANY($1::uuid[])
         ORDER BY id
           FOR NO KEY UPDATE
        """,
        list(ids),
    )
    return {
        row["id"]: Leader(
            row["id"],
            keys_of(row),
            row["final_status"],
            row["finished_at"],
        )
        for row in rows
    }


def keys_of(lookup: asyncpg.Record) -> frozenset[bytes]:
    """The keys under which the person of this row is known."""
    return person_keys(
        Contact(
            profile_url=lookup["profile_url"],
            work_email=lookup["work_email"],
            personal_email=lookup["personal_email"],
            name=lookup["name"],
            company=lookup["company"],
        )
    )


async def follow(db: Db, followers: Mapping[UUID, int]) -> None:
    """Each leader knows how many more follow it, so that whoever ends it looks after them."""
    if followers:
        await db.execute(
            """
            UPDATE lookups
               SET followers = lookups.followers + new.followers
              FROM unnest($1::uuid[], $2::int[]) AS new (id, followers)
             WHERE lookups.id = new.id
            """,
            list(followers),
            list(followers.values()),
        )


async def move_keys(db: Db, moved: dict[bytes, UUID], dropped: Sequence[bytes] = ()) -> None:
    """*moved* keys lead to their new lookups; *dropped* ones, claimed for nothing, are free again."""
    if moved:
        await db.execute(
            """
            UPDATE keys
               SET lookup_id = new.lookup_id,
                   before = COALESCE((SELECT id
                                        FROM lookups
                                       WHERE id = keys.lookup_id
                                         AND final_status IN ('found', 'not_found', 'unresolved')), before)
              FROM unnest($1::bytea[], $2::uuid[]) AS new (key, lookup_id)
             WHERE keys.key = new.key
            """,
            list(moved),
            list(moved.values()),
        )
    if dropped:
        await db.execute("DELETE FROM keys WHERE key = ANY($1::bytea[])", list(dropped))
