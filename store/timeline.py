"""Read everything that is stored about one lookup, for its timeline.

What others sent verbatim may name the number, and other people: it is read only for a person who asked to see it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.event import count_contacts
from enrichment.trail import (
    SHOWN,
    Act,
    Arrived,
    CalledBack,
    Delivered,
    Question,
    Read,
    Searched,
    Trail,
    Verbatim,
)
from store.database import Db
from store.partitions import first_id

MOST_ACTS = 200  # the newest
SLACK = timedelta(days=1)  # ids are of the processes' clocks, times of the server's


async def read_trail(db: Db, id: UUID, *, with_bodies: bool = False) -> Trail | None:
    """Return what is stored about the lookup; None if there is none. *with_bodies*: with what was sent, up to SHOWN."""
    row = await db.fetchrow(
        """
        SELECT lookups.id, lookup_status.status, lookups.event_id, lookups.search_id, lookups.reused_from,
               lookups.providers, lookups.problems, lookups.created_at, lookups.finished_at, lookups.provider,
               lookups.reason, cardinality(lookups.refused) AS refused
          FROM lookups
          JOIN lookup_status ON lookup_status.id = lookups.id
         WHERE lookups.id = $1
        """,
        id,
    )
    if row is None:
        return None
    questions = await _questions(db, row, with_bodies=with_bodies)
    deliveries = await _deliveries(db, id, with_bodies=with_bodies)
    values = dict(row)
    event_id = values.pop("event_id")
    return Trail(
        **values
        | {
            "problems": [(path, message) for path, message in json.loads(row["problems"] or "[]")],
            "event": await _event(db, event_id, with_bodies=with_bodies),
            "reading": await _reading(db, id),
            "searches": await _searches(db, {row["search_id"], *(question.search_id for question in questions)}),
            "questions": questions,
            "callbacks": await _callbacks(db, [question.id for question in questions], with_bodies=with_bodies),
            "deliveries": deliveries,
            "acts": await _acts(db, row, [delivery.id for delivery in deliveries]),
        }
    )


async def _event(db: Db, id: UUID, *, with_bodies: bool) -> Arrived | None:
    """Return the event. Of one that names other people as well, the body is never shown."""
    row = await db.fetchrow(
        """
        SELECT source, received_at AS at, octet_length(body) AS size, CASE WHEN $2 THEN body END AS body
          FROM events
         WHERE id = $1
        """,
        id,
        with_bodies,
    )
    if row is None:
        return None
    body = row["body"] or b""
    contacts = count_contacts(body)
    values = dict(row) | {"body": body[:SHOWN] if body and contacts == 1 else None}
    return Arrived(**_shown(values, "body"), contacts=contacts)


async def _reading(db: Db, id: UUID) -> Read | None:
    row = await db.fetchrow(
        """
        SELECT source, named_by, state::text, named_at, ended_at, due_at, tries, reason, error
          FROM readings
         WHERE lookup_id = $1
         ORDER BY named_at DESC
         LIMIT 1
        """,
        id,
    )
    return Read(**row) if row else None


async def _questions(db: Db, lookup: asyncpg.Record, *, with_bodies: bool) -> list[Question]:
    """Return the lookup's own questions, and those of the search that it joined, in the order in which they came."""
    rows = await db.fetch(
        """
        SELECT id, search_id, lookup_id, provider, state::text, attempt, polls, request_id, submitted_at, error,
               octet_length(raw) AS size, CASE WHEN $3 THEN left(raw, $4) END AS raw,
               NULL AS held, NULL AS due_at, NULL AS lease_expires_at, false AS callback_expected, 0 AS reserved,
               answered_by, credits, possible, finished_at
          FROM finished_jobs
         WHERE lookup_id = ANY($1::uuid[])
           AND (lookup_id = $1[1] OR search_id = $2)
         UNION ALL
        SELECT id, search_id, lookup_id, provider, state::text, attempt, polls, request_id, submitted_at, error,
               octet_length(raw), CASE WHEN $3 THEN left(raw, $4) END,
               held, due_at, lease_expires_at, callback_expected, reserved,
               NULL, 0, 0, NULL
          FROM jobs
         WHERE search_id = $2
         ORDER BY id
        """,
        [lookup["id"], *filter(None, [lookup["reused_from"]])],
        lookup["search_id"],
        with_bodies,
        SHOWN,
    )
    return [Question(**_shown(row, "raw")) for row in rows]


async def _searches(db: Db, ids: set[UUID]) -> list[Searched]:
    rows = await db.fetch(
        """
        SELECT id, begun_for, providers, is_retry, is_doubtful, status::text, reason, ended_at
          FROM searches
         WHERE id = ANY($1::uuid[])
         ORDER BY id
        """,
        sorted(ids),
    )
    return [Searched(**row) for row in rows]


async def _callbacks(db: Db, job_ids: Sequence[UUID], *, with_bodies: bool) -> list[CalledBack]:
    rows = await db.fetch(
        """
        SELECT job_id, provider, received_at AS at, times, verdict, flag, body_hash = '' AS is_count,
               octet_length(body) AS size, CASE WHEN $2 THEN substring(body FROM 1 FOR $3) END AS body
          FROM callbacks
         WHERE job_id = ANY($1::uuid[])
         ORDER BY received_at, body_hash = ''
        """,
        list(job_ids),
        with_bodies,
        SHOWN,
    )
    return [CalledBack(**_shown(row, "body")) for row in rows]


async def _deliveries(db: Db, id: UUID, *, with_bodies: bool) -> list[Delivered]:
    rows = await db.fetch(
        """
        SELECT id, channel, state::text, attempt, tries, due_at, ended_at, reason, error,
               octet_length(answer) AS size, CASE WHEN $2 THEN left(answer, $3) END AS answer
          FROM deliveries
         WHERE lookup_id = $1
         ORDER BY id
        """,
        id,
        with_bodies,
        SHOWN,
    )
    return [Delivered(**_shown(row, "answer")) for row in rows]


async def _acts(db: Db, lookup: asyncpg.Record, delivery_ids: Sequence[UUID]) -> list[Act]:
    """Return what people did to the lookup, to its deliveries, and to selections in which it was applied."""
    rows = await db.fetch(
        """
        WITH subject AS MATERIALIZED (
            SELECT id::text
              FROM unnest($1::uuid[]) AS ours (id)
             UNION ALL
            SELECT selections.id::text
              FROM selections
             WHERE selections.id >= $2
               AND EXISTS (SELECT
                             FROM selected
                            WHERE selected.selection_id = selections.id
                              AND selected.item_id = ANY($1::uuid[])
                              AND selected.is_done)
        )
        SELECT at, who, action, subject, detail
          FROM audit
         WHERE id >= $2
           AND subject = ANY (ARRAY(SELECT id FROM subject))
         ORDER BY audit.id DESC
         LIMIT $3
        """,
        [lookup["id"], *delivery_ids],
        first_id(lookup["created_at"] - SLACK),
        MOST_ACTS,
    )
    return [Act(**dict(row) | {"detail": json.loads(row["detail"])}) for row in reversed(rows)]


def _shown(row: Mapping[str, Any] | asyncpg.Record, name: str) -> dict[str, Any]:
    """Return the row with what was sent, in its column *name*, as a Verbatim of its `size`."""
    values = dict(row)
    size, sent = values.pop("size"), values.pop(name)
    text = sent.decode("utf-8", "replace") if isinstance(sent, bytes) else sent
    return values | {name: Verbatim(size, text and text.replace("\0", "\ufffd")) if size is not None else None}
