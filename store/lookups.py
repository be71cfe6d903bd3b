"""Decide lookups anew: those whose search has no answer for them, and those that a person retries or cancels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import getitem
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.contact import Contact
from enrichment.decide import Fate, Seeker, World, decide
from enrichment.wish import Keys, Policy, facts_of, keys_from_hashes
from store import audit
from store.columns import Columns
from store.database import Db, transaction
from store.deliveries import NEW_DELIVERIES
from store.floods import guard
from store.searches import answer_row, insert_new_searches, lock_known_keys, read_number, save_world
from store.suppressed import suppressed_hashes, suppressed_numbers

DECIDED_AT_ONCE = 500  # lookups per transaction


async def left_behind(db: Db, searches: Sequence[UUID], limit: int = DECIDED_AT_ONCE) -> list[UUID]:
    """Return open lookups whose search, one of these ended *searches*, has no answer for them."""
    rows = await db.fetch(
        """
        SELECT lookups.id
          FROM lookups
          JOIN searches ON searches.id = lookups.search_id
         WHERE lookups.search_id = ANY($1::uuid[])
           AND lookups.final_status IS NULL
           AND searches.ended_at IS NOT NULL
         ORDER BY cardinality(lookups.identifiers) DESC, lookups.id
         LIMIT $2
        """,
        searches,
        limit,
    )
    return [row["id"] for row in rows]


async def decide_again(pool: asyncpg.Pool[Any], ids: Sequence[UUID], policy: Policy) -> int:
    """Decide these open lookups anew, those with most identifiers first: each joins another search, or ends.

    Return how many were decided. The others ended or joined an open search meanwhile.
    """
    async with transaction(pool) as connection:
        return len(await _decide_locked(connection, ids, policy, _STILL_LEFT_BEHIND))


async def retry(
    pool: asyncpg.Pool[Any], id: UUID, policy: Policy, *, wrong_number: bool = False, ended: datetime | None = None,
    who: str | None = None,
) -> bool:  # fmt: skip
    """Ask again for a failed or unresolved lookup, doubtful providers too; with *wrong_number*, for a found one.

    The wrong number is never given again; lookups that have it keep it. Return False when the lookup's status does
    not allow this, or it is not the end of the moment *ended* any more. *who*: the person, for the audit.
    """
    async with transaction(pool) as connection:
        query = _WRONG if wrong_number else _RETRIED
        done = bool(await _decide_locked(connection, [id], policy, query, ended, insists=True))
        if done and who is not None:
            detail = {"wrong_number": True} if wrong_number else None
            await audit.record(connection, who=who, action="retry", subject=id, detail=detail)
    return done


async def cancel(pool: asyncpg.Pool[Any], id: UUID, policy: Policy, *, who: str | None = None) -> bool:
    """Cancel a queued, held, failed or unresolved lookup. Return False when its status does not allow this.

    A running lookup cannot be cancelled: its question will be paid for, so it waits for the answer. *who*: the person,
    for the audit.
    """
    async with transaction(pool) as connection:
        done = bool(await cancel_many(connection, [id], policy))
        if done and who is not None:
            await audit.record(connection, who=who, action="cancel", subject=id)
    return done


async def cancel_many(db: Db, ids: Sequence[UUID], policy: Policy, reason: str = "cancelled by a person") -> set[UUID]:
    """Cancel those of these lookups that are queued, held, failed or unresolved, for this *reason*; return them.

    Call inside a transaction.
    """
    await _lock_jobs_and_searches(db, ids)
    query = f"WITH {OF_CANCELLED.cte('channel')}, {_CANCEL}, {NEW_DELIVERIES} {_CANCELLED}"
    rows = await db.fetch(query, ids, reason, list(policy.channels))
    if rows:
        await drop_unneeded(db, list({row["search_id"] for row in rows}))
    return {row["id"] for row in rows}


OF_CANCELLED = Columns(3, name="text")
_CANCEL = """
    changed_lookup AS (
        UPDATE lookups
           SET final_status = 'cancelled', finished_at = now(), reason = $2, insists = false
         WHERE id = ANY($1::uuid[])
           AND (final_status IN ('failed', 'unresolved')
                OR final_status IS NULL
                   AND (SELECT status IN ('queued', 'held') FROM lookup_status WHERE lookup_status.id = lookups.id))
        RETURNING id, source, record_id, final_status, search_id
    )
"""
_CANCELLED = "SELECT id, search_id FROM changed_lookup"


async def drop_unneeded(db: Db, searches: Sequence[UUID]) -> list[UUID]:
    """Drop the queued jobs of searches that have no open lookup; return the searches that this ended.

    Call inside a transaction. Leave a job that is being claimed at this moment to its submitter, and a search that a
    lookup is joining at this moment to that lookup.
    """
    rows = await db.fetch(
        """
        WITH unneeded AS MATERIALIZED (
            SELECT jobs.id, jobs.search_id
              FROM jobs
              JOIN searches ON searches.id = jobs.search_id
             WHERE jobs.search_id = ANY($1::uuid[])
               AND jobs.state = 'queued'
               AND NOT EXISTS (SELECT
                                 FROM lookups
                                WHERE lookups.search_id = jobs.search_id
                                  AND lookups.final_status IS NULL)
               FOR NO KEY UPDATE SKIP LOCKED   -- of both: without waiting, the order does not matter
        ), dropped AS (
            DELETE FROM jobs
             USING unneeded
             WHERE jobs.id = unneeded.id
        )
        UPDATE searches
           SET status = CASE WHEN said = '{}' THEN 'dropped' ELSE search_verdict(said, is_doubtful) END,
               -- The status counts only the providers that were asked.
               providers = CASE WHEN said = '{}' THEN providers
                                ELSE ARRAY(SELECT wanted.provider
                                             FROM unnest(providers) WITH ORDINALITY AS wanted (provider, place)
                                            WHERE said ? wanted.provider
                                            ORDER BY wanted.place) END,
               ended_at = now(),
               unswept = true
          FROM unneeded
         WHERE searches.id = unneeded.search_id
           AND searches.ended_at IS NULL
        RETURNING searches.id
        """,
        searches,
    )
    return [row["id"] for row in rows]


async def release(pool: asyncpg.Pool[Any], id: UUID, *, who: str | None = None, action: str = "release") -> bool:
    """Queue a held lookup's job now; the next claim may hold it again. Return False when it was not held.

    *who* and *action*: the person, and what that person asked for, for the audit.
    """
    async with transaction(pool) as connection:
        done = bool(await release_many(connection, [id]))
        if done and who is not None:
            await audit.record(connection, who=who, action=action, subject=id)
    return done


async def release_many(db: Db, ids: Sequence[UUID]) -> set[UUID]:
    """Queue the jobs of those of these lookups that are held, for whatever reason; return those lookups.

    A search that was held after a restore is not held for it again. Call inside a transaction.
    """
    rows = await db.fetch(
        """
        WITH wanted AS MATERIALIZED (
            SELECT jobs.id, jobs.search_id, jobs.held, lookups.id AS lookup_id
              FROM lookups
              JOIN jobs ON jobs.search_id = lookups.search_id
             WHERE lookups.id = ANY($1::uuid[])
               AND lookups.final_status IS NULL
               AND jobs.held IS NOT NULL
             ORDER BY jobs.id
               FOR NO KEY UPDATE OF jobs
        ), released AS (
            UPDATE jobs
               SET held = NULL, due_at = now()
              FROM (SELECT DISTINCT id FROM wanted) AS wanted
             WHERE jobs.id = wanted.id
               AND jobs.held IS NOT NULL
            RETURNING jobs.id
        ), cleared AS (
            INSERT INTO released_searches (search_id)
            SELECT DISTINCT search_id FROM wanted WHERE held = 'restored'
                ON CONFLICT DO NOTHING
        )
        SELECT wanted.lookup_id AS id
          FROM wanted
          JOIN released ON released.id = wanted.id
        """,
        ids,
    )
    return {row["id"] for row in rows}


async def possibly_charged(db: Db, id: UUID) -> list[str]:
    """Return the providers that may have charged without answering: asking them again may charge again."""
    rows = await db.fetch(
        """
        SELECT DISTINCT finished_jobs.provider
          FROM lookups
          JOIN finished_jobs ON finished_jobs.lookup_id IN (lookups.id, lookups.reused_from)
         WHERE lookups.id = $1
           AND finished_jobs.possible > 0
         ORDER BY 1
        """,
        id,
    )
    return [row["provider"] for row in rows]


@dataclass(frozen=True, slots=True)
class _Again:
    """A locked lookup, with what `decide` needs about it."""

    row: asyncpg.Record
    seeker: Seeker


_COLUMNS = """
        SELECT lookups.id, lookups.source, lookups.record_id, lookups.profile_url, lookups.work_email,
               lookups.personal_email, lookups.name, lookups.company, lookups.region_hint, lookups.providers,
               lookups.keys, lookups.identifiers, lookups.insists, lookups.mobile, lookups.refused
          FROM lookups
"""
_STILL_LEFT_BEHIND = f"""
        {_COLUMNS}
          LEFT JOIN searches ON searches.id = lookups.search_id
         WHERE lookups.id = ANY($1::uuid[])
           AND lookups.final_status IS NULL
           AND (searches.id IS NULL OR searches.ended_at IS NOT NULL)
         ORDER BY lookups.id
           FOR NO KEY UPDATE OF lookups
"""
_RETRIED = f"""
        {_COLUMNS}
         WHERE lookups.id = ANY($1::uuid[])
           AND lookups.final_status IN ('failed', 'unresolved')
           AND ($2::timestamptz IS NULL OR lookups.finished_at = $2)
         ORDER BY lookups.id
           FOR NO KEY UPDATE OF lookups
"""
_WRONG = f"""
        {_COLUMNS}
         WHERE lookups.id = ANY($1::uuid[])
           AND lookups.final_status = 'found'
           AND ($2::timestamptz IS NULL OR lookups.finished_at = $2)
         ORDER BY lookups.id
           FOR NO KEY UPDATE OF lookups
"""


async def _decide_locked(
    db: Db, ids: Sequence[UUID], policy: Policy, query: str, *given: Any, insists: bool = False
) -> list[UUID]:
    """Lock keys, searches and lookups, in this order; decide, and write the decisions."""
    keys = {key for row in await db.fetch("SELECT keys FROM lookups WHERE id = ANY($1::uuid[])", ids) for key in row[0]}
    locked = await lock_known_keys(db, keys)
    again = [_again(row, policy, insists=insists) for row in await db.fetch(query, ids, *given)]
    world, regions = locked.world, {one.seeker.region for one in again}
    world.suppressed = await suppressed_numbers(db, world, regions, policy.hash)
    hits = await suppressed_hashes(db, {hash for one in again for hash in one.seeker.keys.asked})
    again.sort(key=lambda one: (-len(one.seeker.keys.identifiers), one.row["id"]))
    now = datetime.now(UTC)
    fates: list[tuple[_Again, Fate]] = []
    for one in again:
        if one.row["mobile"]:
            _mark_wrong(world, one)
        seeker = replace(one.seeker, is_suppressed=not hits.isdisjoint(one.seeker.keys.asked))
        fates.append((one, decide(seeker, world, now, policy, read_number)))
    await save_world(db, locked)
    await guard(db, world.begun(), policy.guards.floods)
    await insert_new_searches(db, world)
    await _save_fates(db, fates, policy.channels)
    return [one.row["id"] for one, _ in fates]


def _again(row: asyncpg.Record, policy: Policy, *, insists: bool) -> _Again:
    contact = Contact(
        profile_url=row["profile_url"], work_email=row["work_email"], personal_email=row["personal_email"],
        name=row["name"], company=row["company"], region=row["region_hint"],
    )  # fmt: skip
    keys: Keys = keys_from_hashes(contact, frozenset(row["keys"]), frozenset(row["identifiers"]), policy.hash)
    refused = frozenset(row["refused"]).union([row["mobile"]] if insists and row["mobile"] else [])
    seeker = Seeker(
        row["id"], keys, facts_of(contact, policy.hash), tuple(row["providers"]), row["source"], contact.region,
        insists or row["insists"], refused,
    )  # fmt: skip
    return _Again(row, seeker)


def _mark_wrong(world: World, wrong: _Again) -> None:
    """Mark the number as wrong in the searches that gave it, and in those that may still get it."""
    mobile = wrong.row["mobile"]
    for search in world.searches.values():
        gave_it = any(number.mobile == mobile for number in search.numbers.values())
        if gave_it or (search.ended_at is None and search.keys & wrong.seeker.keys.own):
            search.wrong.add(mobile)
            search.is_changed = True


async def _save_fates(db: Db, fates: Sequence[tuple[_Again, Fate]], channels: Sequence[str]) -> None:
    rows = [_fate_row(one, fate) for one, fate in fates]
    await db.execute(
        f"WITH {FATES.cte('new')}, {CHANNELS.cte('channel')}, {_SAVE_FATES}, {NEW_DELIVERIES} SELECT",
        *FATES.of(rows, getitem),
        list(channels),
    )


def _fate_row(one: _Again, fate: Fate) -> dict[str, Any]:
    id = one.row["id"]
    return {
        "id": id,
        "search_id": fate.search.id,
        "reused_from": None if fate.search.begun_for == id else fate.search.begun_for,
        # A person asked for a new search: it has to wait until the open one ends.
        "insists": one.seeker.insists and fate.status is None and not fate.search.is_new,
        "refused": ",".join(sorted(one.seeker.refused)),
    } | answer_row(fate)


FATES = Columns(
    id="uuid", search_id="uuid", reused_from="uuid", insists="bool", status="text", mobile="text", mobile_raw="text",
    region="text", line_type="text", provider="text", reason="text", refused="text",
)  # fmt: skip
CHANNELS = Columns(FATES.next, name="text")
_SAVE_FATES = """
    changed_lookup AS (
        UPDATE lookups
           SET search_id = new.search_id, reused_from = new.reused_from, insists = new.insists,
               final_status = new.status::final_status,
               finished_at = CASE WHEN new.status IS NOT NULL THEN now() END,
               mobile = new.mobile, mobile_raw = new.mobile_raw, region = new.region, line_type = new.line_type,
               provider = new.provider, reason = new.reason, refused = string_to_array(new.refused, ',')
          FROM new
         WHERE lookups.id = new.id
        RETURNING lookups.id, lookups.source, lookups.record_id, lookups.final_status
    )
"""


async def _lock_jobs_and_searches(db: Db, ids: Sequence[UUID]) -> None:
    """Lock queued jobs, then searches, as the order of locks requires; wait for submitters that are claiming the jobs.

    Others than queued jobs are left alone: their lookups run, and a batch of answers may be taking them out.
    """
    await db.execute(
        """
        SELECT
          FROM jobs
         WHERE search_id = ANY(ARRAY(SELECT search_id FROM lookups WHERE id = ANY($1::uuid[])))
           AND state = 'queued'
         ORDER BY id
           FOR UPDATE
        """,
        ids,
    )
    await db.execute(
        """
        SELECT
          FROM searches
         WHERE id = ANY(ARRAY(SELECT search_id FROM lookups WHERE id = ANY($1::uuid[])))
         ORDER BY id
           FOR NO KEY UPDATE
        """,
        ids,
    )
