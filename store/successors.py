"""Lookups that were to be asked in the stead of one whose number came late: they take it, and nobody is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from store.database import Db, transaction
from store.keys import claim_keys, follow, keys_of


async def spare_successors(pool: asyncpg.Pool[Any], leaders: Sequence[UUID]) -> list[UUID]:
    """queued -> following: whoever speaks for the person of a found one of *leaders* by now, and has asked nothing.

    (A try that failed for certain asked nothing.)  Returns them; they have not ended yet.
    """
    spared: list[UUID] = []
    for leader, keys in (await _found(pool, leaders)).items():
        if not await _unasked(pool, leader, keys):
            continue
        async with transaction(pool) as connection:
            await claim_keys(connection, dict.fromkeys(keys, leader))
            spared += await _follow(connection, leader, await _unasked(connection, leader, keys))
    return spared


async def _found(db: Db, leaders: Sequence[UUID]) -> dict[UUID, list[bytes]]:
    """Those of *leaders* that found a number themselves, and the keys of their people."""
    rows = await db.fetch(
        """
        SELECT id, profile_url, work_email, personal_email, name, company
          FROM lookups
         WHERE id = ANY($1::uuid[])
           AND final_status = 'found'
           AND reused_from IS NULL
        """,
        list(leaders),
    )
    return {row["id"]: list(keys_of(row)) for row in rows}


async def _unasked(db: Db, leader: UUID, keys: Sequence[bytes]) -> list[UUID]:
    """The other lookups that speak for these keys, whose question waits, and whose jobs never ended."""
    rows = await db.fetch(
        """
        SELECT DISTINCT jobs.lookup_id
          FROM keys
          JOIN jobs ON jobs.lookup_id = keys.lookup_id
         WHERE keys.key = ANY($1::bytea[])
           AND jobs.lookup_id <> $2
           AND jobs.state = 'queued'
           AND NOT EXISTS (SELECT FROM finished_jobs WHERE finished_jobs.lookup_id = jobs.lookup_id)
        """,
        keys,
        leader,
    )
    return [row["lookup_id"] for row in rows]


async def _follow(db: Db, leader: UUID, successors: Sequence[UUID]) -> list[UUID]:
    """queued -> following: their questions are dropped, unless one was claimed at this instant."""
    rows = await db.fetch(
        """
        WITH dropped AS (
            DELETE FROM jobs
             WHERE lookup_id = ANY($2::uuid[])
               AND state = 'queued'
            RETURNING lookup_id
        )
        UPDATE lookups
           SET reused_from = $1, brings_more = false
          FROM dropped
         WHERE lookups.id = dropped.lookup_id
           AND lookups.final_status IS NULL
        RETURNING lookups.id
        """,
        leader,
        list(successors),
    )
    await follow(db, {leader: len(rows)} if rows else {})
    return [row["id"] for row in rows]
