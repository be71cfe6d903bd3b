"""Readings under way: claim them, and end them as lookups or with a reason.

Renewing, undoing, requeueing and rescuing are those of store/leases.py (`READINGS`). A reading's row is locked before
everything else, and an end that matches no attempt any more is dropped with all that it would have written: the
contact was named again meanwhile, and is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.reading import SUPPRESSED
from enrichment.wish import Policy, Wish, suppressible
from store.crm_permits import CAN_BE_CALLED
from store.database import Db, transaction
from store.intake import Event, ingest_in
from store.partitions import first_id
from store.record_lookups import GONE_WITH_ITS_CONTACT, cancel_lookups, move_lookups
from store.restores import mark_lookups
from store.suppressed import suppressed_hashes

BACKFILL_TURN = 5  # of five readings that are claimed while both wait, a backfill named one


@dataclass(frozen=True, slots=True)
class ClaimedReading:
    """A contact for this process to read, as attempt number *attempt*. *erases*: its person is to be forgotten."""

    id: UUID
    record_id: str
    attempt: int
    tries: int
    named_by: str
    erases: bool = False
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Became:
    """A contact that becomes a lookup. *news_at*: what it wishes for is as old as that; *body*: the contact verbatim.

    *absorbed*: contacts that were merged into it, whose open lookups are its own now.
    """

    id: UUID
    attempt: int
    wish: Wish
    named_by: str
    news_at: datetime | None
    body: bytes
    absorbed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A contact that becomes no lookup, and why."""

    id: UUID
    attempt: int
    reason: str


async def due_in(db: Db, source: str) -> float | None:
    """Return the seconds until a reading of *source* is due; None if none is queued. Cheap, unlike a claim."""
    seconds: float | None = await db.fetchval(
        """
        SELECT EXTRACT(epoch FROM LEAST(
                   (SELECT min(due_at) FROM readings
                     WHERE source = $1 AND (named_by = 'backfill') IS FALSE AND state = 'queued'),
                   (SELECT min(due_at) FROM readings
                     WHERE source = $1 AND (named_by = 'backfill') IS TRUE AND state = 'queued')) - now())::float8
        """,
        source,
    )
    return seconds


async def claim(db: Db, source: str, *, most: int, lease: timedelta, claim_id: UUID) -> list[ClaimedReading]:
    """Claim up to *most* due readings of *source* (queued -> reading): events and sweeps first, some of a backfill.

    Claim none while the CRM is shut, as `read_shut` says. When this raises, the claim may have been committed
    nevertheless: `READINGS.undo` finds them by *claim_id*.
    """
    rows = await db.fetch(_CLAIM.format(can_be_called=CAN_BE_CALLED), source, most, lease, claim_id, BACKFILL_TURN)
    return [
        ClaimedReading(
            row["id"], row["record_id"], row["attempt"], row["tries"], row["named_by"], row["erases"]
        )
        for row in rows
    ]  # fmt: skip


# IS FALSE and IS TRUE, not NOT: the planner would turn that into <>, which is not what the index is on.
_CLAIM = """
        WITH news AS MATERIALIZED (
            SELECT id, due_at, 1 AS turn
              FROM readings
             WHERE source = $1 AND (named_by = 'backfill') IS FALSE AND state = 'queued' AND due_at <= now()
               AND {can_be_called}
             ORDER BY due_at, id
             LIMIT $2
               FOR UPDATE SKIP LOCKED   -- a second process takes the next ones
        ), backfill AS MATERIALIZED (
            SELECT id, due_at, $5 - 1 AS turn
              FROM readings
             WHERE source = $1 AND (named_by = 'backfill') IS TRUE AND state = 'queued' AND due_at <= now()
               AND {can_be_called}
             ORDER BY due_at, id
             LIMIT $2
               FOR UPDATE SKIP LOCKED
        ), due AS MATERIALIZED (
            -- Four named by events, then one by a backfill: neither kind can starve the other.
            SELECT id
              FROM (SELECT *, turn * row_number() OVER (PARTITION BY turn ORDER BY due_at, id) AS place
                      FROM (SELECT * FROM news UNION ALL SELECT * FROM backfill) AS both_kinds) AS queue
             ORDER BY place, turn
             LIMIT $2
        )
        UPDATE readings
           SET state = 'reading',
               attempt = attempt + 1,
               lease_expires_at = clock_timestamp() + $3,
               claimed_by = $4
          FROM due
         WHERE readings.id = due.id
        RETURNING readings.id, record_id, attempt, tries, named_by, erases
"""


async def claim_erasure(db: Db, overdue: timedelta, lease: timedelta) -> tuple[str, ClaimedReading] | None:
    """Claim a reading that erases and is *overdue*, because no process reads for its CRM. Return it with the CRM."""
    row = await db.fetchrow(
        """
        WITH due AS MATERIALIZED (
            SELECT id
              FROM readings
             WHERE erases AND state = 'queued' AND due_at <= now() - $1::interval
             ORDER BY due_at
             LIMIT 1
               FOR UPDATE SKIP LOCKED
        )
        UPDATE readings
           SET state = 'reading', attempt = attempt + 1, lease_expires_at = clock_timestamp() + $2, claimed_by = NULL
          FROM due
         WHERE readings.id = due.id
        RETURNING source, readings.id, record_id, attempt, tries, named_by, erases
        """,
        overdue,
        lease,
    )
    if row is None:
        return None
    claimed = ClaimedReading(
        row["id"], row["record_id"], row["attempt"], row["tries"], row["named_by"], row["erases"]
    )  # fmt: skip
    return row["source"], claimed


async def end_read(
    pool: asyncpg.Pool[Any], source: str, became: Sequence[Became], skipped: Sequence[Skipped], policy: Policy
) -> dict[UUID, UUID | None]:
    """End readings (reading -> done, skipped), with their lookups, in one transaction.

    Return those that were still ours, each with its lookup.
    """
    async with transaction(pool) as connection:
        mine = await lock_readings(
            connection, [*((one.id, one.attempt) for one in became), *((one.id, one.attempt) for one in skipped)]
        )
        # An end that waited for the database may share the batch with the end of a later attempt.
        became = [one for one in became if (one.id, one.attempt) in mine]
        skipped = [one for one in skipped if (one.id, one.attempt) in mine]
        reasons = {one.id: one.reason for one in skipped}
        suppressed = await _suppressed(connection, became, policy)
        reasons |= dict.fromkeys(suppressed, SUPPRESSED)
        became = [one for one in became if one.id not in suppressed]
        known = await _known_lookups(connection, source, became, policy)
        new = [one for one in became if one.id not in known]
        receipts = await ingest_in(
            connection,
            [Event(source, one.body, (one.wish,), is_approved=one.named_by == "backfill") for one in new],
            policy,
        )
        lookups = known | {one.id: receipt.id for one, (receipt,) in zip(new, receipts, strict=True)}
        for one in became:
            if one.absorbed:
                await move_lookups(connection, source, one.absorbed, str(one.wish.record_id))
        if repeating := [lookups[one.id] for one in new if mine[one.id, one.attempt]]:
            await mark_lookups(connection, repeating)
        await _end(connection, lookups, reasons)
    return {id: lookups.get(id) for id, _ in mine}


async def lock_readings(db: Db, claimed: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], bool]:
    """Lock these (id, attempt), and return those that are still being read in this attempt.

    With each, whether its question may have been paid for before a restore.
    """
    rows = await db.fetch(
        """
        SELECT readings.id, readings.attempt, readings.may_repeat
          FROM readings
          JOIN unnest($1::uuid[], $2::int[]) AS mine (id, attempt) USING (id, attempt)
         WHERE readings.state = 'reading'
         ORDER BY readings.source, readings.record_id   -- as those who name contacts lock them
           FOR UPDATE OF readings
        """,
        [id for id, _ in claimed],
        [attempt for _, attempt in claimed],
    )
    return {(row["id"], row["attempt"]): row["may_repeat"] for row in rows}


async def _suppressed(db: Db, became: Sequence[Became], policy: Policy) -> set[UUID]:
    """Return the contacts about which a person forbade every question."""
    if not became:
        return set()
    hashes = {one.id: suppressible(one.wish.contact, policy.hash) for one in became}
    found = await suppressed_hashes(db, set().union(*hashes.values()))
    return {id for id, of_contact in hashes.items() if not found.isdisjoint(of_contact)}


async def _known_lookups(db: Db, source: str, became: Sequence[Became], policy: Policy) -> dict[UUID, UUID]:
    """Return, for each contact without news since its last lookup, that lookup.

    Our own write of a status changes the contact: without this, a failed lookup would lead to the next for ever. What a
    sweep shows is no wish; an event of the same news is one again when the answer is too old to be reused. A contact
    that was deleted and restored is asked about again. So is one with an identifier that the lookup lacks, however old:
    it was set between that reading and its end. A date to come is no news: it would stay so for ever.
    """
    if not became:
        return {}
    rows = await db.fetch(
        """
        SELECT contact.id AS reading_id, known.id AS lookup_id
          FROM unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::bool[], $8::text[], $9::text[], $10::text[])
               AS contact (id, record_id, news_at, is_wish, profile_url, work_email, personal_email)
         CROSS JOIN LATERAL (
               SELECT *
                 FROM lookups
                WHERE lookups.record_id = contact.record_id
                  AND lookups.source = $1
                ORDER BY lookups.id DESC
                LIMIT 1) AS known
         WHERE (known.created_at >= COALESCE(contact.news_at, '-infinity')
                OR contact.news_at > now() + interval '5 minutes')   -- further ahead than any clock
           AND COALESCE(contact.profile_url = known.profile_url, contact.profile_url IS NULL)
           AND array_remove(ARRAY[contact.work_email, contact.personal_email], NULL)
               <@ ARRAY[known.work_email, known.personal_email]
           AND NOT (known.final_status IS NOT DISTINCT FROM 'cancelled' AND known.reason = $7)
           AND (NOT contact.is_wish OR known.final_status IS NULL
                OR known.final_status <> 'found' AND known.finished_at > now() - $6::interval)
        """,
        source,
        [one.id for one in became],
        [one.wish.record_id for one in became],
        [one.news_at for one in became],
        [one.named_by not in ("sweep", "walk") for one in became],
        policy.not_found,
        GONE_WITH_ITS_CONTACT,
        [one.wish.contact.profile_url for one in became],
        [one.wish.contact.work_email for one in became],
        [one.wish.contact.personal_email for one in became],
    )
    return {row["reading_id"]: row["lookup_id"] for row in rows}


async def _end(db: Db, lookups: dict[UUID, UUID], reasons: dict[UUID, str]) -> None:
    await db.execute(
        """
        UPDATE readings
           SET state = CASE WHEN ending.reason IS NULL THEN 'done' ELSE 'skipped' END::reading_state,
               lookup_id = COALESCE(ending.lookup_id, readings.lookup_id),
               reason = ending.reason,
               ended_at = now(),
               lease_expires_at = NULL,
               claimed_by = NULL,
               tries = 0,
               error = NULL,
               may_repeat = false
          FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS ending (id, lookup_id, reason)
         WHERE readings.id = ending.id
           AND readings.state = 'reading'
        """,
        [*lookups, *reasons],
        [*lookups.values(), *(None for _ in reasons)],
        [*(None for _ in lookups), *reasons.values()],
    )


async def end_gone(pool: asyncpg.Pool[Any], source: str, record_id: str, gone: Skipped, policy: Policy) -> bool:
    """Cancel the open lookups of a contact that is gone, unless they run already, and end its reading as skipped.

    Alone in its transaction: jobs are locked before searches, and intake locks those first. Return False if the
    reading was not ours any more.
    """
    async with transaction(pool) as connection:
        if not await lock_readings(connection, [(gone.id, gone.attempt)]):
            return False
        await cancel_lookups(connection, source, record_id, policy)
        await _end(connection, {}, {gone.id: gone.reason})
    return True


async def end_merged(pool: asyncpg.Pool[Any], source: str, record_id: str, into: str, merged: Skipped) -> bool:
    """Give the open lookups of a merged contact to the one that it was merged *into*; end its reading as skipped.

    The other contact has to be named before. Return False if the reading was not ours any more.
    """
    async with transaction(pool) as connection:
        if not await lock_readings(connection, [(merged.id, merged.attempt)]):
            return False
        await move_lookups(connection, source, [record_id], into)
        await _end(connection, {}, {merged.id: merged.reason})
    return True


async def end_stale(db: Db, source: str, at_most: timedelta, reason: str, limit: int) -> int:
    """End up to *limit* readings that were named longer ago than *at_most* (queued -> skipped); return how many.

    An erasure is never given up.
    """
    rows = await db.fetch(
        """
        UPDATE readings
           SET state = 'skipped', reason = $4, ended_at = now()
         WHERE state = 'queued'
           AND id IN (SELECT id
                        FROM readings
                       WHERE source = $1
                         AND state = 'queued'
                         AND id < $2   -- first named before that: then the index is enough
                         AND named_at < now() - $3::interval
                         AND NOT erases
                       ORDER BY id
                       LIMIT $5
                         FOR UPDATE SKIP LOCKED)
        RETURNING id
        """,
        source,
        first_id(datetime.now(UTC) - at_most),
        at_most,
        reason,
        limit,
    )
    return len(rows)
