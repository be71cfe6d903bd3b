"""Lock and read searches and the keys that lead to them, and write them back after a decision.

Order of locks: keys (sorted), then searches (sorted). Intake holds both until its commit, so a search that it read as
open cannot end before the lookup that joins it is visible.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.decide import Number, Search, World
from enrichment.facts import Facts
from enrichment.phone import read_phone
from store.database import Db


@dataclass(frozen=True, slots=True)
class Locked:
    """The searches of some keys, locked until the transaction ends; *stored*: the rows of `keys` as they were read."""

    world: World
    stored: Mapping[bytes, Sequence[UUID]]


async def lock_known_keys(db: Db, keys: Iterable[bytes]) -> Locked:
    """Lock *keys*, and the searches that they lead to. One that was pruned is put back, so that intake waits for it."""
    rows = await db.fetch(
        """
        INSERT INTO keys (key, searches)
        SELECT key, '{}' FROM unnest($1::bytea[]) AS known (key)
            ON CONFLICT (key) DO UPDATE SET shared = keys.shared
        RETURNING key, shared, searches
        """,
        sorted(keys),
    )
    return await lock_searches(db, rows)


async def lock_searches(db: Db, keys: Sequence[asyncpg.Record], but: Iterable[UUID] = ()) -> Locked:
    """Lock the searches to which these locked rows of `keys` lead, except *but*: ids that were only proposed."""
    stored: dict[bytes, Sequence[UUID]] = {row["key"]: row["searches"] for row in keys}
    wanted = {id for ids in stored.values() for id in ids}.difference(but)
    searches: dict[UUID, Search] = {}
    if wanted:
        rows = await db.fetch(
            """
            SELECT id, begun_for, keys, asked, providers, slug, member, names, is_doubtful, is_retry, said, numbers,
                   wrong, status::text, reason, ended_at
              FROM searches
             WHERE id = ANY($1::uuid[])
             ORDER BY id
               FOR NO KEY UPDATE
            """,
            sorted(wanted),
        )
        searches = {row["id"]: _search(row) for row in rows}
    links = {key: [id for id in ids if id in searches] for key, ids in stored.items()}
    return Locked(World(links, {row["key"] for row in keys if row["shared"]}, searches), stored)


async def save_world(db: Db, locked: Locked) -> None:
    """Write the keys and searches that decisions changed; new searches are inserted by NEW_SEARCHES."""
    world = locked.world
    if keys := sorted(key for key, ids in world.links.items() if ids != locked.stored.get(key)):
        await _save_keys(db, world, keys)
    changed = [search for search in world.searches.values() if search.is_changed and not search.is_new]
    if changed:
        await _save_searches(db, changed)


async def insert_new_searches(db: Db, world: World) -> None:
    """Insert the searches that decisions began, each with its first job, queued."""
    if searches := [search for search in world.searches.values() if search.is_new]:
        await db.execute(f"WITH {NEW_SEARCHES} SELECT", *new_search_columns(searches))


# Two CTEs of a statement whose first parameters are `new_search_columns`. Arrays of arrays are sent as text, because
# PostgreSQL's are rectangular.
NEW_SEARCHES = """
    new_search AS (
        SELECT *, string_to_array(chain, ',') AS turns
          FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::text[],
                      $9::bool[], $10::bool[], $11::text[], $12::uuid[], $13::text[])
            AS new (id, begun_for, keys, asked, providers, slug, member, names, is_doubtful, is_retry, chain, job_id,
                    wrong)
    ), inserted_search AS (
        INSERT INTO searches (id, begun_for, keys, asked, providers, slug, member, names, is_doubtful, is_retry,
                              wrong)
        SELECT id, begun_for, keys::bytea[], asked::bytea[], string_to_array(providers, ','), slug, member,
               ARRAY(SELECT jsonb_array_elements_text(names::jsonb)), is_doubtful, is_retry,
               string_to_array(wrong, ',')
          FROM new_search
    ), inserted_job AS (
        INSERT INTO jobs (id, search_id, lookup_id, provider, todo)
        SELECT job_id, id, begun_for, turns[1], turns[2:]
          FROM new_search
    )
"""


def new_search_columns(searches: Sequence[Search]) -> list[list[Any]]:
    """Return the parameters of NEW_SEARCHES."""
    return [
        [search.id for search in searches],
        [search.begun_for for search in searches],
        [hashes(search.keys) for search in searches],
        [hashes(search.asked) for search in searches],
        [",".join(search.providers) for search in searches],
        [search.facts.slug for search in searches],
        [search.facts.member for search in searches],
        [json.dumps(search.facts.names) for search in searches],
        [search.is_doubtful for search in searches],
        [search.is_retry for search in searches],
        [",".join(search.chain) for search in searches],
        [uuid7() for _ in searches],
        [",".join(sorted(search.wrong)) for search in searches],
    ]


def hashes(values: Iterable[bytes]) -> str:
    """Write *values* as the text of a bytea array."""
    return "{" + ",".join(f'"\\\\x{value.hex()}"' for value in sorted(values)) + "}"


def read_number(raw: str, region: str) -> Number | None:
    """Parse a stored national number with the *region* that was missing before."""
    phone = read_phone(raw, region)
    return Number(phone.e164, raw, phone.region, phone.line_type) if phone else None


def _search(row: asyncpg.Record) -> Search:
    return Search(
        id=row["id"],
        begun_for=row["begun_for"],
        keys=set(row["keys"]),
        asked=set(row["asked"]),
        providers=tuple(row["providers"]),
        facts=Facts(row["slug"], row["member"], list(row["names"])),
        said=json.loads(row["said"]),
        numbers={provider: Number(**number) for provider, number in json.loads(row["numbers"]).items()},
        wrong=set(row["wrong"]),
        is_doubtful=row["is_doubtful"],
        is_retry=row["is_retry"],
        status=row["status"],
        reason=row["reason"],
        ended_at=row["ended_at"],
    )


async def _save_keys(db: Db, world: World, keys: Sequence[bytes]) -> None:
    await db.execute(
        """
        INSERT INTO keys (key, shared, searches)
        SELECT key, shared, searches::uuid[]
          FROM unnest($1::bytea[], $2::bool[], $3::text[]) AS new (key, shared, searches)
            ON CONFLICT (key) DO UPDATE SET shared = excluded.shared, searches = excluded.searches
        """,
        keys,
        [key in world.shared for key in keys],
        ["{" + ",".join(map(str, world.links[key])) + "}" for key in keys],
    )


async def _save_searches(db: Db, searches: Sequence[Search]) -> None:
    """Write changed searches back. A search whose end changed is unswept: its lookups follow again."""
    await db.execute(
        """
        UPDATE searches
           SET keys = new.keys::bytea[], slug = new.slug, member = new.member,
               names = ARRAY(SELECT jsonb_array_elements_text(new.names::jsonb)),
               numbers = new.numbers::jsonb, wrong = string_to_array(new.wrong, ','),
               status = new.status::search_status, ended_at = new.ended_at,
               unswept = new.ended_at IS NOT NULL
                         AND (searches.unswept OR searches.ended_at IS DISTINCT FROM new.ended_at)
          FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::text[],
                      $8::timestamptz[], $9::text[])
            AS new (id, keys, slug, member, names, numbers, status, ended_at, wrong)
         WHERE searches.id = new.id
        """,
        [search.id for search in searches],
        [hashes(search.keys) for search in searches],
        [search.facts.slug for search in searches],
        [search.facts.member for search in searches],
        [json.dumps(search.facts.names) for search in searches],
        [_numbers(search.numbers) for search in searches],
        [search.status for search in searches],
        [search.ended_at for search in searches],
        [",".join(sorted(search.wrong)) for search in searches],
    )


def _numbers(numbers: Mapping[str, Number]) -> str:
    return json.dumps({provider: asdict(number) for provider, number in numbers.items()})
