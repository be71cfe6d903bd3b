"""Name the contacts that a CRM's events speak of, and list readings.

A contact has one row. Naming it again queues it again: a reading under way then matches no attempt, and its result is
dropped, because it may have looked before the change that the event reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.crms.base import Named
from store.database import Db, transaction
from store.partitions import NEWEST

OF_A_NAME = 300  # bytes of memory for a named contact: a merge of a few bytes each may name 50,000
STATES = ("queued", "reading", "done", "skipped")


@dataclass(frozen=True, slots=True)
class CrmEvent:
    """A CRM's message, verbatim, and the contacts that it names."""

    source: str
    body: bytes = field(repr=False)
    named: tuple[Named, ...]
    id: UUID = field(default_factory=uuid7)

    @property
    def size(self) -> int:
        """Return the bytes of memory that it takes, about."""
        return len(self.body) + OF_A_NAME * len(self.named)


async def name_contacts(pool: asyncpg.Pool[Any], events: Sequence[CrmEvent]) -> list[int]:
    """Commit *events* and name their contacts (-> queued); return how many events of each body were accepted.

    Contacts of another account than the connected one are not named, and a body that names no other is not stored.
    A batch whose earlier commit went through unheard may come again: its contacts are read once more.
    """
    named = [(event, one) for event in events for one in event.named]
    async with transaction(pool, acknowledge=True) as connection:
        rows = await connection.fetch(
            """
            WITH named AS (
                SELECT *
                  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::integer[],
                              $8::boolean[])
                    AS named (id, event_id, source, record_id, account, erases, events, is_request)
            ), admitted AS MATERIALIZED (
                SELECT named.*
                  FROM named
                  LEFT JOIN connections ON connections.crm = named.source
                 WHERE connections.account IS NULL
                    OR named.account IS NULL
                    OR named.account = connections.account
            ), stored AS (
                INSERT INTO events (id, source, body)
                SELECT id, source, body
                  FROM unnest($9::uuid[], $10::text[], $11::bytea[]) AS event (id, source, body)
                 WHERE id IN (SELECT event_id FROM admitted)
                    ON CONFLICT DO NOTHING
            ), queued AS (
                INSERT INTO readings (id, source, record_id, named_by, event_id, erases)
                SELECT (array_agg(id))[1], source, record_id,
                       CASE WHEN bool_or(is_request) THEN 'request' ELSE 'event' END,
                       (array_agg(event_id ORDER BY event_id DESC))[1],
                       bool_or(erases)
                  FROM admitted
                 GROUP BY source, record_id
                 ORDER BY source, record_id   -- two batches cannot wait for each other
                    ON CONFLICT (source, record_id) DO UPDATE
                   SET state = 'queued',
                       -- What was asked for stays asked for: it may be older than the connection.
                       named_by = CASE WHEN readings.named_by IN ('backfill', 'request')
                                            AND readings.state IN ('queued', 'reading')
                                       THEN readings.named_by ELSE excluded.named_by END,
                       event_id = excluded.event_id,
                       erases = readings.erases OR excluded.erases,
                       attempt = readings.attempt + 1,
                       tries = 0,
                       due_at = CASE WHEN readings.state = 'queued' THEN LEAST(readings.due_at, now()) ELSE now() END,
                       lease_expires_at = NULL,
                       claimed_by = NULL,
                       named_at = now(),
                       ended_at = NULL,
                       reason = NULL,
                       error = NULL
            )
            SELECT event_id, sum(events)::integer AS events
              FROM admitted
             GROUP BY event_id
            """,
            [uuid7() for _ in named],
            [event.id for event, _ in named],
            [event.source for event, _ in named],
            [one.record_id for _, one in named],
            [one.account for _, one in named],
            [one.erases for _, one in named],
            [one.events for _, one in named],
            [one.is_request for _, one in named],
            [event.id for event in events],
            [event.source for event in events],
            [event.body for event in events],
        )
    accepted = {row["event_id"]: row["events"] for row in rows}
    return [accepted.get(event.id, 0) for event in events]


async def list_readings(
    db: Db, sources: Sequence[str], states: Sequence[str], *, before: UUID | None, limit: int
) -> list[asyncpg.Record]:
    """Return up to *limit* readings, newest first, of these *sources* in these *states*, older than *before*.

    Each pair of source and state is a walk of its own along the index, however many rows the others have.
    """
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT reading.id, reading.source, record_id, reading.state::text AS status, reason, named_by, lookup_id,
               named_at, ended_at, tries, error AS last_error
          FROM unnest($1::text[]) AS wanted (source)
         CROSS JOIN unnest($2::reading_state[]) AS wanted_too (state)
         CROSS JOIN LATERAL (SELECT *
                               FROM readings
                              -- As a range: by equality, the planner would walk along the ids alone.
                              WHERE (readings.source, readings.state, readings.id)
                                    >= (wanted.source, wanted_too.state, '00000000-0000-0000-0000-000000000000'::uuid)
                                AND (readings.source, readings.state, readings.id)
                                    < (wanted.source, wanted_too.state, $3)
                              ORDER BY readings.source DESC, readings.state DESC, readings.id DESC
                              LIMIT $4) AS reading
         ORDER BY reading.id DESC
         LIMIT $4
        """,
        list(sources),
        list(states),
        before or NEWEST,
        limit,
    )
    return rows


async def readings_of_record(
    db: Db, record_id: str, sources: Sequence[str], states: Sequence[str], *, before: UUID | None
) -> list[asyncpg.Record]:
    """Return the readings of one record: one for each of these *sources*, in these *states*, older than *before*."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT id, source, record_id, state::text AS status, reason, named_by, lookup_id,
               named_at, ended_at, tries, error AS last_error
          FROM readings
         WHERE source = ANY($1::text[])
           AND record_id = $2
           AND state = ANY($3::reading_state[])
           AND id < $4
         ORDER BY id DESC
        """,
        list(sources),
        record_id,
        list(states),
        before or NEWEST,
    )
    return rows


async def readings_by_status(db: Db, since: datetime) -> list[asyncpg.Record]:
    """Count the readings that are open, and by status and kind of reason those that ended *since*."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT source, state::text AS status, NULL AS reason, count(*) AS readings
          FROM readings
         WHERE state = 'queued'
         GROUP BY source, state
         UNION ALL
        SELECT source, state::text, NULL, count(*)
          FROM readings
         WHERE state = 'reading'
         GROUP BY source, state
         UNION ALL
        SELECT source, state::text, regexp_replace(split_part(reason, ':', 1), '^(merged into) .*', '\\1'), count(*)
          FROM readings
         WHERE state IN ('done', 'skipped')
           AND ended_at >= $1
         GROUP BY 1, 2, 3
         ORDER BY 1, 2, 4 DESC, 3
        """,
        since,
    )
    return rows
