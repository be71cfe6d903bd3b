"""Deliveries: written in the commit that ends a lookup, claimed by a sender, ended by what the other side says.

Renewing, undoing, requeueing and rescuing are those of store/leases.py (`DELIVERIES`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.states import DELIVERY_STATES, DeliveryEnd
from store import audit
from store.columns import Columns
from store.crm_permits import CAN_BE_CALLED
from store.database import Db, transaction
from store.partitions import first_id

# For every statement that ends lookups, in the same commit. It follows two CTEs: `channel (name)`, the channels of the
# policy, and `changed_lookup (id, source, record_id, final_status)`, the lookups that the statement wrote: those that
# are final have ended. A CRM hears only of its own contacts, and only of results that it can show.
NEW_DELIVERIES = """
    delivery AS (
        INSERT INTO deliveries (id, lookup_id, channel)
        SELECT new_id(), changed_lookup.id, channel.name
          FROM changed_lookup
         CROSS JOIN channel
         WHERE changed_lookup.final_status IS NOT NULL
           AND (channel.name = 'webhook'
                OR channel.name = changed_lookup.source
                   AND changed_lookup.record_id IS NOT NULL
                   AND changed_lookup.final_status IN ('found', 'not_found', 'failed', 'unresolved'))
        RETURNING id
    )
"""

SOON = 5.0  # seconds: what is due later than that is waited for as if nothing waited


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery for this sender, as attempt number *attempt*.

    *record_id*: the record that it goes to, if it is no longer the lookup's own.
    """

    id: UUID
    lookup_id: UUID
    attempt: int
    tries: int
    record_id: str | None
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class DeliveryClaim:
    """The claimed deliveries, and what to do next: claim *more* at once, or rest."""

    deliveries: Sequence[ClaimedDelivery]
    more: bool = False
    idle: bool = False  # nothing is due within SOON
    left: bool = False  # some are due: the CRM is shut, or another sender was faster


async def claim(pool: asyncpg.Pool[Any], channel: str, *, most: int, lease: timedelta, claim_id: UUID) -> DeliveryClaim:
    """Claim up to *most* due deliveries of *channel* (queued -> sending), those that are due longest first.

    Claim none while the CRM of that name is shut, as `read_shut` says. When this raises, the claim may have been
    committed nevertheless: `DELIVERIES.undo` finds them by *claim_id*.
    """
    return as_claim(await pool.fetch(_CLAIM.format(can_be_called=CAN_BE_CALLED), channel, most, lease, claim_id), most)


def as_claim(rows: Sequence[asyncpg.Record], most: int) -> DeliveryClaim:
    """Read what a statement that claims up to *most* returned."""
    claimed = [
        ClaimedDelivery(row["id"], row["lookup_id"], row["attempt"], row["tries"], row["record_id"])
        for row in rows
        if row["id"] is not None
    ]
    if claimed:
        return DeliveryClaim(claimed, more=rows[0]["due"] == most)
    due_in: float | None = rows[0]["due_in"]
    return DeliveryClaim((), idle=due_in is None or due_in > SOON, left=due_in is not None and due_in <= 0)


_CLAIM = """
        WITH due AS MATERIALIZED (
            SELECT id
              FROM deliveries
             WHERE channel = $1 AND state = 'queued' AND due_at <= now()
               AND {can_be_called}
             ORDER BY due_at, id
             LIMIT $2
               FOR UPDATE SKIP LOCKED   -- a second sender takes the next ones
        ), claimed AS (
            UPDATE deliveries
               SET state = 'sending',
                   attempt = attempt + 1,
                   lease_expires_at = clock_timestamp() + $3,
                   claimed_by = $4
              FROM due
             WHERE deliveries.id = due.id
            RETURNING deliveries.id, lookup_id, attempt, tries, record_id
        )
        SELECT claimed.*, (SELECT count(*) FROM due) AS due, first.due_in
          FROM (SELECT EXTRACT(epoch FROM min(due_at) - now())::float8 AS due_in   -- before this claim
                  FROM deliveries
                 WHERE channel = $1 AND state = 'queued') AS first
          LEFT JOIN claimed ON true
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a delivery. *reason*: why it was refused, given up or skipped; *answer*: the other side's words.

    *wrote*: the hash of the number that is now in the CRM; *record_id*: the record, if it is not the lookup's own.
    """

    id: UUID
    attempt: int
    state: DeliveryEnd
    reason: str | None = None
    answer: str | None = None
    error: str | None = None
    wrote: bytes | None = None
    record_id: str | None = None
    counts: bool = False  # it failed: one of the tries


ENDED = Columns(
    id="uuid", attempt="int", state="text", reason="text", answer="text", error="text", wrote="bytea",
    record_id="text", counts="bool",
)  # fmt: skip


async def end(db: Db, endings: Sequence[Ended]) -> set[UUID]:
    """End deliveries (sending -> delivered, refused, given_up or skipped). Return those that were still ours."""
    rows = await db.fetch(f"WITH {ENDED.cte('ending')} {_END}", *ENDED.of(endings))
    return {row["id"] for row in rows}


_END = """
        UPDATE deliveries
           SET state = ending.state::delivery_state,
               ended_at = now(),
               lease_expires_at = NULL,
               claimed_by = NULL,
               tries = tries + ending.counts::int,
               reason = ending.reason,
               answer = ending.answer,
               error = ending.error,
               wrote = COALESCE(ending.wrote, deliveries.wrote),
               record_id = COALESCE(ending.record_id, deliveries.record_id)
          FROM ending
         WHERE deliveries.id = ending.id
           AND deliveries.attempt = ending.attempt
           AND deliveries.state = 'sending'
        RETURNING deliveries.id
"""


async def keep_answers(db: Db, answers: Sequence[tuple[UUID, int, str | None]]) -> None:
    """Keep the answers (id, attempt, answer) to tries that failed, before they are queued again."""
    await db.execute(
        """
        UPDATE deliveries
           SET answer = kept.answer
          FROM unnest($1::uuid[], $2::int[], $3::text[]) AS kept (id, attempt, answer)
         WHERE deliveries.id = kept.id
           AND deliveries.attempt = kept.attempt
           AND deliveries.state = 'sending'
        """,
        [id for id, _, _ in answers],
        [attempt for _, attempt, _ in answers],
        [answer for _, _, answer in answers],
    )


async def end_stale(db: Db, at_most: timedelta, reason: str, limit: int) -> int:
    """End up to *limit* deliveries that have waited for longer than *at_most* (queued -> given_up); return how many.

    One that is still being tried, or that a person replayed, has twice as long.
    """
    now = datetime.now(UTC)
    rows = await db.fetch(
        """
        UPDATE deliveries
           SET state = 'given_up', reason = $4, ended_at = now()
         WHERE state = 'queued'
           AND id IN (SELECT id
                        FROM deliveries
                       WHERE state = 'queued'
                         AND id < $1
                         AND (due_at < now() - interval '1 day' OR id < $2)
                       LIMIT $3
                         FOR UPDATE SKIP LOCKED)
        RETURNING id
        """,
        first_id(now - at_most),
        first_id(now - 2 * at_most),
        limit,
        reason,
    )
    return len(rows)


async def replay(db: Db, ids: Sequence[UUID]) -> set[UUID]:
    """Send ended deliveries again (delivered, refused, given_up or skipped -> queued). Return those that had ended."""
    rows = await db.fetch(
        """
        UPDATE deliveries
           SET state = 'queued', due_at = now(), tries = 0, ended_at = NULL, reason = NULL, error = NULL, answer = NULL
         WHERE id = ANY($1::uuid[])
           AND state IN ('delivered', 'refused', 'given_up', 'skipped')
        RETURNING id
        """,
        sorted(ids),
    )
    return {row["id"] for row in rows}


async def replay_one(pool: asyncpg.Pool[Any], id: UUID, *, who: str) -> bool:
    """Send an ended delivery again, on behalf of *who*. Return False when it has not ended, or does not exist."""
    async with transaction(pool) as connection:
        done = bool(await replay(connection, [id]))
        if done:
            await audit.record(connection, who=who, action="replay", subject=id)
    return done


async def list_deliveries(
    db: Db,
    *,
    channels: Sequence[str],
    states: Sequence[str] = DELIVERY_STATES,
    lookup_id: UUID | None = None,
    before: UUID,
    limit: int,
) -> list[UUID]:
    """Return the ids of up to *limit* deliveries of these channels and states, older than *before*, newest first.

    With *lookup_id*, only those of this lookup, which has few.
    """
    if lookup_id is not None:
        of_lookup = (await deliveries_of(db, [lookup_id])).get(lookup_id, [])
        ids = [row["id"] for row in of_lookup if row["channel"] in channels and row["status"] in states]
        return [id for id in ids if id < before][:limit]
    rows = await db.fetch(
        """
        SELECT delivery.id
          FROM unnest($1::text[]) AS wanted_channel (name)
         CROSS JOIN unnest($2::delivery_state[]) AS wanted_state (name)
         CROSS JOIN LATERAL (
               -- Each in its own place in the index. ANY keeps the channel as a sort key: by id alone, the planner
               -- would read all newer ones of the others.
               SELECT id
                 FROM deliveries
                WHERE channel = ANY (ARRAY[wanted_channel.name])
                  AND state = wanted_state.name
                  AND id < $3
                ORDER BY channel DESC, id DESC
                LIMIT $4) AS delivery
         ORDER BY delivery.id DESC
         LIMIT $4
        """,
        list(channels),
        list(states),
        before,
        limit,
    )
    return [row["id"] for row in rows]


async def outstanding(db: Db) -> list[asyncpg.Record]:
    """Count the deliveries that have not ended by channel and state, with the seconds that the oldest is overdue."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT channel, 'queued' AS state, count(*) AS deliveries,
               GREATEST(0, EXTRACT(epoch FROM now() - min(due_at)))::float8 AS overdue
          FROM deliveries
         WHERE state = 'queued'
         GROUP BY channel
         UNION ALL
        SELECT channel, 'sending', count(*), 0
          FROM deliveries
         WHERE state = 'sending'
         GROUP BY channel
         ORDER BY channel, state
        """
    )
    return rows


async def read_deliveries(db: Db, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Return these deliveries as the API shows them, newest first; leave out unknown ids."""
    return [dict(row) for row in await db.fetch(f"{_SHOWN} WHERE id = ANY($1::uuid[]) ORDER BY id DESC", list(ids))]


async def deliveries_of(db: Db, lookup_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """Return the deliveries of these lookups, newest first."""
    found: dict[UUID, list[dict[str, Any]]] = {}
    for row in await db.fetch(f"{_SHOWN} WHERE lookup_id = ANY($1::uuid[]) ORDER BY id DESC", list(lookup_ids)):
        found.setdefault(row["lookup_id"], []).append(dict(row))
    return found


_SHOWN = """
        SELECT id, lookup_id, channel, state::text AS status, attempt AS attempts,
               CASE WHEN state = 'queued' THEN due_at END AS next_at,
               ended_at AS finished_at, reason, error AS last_error, answer
          FROM deliveries
"""
