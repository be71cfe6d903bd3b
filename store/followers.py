"""Lookups that follow another for the same person: they end as it ends, or take their own turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from uuid_utils.compat import uuid7

from enrichment.identity import Decision, Follow, Lead, ReusePolicy, Take, decide
from store.database import Db, transaction
from store.keys import claim_keys, follow, keys_of, lock_leaders, move_keys
from store.successors import spare_successors

log = structlog.get_logger()


async def release_followers(pool: asyncpg.Pool[Any], leaders: Sequence[UUID], policy: ReusePolicy) -> None:
    """Whoever followed one of these ended lookups has ended as well, or leads, or follows another.

    So has whoever was to be asked in the stead of one whose number came late.
    """
    if spared := await spare_successors(pool, leaders):
        log.info("spared", lookups=[str(id) for id in spared])
    while leaders:
        done = await pool.fetch(
            """
            SELECT followers.id
              FROM lookups AS followers
              JOIN lookups AS leaders ON leaders.id = followers.reused_from
             WHERE followers.reused_from = ANY($1::uuid[])
               AND leaders.final_status IS NOT NULL
               AND (followers.final_status IS NULL
                    OR leaders.final_status = 'found'
                       AND followers.final_status IN ('not_found', 'failed', 'unresolved'))
             ORDER BY followers.id
            """,
            list(leaders),
        )
        ended = await end_followers(pool, [row["id"] for row in done])
        if ended:
            log.info("followers_ended", lookups=[str(id) for id in ended])
        for row in done:
            if row["id"] not in ended and await promote(pool, row["id"], policy):
                log.info("promoted", lookup=str(row["id"]))
        leaders = [id for id, has_followers in ended.items() if has_followers]


async def end_followers(db: Db, followers: Sequence[UUID]) -> dict[UUID, bool]:
    """open -> final: these end as their leaders ended; those that take their own turn are left alone.

    A follower that had ended without a number ends again when its leader's doubt was lifted late.  Returns those
    that ended, and whether they are followed themselves.
    """
    rows = await db.fetch(
        """
        UPDATE lookups AS follower
           SET final_status = leader.final_status,
               finished_at  = now(),
               mobile       = leader.mobile,
               mobile_raw   = leader.mobile_raw,
               region       = leader.region,
               line_type    = leader.line_type,
               provider     = leader.provider,
               reason       = leader.reason
          FROM lookups AS leader
         WHERE follower.id = ANY($1::uuid[])
           AND leader.id = follower.reused_from
           AND (leader.final_status = 'found'
                    AND (follower.final_status IS NULL
                         OR follower.final_status IN ('not_found', 'failed', 'unresolved'))
                OR leader.final_status IN ('not_found', 'failed', 'unresolved')
                    AND NOT follower.brings_more
                    AND (follower.final_status IS NULL
                         OR follower.final_status IN ('failed', 'unresolved')
                            AND follower.final_status <> leader.final_status))
        RETURNING follower.id, follower.followers > 0 AS has_followers
        """,
        list(followers),
    )
    return {row["id"]: row["has_followers"] for row in rows}


async def share_late_end(db: Db, leader: UUID) -> None:
    """Whoever followed *leader*, or took its answer, has ended as it ends now."""
    leaders = [leader]
    while leaders:
        rows = await db.fetch("SELECT id FROM lookups WHERE reused_from = ANY($1::uuid[]) ORDER BY id", leaders)
        leaders = list(await end_followers(db, [row["id"] for row in rows]))


async def promote(pool: asyncpg.Pool[Any], id: UUID, policy: ReusePolicy, *, by_a_person: bool = False) -> bool:
    """A lookup whose leader is of no use to it takes its own turn: it leads, or follows or takes another's answer.

    *by_a_person* (a retry): one that ended without a number is asked again, but never beside somebody who is asking
    for the same person; and who ended as it did waits with it.  False when there was nothing to do.
    """
    async with transaction(pool) as connection:
        keys = await _person_keys(connection, id)
        if keys is None:
            return False
        now = datetime.now(UTC)
        claimed, before = await claim_keys(connection, dict.fromkeys(keys, id))
        leaders = await lock_leaders(connection, {*claimed.values(), *before.values(), id})
        me = leaders.pop(id)
        if by_a_person:
            if me.final_status not in ("failed", "unresolved"):
                return False
            fate = await _decide_again(connection, id, decide(keys, leaders.values(), now, policy))
            await _reopen_followers(connection, id)
        elif me.final_status is not None or not await _follows(connection, id):
            return False  # it has ended, or somebody else has let it lead meanwhile
        else:
            fate = decide(keys, leaders.values(), now, policy)
        if isinstance(fate, Lead):
            await _lead(connection, id)
            await move_keys(connection, dict.fromkeys(keys, id))
            return True
        brings_more = isinstance(fate, Follow) and fate.brings_more
        await _follow_another(connection, id, fate.leader.id, brings_more=brings_more)
        await move_keys(connection, {key: fate.leader.id for key, owner in claimed.items() if owner not in leaders})
        if isinstance(fate, Follow):
            await follow(connection, {fate.leader.id: 1})
        else:
            await end_followers(connection, [id])
        return True


async def _follows(db: Db, id: UUID) -> bool:
    """Whether this lookup, which is locked, follows another."""
    following: bool = await db.fetchval("SELECT reused_from IS NOT NULL FROM lookups WHERE id = $1", id)
    return following


async def _decide_again(db: Db, id: UUID, fate: Decision) -> Decision:
    """What a retried lookup does: an end without a number is no answer to it; and what cost something leads."""
    if isinstance(fate, Take) and fate.leader.final_status != "found":
        return Lead()
    return Lead() if await db.fetchval("SELECT credits > 0 FROM lookups WHERE id = $1", id) else fate


async def _reopen_followers(db: Db, leader: UUID) -> None:
    """failed or unresolved -> queued: whoever ended as *leader* did, or took its end, follows it again."""
    leaders = [leader]
    while leaders:
        rows = await db.fetch(
            """
            WITH reopened AS (
                UPDATE lookups
                   SET final_status = NULL, finished_at = NULL, reason = NULL
                 WHERE reused_from = ANY($1::uuid[])
                   AND final_status IN ('failed', 'unresolved')
                RETURNING id, reused_from
            ), counted AS (
                UPDATE lookups
                   SET followers = followers + 1
                 WHERE id IN (SELECT reused_from FROM reopened)
            )
            SELECT id FROM reopened
            """,
            leaders,
        )
        leaders = [row["id"] for row in rows]


async def _person_keys(db: Db, id: UUID) -> frozenset[bytes] | None:
    row = await db.fetchrow(
        "SELECT profile_url, work_email, personal_email, name, company FROM lookups WHERE id = $1", id
    )
    return keys_of(row) if row else None


async def _lead(db: Db, id: UUID) -> None:
    """open, failed or unresolved -> queued: the providers that have not answered yet are asked, from the first."""
    await db.execute(
        """
        WITH lookup AS (
            UPDATE lookups
               SET final_status = NULL, finished_at = NULL, reason = NULL,
                   reused_from = NULL, brings_more = false
             WHERE id = $1
               AND (final_status IS NULL OR final_status IN ('failed', 'unresolved'))
            RETURNING id, providers
        )
        INSERT INTO jobs (id, lookup_id, provider, todo)
        SELECT $2, id, chain[1], chain[2:]
          FROM lookup
         CROSS JOIN LATERAL (
               SELECT COALESCE(NULLIF(array_agg(wanted.provider ORDER BY wanted.place), '{}'), providers) AS chain
                 FROM unnest(providers) WITH ORDINALITY AS wanted (provider, place)
                WHERE NOT EXISTS (SELECT FROM finished_jobs
                                   WHERE finished_jobs.lookup_id = lookup.id
                                     AND finished_jobs.provider = wanted.provider
                                     AND finished_jobs.state = 'answered')) AS unasked
            ON CONFLICT (lookup_id) DO NOTHING
        """,
        id,
        uuid7(),
    )


async def _follow_another(db: Db, id: UUID, leader: UUID, *, brings_more: bool) -> None:
    """open, failed or unresolved -> queued: it waits for *leader*."""
    await db.execute(
        """
        UPDATE lookups
           SET reused_from = $2, brings_more = $3, final_status = NULL, finished_at = NULL, reason = NULL
         WHERE id = $1
           AND (final_status IS NULL OR final_status IN ('failed', 'unresolved'))
        """,
        id,
        leader,
        brings_more,
    )
