"""What becomes of a search when lookups that it knows are erased: it goes, or goes on for those who share it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.forgetting import Person
from store.database import Db
from store.searches import hashes

READ_AT_MOST = 1000  # other lookups of one search
TOUCHED_AT_MOST = 10_000  # searches of one chunk


@dataclass(frozen=True, slots=True)
class Left:
    """A lookup of the search that stays."""

    id: UUID
    is_open: bool
    name: str | None
    mobile: str | None
    keys: frozenset[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of one search. *heir*: the lookup that it belongs to from now on, where its own is erased."""

    id: UUID
    is_kept: bool
    is_changed: bool
    heir: UUID | None
    ends: bool  # its next question would be about the erased person: it is not asked
    others: tuple[UUID, ...]  # the lookups that stay
    waiting: tuple[UUID, ...]  # those of them that are open
    known: frozenset[bytes]  # keys of those that stay
    row: dict[str, Any]

    def still_knows(self, key: bytes) -> bool:
        """Tell whether the search is still there, and one of its lookups holds *key*."""
        return self.is_kept and (key in self.row["keys"] or key in self.known)


async def find_touched(db: Db, lookups: Sequence[UUID], known: Iterable[UUID]) -> list[UUID]:
    """Return the *known* searches, those that asked for *lookups*, and those that inherited facts from either.

    A search inherits from the earlier ones of its keys, so a fact may have come a long way from the contact it is of.
    """
    rows = await db.fetch(
        """
        WITH RECURSIVE touched AS (
            SELECT id FROM unnest($1::uuid[]) AS known (id)
             UNION
            SELECT search_id FROM finished_jobs WHERE lookup_id = ANY($2::uuid[])   -- no key may lead there any more
             UNION
            SELECT inherited.id
              FROM touched
              JOIN searches ON searches.id = touched.id
              JOIN keys ON keys.key = ANY (searches.keys)
             CROSS JOIN LATERAL unnest(keys.searches) AS inherited (id)
        )
        SELECT id FROM touched LIMIT $3
        """,
        sorted(known),
        lookups,
        TOUCHED_AT_MOST,
    )
    return sorted(row["id"] for row in rows)


async def lock_touched(db: Db, ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """Lock and return these searches."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT id, begun_for, keys, asked, slug, member, names, said, numbers, wrong, ended_at
          FROM searches
         WHERE id = ANY($1::uuid[])
         ORDER BY id
           FOR UPDATE
""",
        ids,
    )
    return rows


async def read_left(db: Db, searches: Sequence[asyncpg.Record], ids: Sequence[UUID]) -> dict[UUID, list[Left]]:
    """Return the other lookups of these searches: those that a number may reach, or did, and those they began for."""
    rows = await db.fetch(
        """
        SELECT search.id AS of, lookup.*
          FROM unnest($1::uuid[], $2::uuid[]) AS search (id, begun_for)
         CROSS JOIN LATERAL (
               SELECT id, final_status IS NULL AS is_open, name, mobile, keys
                 FROM (SELECT *
                         FROM lookups
                        WHERE lookups.search_id = search.id
                          AND (lookups.final_status IS NULL
                               OR lookups.final_status IN ('not_found', 'failed', 'unresolved'))
                       OFFSET 0) AS lookups   -- forces the index
                WHERE id <> ALL ($3::uuid[])
                LIMIT $4) AS lookup
        UNION ALL
        SELECT search.id, lookup.*
          FROM unnest($1::uuid[], $2::uuid[]) AS search (id, begun_for)
         CROSS JOIN LATERAL (
               SELECT id, false, name, mobile, keys
                 FROM (SELECT *
                         FROM lookups
                        WHERE lookups.search_id = search.id
                          AND lookups.reused_from IS NOT NULL
                       OFFSET 0) AS lookups   -- forces the index
                WHERE final_status = 'found'
                  AND id <> ALL ($3::uuid[])
                LIMIT $4) AS lookup
        UNION ALL
        SELECT search.id, lookup.*
          FROM unnest($1::uuid[], $2::uuid[]) AS search (id, begun_for)
         CROSS JOIN LATERAL (
               SELECT id, final_status IS NULL AS is_open, name, mobile, keys
                 FROM lookups
                WHERE lookups.id = search.begun_for
                  AND id <> ALL ($3::uuid[])
                LIMIT 1) AS lookup
        """,
        [row["id"] for row in searches],
        [row["begun_for"] for row in searches],
        ids,
        READ_AT_MOST,
    )
    left: dict[UUID, list[Left]] = {}
    for row in rows:
        left.setdefault(row["of"], []).append(
            Left(row["id"], row["is_open"], row["name"], row["mobile"], frozenset(row["keys"]))
        )
    return left


def plan_search(
    row: asyncpg.Record,
    left: Sequence[Left],
    job_state: str | None,
    erased: Set[UUID],
    person: Person,
    keys: frozenset[bytes],
) -> Plan:
    """Plan what becomes of the search *row*, whose open job is in *job_state*; *keys* are those of the erased lookups.

    One that began for an erased lookup stays only for others that it can still serve: with answers, or with a question
    that is under way already.
    """
    known = frozenset().union(*(one.keys for one in left))
    is_theirs = row["begun_for"] in erased
    asked = [hash for hash in row["asked"] if not is_theirs or hash in known]
    waiting = [one for one in left if one.is_open]
    said = json.loads(row["said"])
    under_way = job_state in ("submitting", "awaiting")
    serves = row["ended_at"] is not None or bool(waiting and (under_way or said))
    is_kept = not is_theirs or bool(left and asked and serves)
    heir = min((waiting or left), key=lambda one: one.id).id if is_theirs and is_kept else None
    numbers_left = {one.mobile for one in left}
    gone = person.numbers - numbers_left
    new = {
        "begun_for": heir or row["begun_for"],
        "keys": [key for key in row["keys"] if not is_theirs or key in known],
        "asked": asked,
        "slug": None if row["slug"] in keys - known else row["slug"],
        "member": None if row["member"] in keys - known else row["member"],
        "names": [name for name in row["names"] if name not in person.names or name in {one.name for one in left}],
        "numbers": {
            provider: number for provider, number in json.loads(row["numbers"]).items()
            if number.get("mobile") not in gone
        },
        "wrong": [number for number in row["wrong"] if number not in gone],
    }  # fmt: skip
    old = {name: row[name] for name in new} | {"numbers": json.loads(row["numbers"])}
    ends = is_theirs and job_state == "queued"
    return Plan(
        id=row["id"],
        is_kept=is_kept,
        is_changed=new != old or ends,
        heir=heir,
        ends=ends,
        others=tuple(one.id for one in left),
        waiting=tuple(one.id for one in waiting),
        known=known,
        row=new,
    )


async def save_search(db: Db, plan: Plan) -> None:
    """Write a search that goes on without the erased person; end it if it has nothing more to ask."""
    row = plan.row
    await db.execute(
        """
        UPDATE searches
           SET begun_for = $2, keys = $3::text::bytea[], asked = $4::text::bytea[], slug = $5, member = $6,
               names = $7, numbers = $8::jsonb, wrong = $9,
               status = CASE WHEN $10 AND ended_at IS NULL THEN search_verdict(said, is_doubtful) ELSE status END,
               -- The status counts only the providers that were asked.
               providers = CASE WHEN $10 AND ended_at IS NULL
                                THEN ARRAY(SELECT wanted.provider
                                             FROM unnest(providers) WITH ORDINALITY AS wanted (provider, place)
                                            WHERE said ? wanted.provider
                                            ORDER BY wanted.place)
                                ELSE providers END,
               unswept = unswept OR ($10 AND ended_at IS NULL),
               ended_at = CASE WHEN $10 AND ended_at IS NULL THEN now() ELSE ended_at END
         WHERE id = $1
        """,
        plan.id, row["begun_for"], hashes(row["keys"]), hashes(row["asked"]), row["slug"], row["member"],
        row["names"], json.dumps(row["numbers"]), row["wrong"], plan.ends,
    )  # fmt: skip
