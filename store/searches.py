"""Lock and read searches and the keys that lead to them, and write them back after a decision.

Order of locks: keys (sorted), then searches (sorted). Intake holds both until its commit, so a search that it read as
open cannot end before the lookup that joins it is visible.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import getitem
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.decide import Fate, Number, Search, World
from enrichment.facts import Facts
from enrichment.phone import read_phone
from store.columns import Columns
from store.database import Db


@dataclass(frozen=True, slots=True)
class Locked:
    """The searches of some keys, locked until the transaction ends; *stored*: the rows of `keys` as they were read."""

    world: World
    stored: Mapping[bytes, Sequence[UUID]]


async def lock_known_keys(db: Db, keys: Iterable[bytes]) -> Locked:
    """Lock *keys*, and the searches that they lead to. One that was pruned is put back, so that intake waits for it."""
    ordered = sorted(keys)
    rows = await db.fetch(
        """
        SELECT key, shared, searches
          FROM keys
         WHERE key = ANY($1::bytea[])
         ORDER BY key
           FOR NO KEY UPDATE
        """,
        ordered,
    )
    if len(rows) < len(ordered):
        rows = await db.fetch(
            """
            INSERT INTO keys (key, searches)
            SELECT key, '{}' FROM unnest($1::bytea[]) AS known (key)
                ON CONFLICT (key) DO UPDATE SET shared = keys.shared
            RETURNING key, shared, searches
            """,
            ordered,
        )
    return await lock_searches(db, rows)


async def lock_searches(db: Db, keys: Sequence[asyncpg.Record], but: Iterable[UUID] = ()) -> Locked:
    """Lock the searches to which these locked rows of `keys` lead, except *but*: ids that were only proposed."""
    wanted = _searches_of(keys).difference(but)
    rows = await db.fetch(f"{_SEARCHES} FOR NO KEY UPDATE", sorted(wanted)) if wanted else []
    return _locked(keys, rows)


async def read_known_keys(db: Db, keys: Iterable[bytes]) -> World:
    """Return the world of *keys* as it is now, without a lock: for a forecast, not for a decision."""
    rows = await db.fetch("SELECT key, shared, searches FROM keys WHERE key = ANY($1::bytea[])", sorted(keys))
    wanted = _searches_of(rows)
    searches = await db.fetch(_SEARCHES, sorted(wanted)) if wanted else []
    return _locked(rows, searches).world


_SEARCHES = """
            SELECT id, begun_for, keys, asked, providers, slug, member, names, is_doubtful, is_retry, said, numbers,
                   wrong, status::text, reason, ended_at
              FROM searches
             WHERE id = ANY($1::uuid[])
             ORDER BY id
"""


def _searches_of(keys: Iterable[asyncpg.Record]) -> set[UUID]:
    return {id for row in keys for id in row["searches"]}


def _locked(keys: Sequence[asyncpg.Record], rows: Sequence[asyncpg.Record]) -> Locked:
    """Put the rows of `keys` and of `searches` together."""
    stored: dict[bytes, Sequence[UUID]] = {row["key"]: row["searches"] for row in keys}
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


# New searches as the first parameters of a statement. Arrays of arrays are sent as text: PostgreSQL's are rectangular.
SEARCHES = Columns(
    id="uuid", begun_for="uuid", keys="text", asked="text", providers="text", slug="bytea", member="bytea",
    names="text", is_doubtful="bool", is_retry="bool", wrong="text", reason="text", chain="text", source="text",
    held="text", job_id="uuid",
)  # fmt: skip
INSERT_SEARCHES = """
    inserted_search AS (
        INSERT INTO searches (id, begun_for, keys, asked, providers, slug, member, names, is_doubtful, is_retry,
                              wrong, reason)
        SELECT id, begun_for, keys::bytea[], asked::bytea[], string_to_array(providers, ','), slug, member,
               ARRAY(SELECT jsonb_array_elements_text(names::jsonb)), is_doubtful, is_retry,
               string_to_array(wrong, ','), reason
          FROM new_search
    ), inserted_job AS (
        INSERT INTO jobs (id, search_id, lookup_id, source, held, provider, todo)
        SELECT new_search.job_id, new_search.id, new_search.begun_for, new_search.source, new_search.held,
               turns[1], turns[2:]
          FROM new_search
         CROSS JOIN LATERAL string_to_array(new_search.chain, ',') AS turns
    )
"""
NEW_SEARCHES = f"{SEARCHES.cte('new_search')}, {INSERT_SEARCHES}"


def new_search_columns(searches: Sequence[Search]) -> list[list[Any]]:
    """Return the parameters of NEW_SEARCHES."""
    rows = [
        _search_row(search)
        | {
            "begun_for": search.begun_for,
            "asked": hashes(search.asked),
            "providers": ",".join(search.providers),
            "is_doubtful": search.is_doubtful,
            "is_retry": search.is_retry,
            "reason": search.reason,
            "chain": ",".join(search.chain),
            "source": search.source,
            "held": search.held,
            "job_id": uuid7(),
        }
        for search in searches
    ]
    return SEARCHES.of(rows, getitem)


def _search_row(search: Search) -> dict[str, Any]:
    """Return what may change in a search."""
    return {
        "id": search.id,
        "keys": hashes(search.keys),
        "slug": search.facts.slug,
        "member": search.facts.member,
        "names": json.dumps(search.facts.names),
        "numbers": _numbers(search.numbers),
        "wrong": ",".join(sorted(search.wrong)),
        "status": search.status,
        "ended_at": search.ended_at,
    }


def answer_row(fate: Fate) -> dict[str, Any]:
    """Return what a lookup shows of its fate."""
    number = fate.number
    return {
        "status": fate.status,
        "mobile": number and number.mobile,
        "mobile_raw": number and number.raw,
        "region": number and number.region,
        "line_type": number and number.line_type,
        "provider": fate.provider,
        "reason": fate.reason,
    }


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
    """Write changed keys back. Those that lead nowhere go, such as a suppressed contact's; shared ones stay."""
    nowhere = [key for key in keys if not world.links[key] and key not in world.shared]
    if nowhere:
        await db.execute("DELETE FROM keys WHERE key = ANY($1::bytea[])", nowhere)
        keys = [key for key in keys if key not in nowhere]
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
    rows = [_search_row(search) for search in searches]
    await db.execute(f"WITH {CHANGED.cte('new')} {_SAVE_SEARCHES}", *CHANGED.of(rows, getitem))


CHANGED = Columns(
    id="uuid", keys="text", slug="bytea", member="bytea", names="text", numbers="text", wrong="text", status="text",
    ended_at="timestamptz",
)  # fmt: skip
_SAVE_SEARCHES = """
        UPDATE searches
           SET keys = new.keys::bytea[], slug = new.slug, member = new.member,
               names = ARRAY(SELECT jsonb_array_elements_text(new.names::jsonb)),
               numbers = new.numbers::jsonb, wrong = string_to_array(new.wrong, ','),
               status = new.status::search_status, ended_at = new.ended_at,
               unswept = new.ended_at IS NOT NULL
                         AND (searches.unswept OR searches.ended_at IS DISTINCT FROM new.ended_at)
          FROM new
         WHERE searches.id = new.id
"""


def _numbers(numbers: Mapping[str, Number]) -> str:
    return json.dumps({provider: asdict(number) for provider, number in numbers.items()})
