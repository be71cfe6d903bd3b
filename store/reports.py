"""Read what the API and the console show; nothing here changes a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from store.database import Db
from store.deliveries import deliveries_of
from store.partitions import NEWEST, first_id


async def read_lookups(db: Db, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Return these lookups with their jobs and deliveries, newest first; leave out unknown ids."""
    rows = await db.fetch(
        """
        SELECT lookups.id, lookup_status.status, lookups.mobile, lookups.mobile_raw, lookups.region,
               lookups.line_type, lookups.provider, lookups.source, lookups.record_id, lookups.search_id,
               lookups.reused_from, lookups.reason, lookups.problems, lookups.profile_url, lookups.work_email,
               lookups.personal_email, lookups.name, lookups.company, lookups.created_at, lookups.finished_at
          FROM lookups
          JOIN lookup_status ON lookup_status.id = lookups.id
         WHERE lookups.id = ANY($1::uuid[])
         ORDER BY lookups.id DESC
        """,
        list(ids),
    )
    jobs = await _jobs(db, ids)
    deliveries = await deliveries_of(db, ids)
    return [_shaped(row, jobs.get(row["id"], []), deliveries.get(row["id"], [])) for row in rows]


async def status_of(db: Db, id: UUID) -> str | None:
    """Return the lookup's status, or None if there is no such lookup."""
    status: str | None = await db.fetchval("SELECT status FROM lookup_status WHERE id = $1", id)
    return status


def _shaped(row: asyncpg.Record, jobs: list[dict[str, Any]], deliveries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the lookup as the API shows it, with the credits of its own jobs only: other lookups show theirs."""
    return dict(row) | {
        "problems": [{"path": path, "message": message} for path, message in json.loads(row["problems"] or "[]")],
        "credits": sum((job["credits"] for job in jobs), Decimal(0)),
        "jobs": jobs,
        "deliveries": deliveries,
    }


async def _jobs(db: Db, lookup_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    rows = await db.fetch(
        """
        SELECT lookup_id, id, provider, state::text, answered_by, request_id, credits, possible AS possibly_charged,
               polls, attempt, submitted_at, finished_at, error, raw
          FROM finished_jobs
         WHERE lookup_id = ANY($1::uuid[])
        UNION ALL
        SELECT lookup_id, id, provider, state::text, NULL, request_id, 0, 0,
               polls, attempt, submitted_at, NULL, error, raw
          FROM jobs
         WHERE lookup_id = ANY($1::uuid[])
         ORDER BY id
        """,
        list(lookup_ids),
    )
    found: dict[UUID, list[dict[str, Any]]] = {}
    for row in rows:
        job = dict(row)
        found.setdefault(job.pop("lookup_id"), []).append(job)
    return found


async def list_lookups(
    db: Db, *, status: str | None, record_id: str | None, source: str | None = None, before: UUID | None, limit: int
) -> list[UUID]:
    """Return the ids of up to *limit* lookups older than *before*, of this status, record and source, newest first.

    Each kind of list has its own statement: the planner would make one statement for all read everything.
    """
    older_than = before or NEWEST
    if record_id is not None:
        return await _list_of_record(db, record_id, status, source, older_than, limit)
    if status in CANDIDATES:
        return await _list_open(db, status, source, older_than, limit)
    if source is not None:
        return await _list_of_source(db, source, status, older_than, limit)
    if status is None:
        return await _list_all(db, older_than, limit)
    return await _list_final(db, status, older_than, limit)


async def _list_all(db: Db, before: UUID, limit: int) -> list[UUID]:
    rows = await db.fetch("SELECT id FROM lookups WHERE id < $1 ORDER BY id DESC LIMIT $2", before, limit)
    return [row["id"] for row in rows]


async def _list_final(db: Db, status: str, before: UUID, limit: int) -> list[UUID]:
    """Return lookups with this final status, in the order of the index by status.

    ANY keeps the status as a sort key. Sorted by id alone, the planner would read all newer lookups of other statuses.
    """
    rows = await db.fetch(
        """
        SELECT id
          FROM lookups
         WHERE final_status = ANY (ARRAY[$1::text::final_status])
           AND id < $2
         ORDER BY final_status DESC, id DESC
         LIMIT $3
        """,
        status,
        before,
        limit,
    )
    return [row["id"] for row in rows]


async def _list_of_source(db: Db, source: str, status: str | None, before: UUID, limit: int) -> list[UUID]:
    """Return one source's lookups with this final status, or with any status: the newest of each, put in order."""
    rows = await db.fetch(
        """
        SELECT id
          FROM (SELECT lookup.id
                  FROM unnest(CASE WHEN $2::text IS NULL THEN enum_range(NULL::final_status)
                                   ELSE ARRAY[$2::text::final_status] END) AS wanted (status)
                 CROSS JOIN LATERAL (
                       SELECT id
                         FROM lookups
                        WHERE source = $1
                          AND final_status = ANY (ARRAY[wanted.status])
                          AND id < $3
                        ORDER BY source DESC, final_status DESC, id DESC
                        LIMIT $4) AS lookup
                UNION ALL
               (SELECT id
                  FROM lookups
                 WHERE source = $1
                   AND final_status IS NULL
                   AND $2::text IS NULL
                   AND id < $3
                 ORDER BY source DESC, final_status DESC, id DESC
                 LIMIT $4)) AS lookup
         ORDER BY id DESC
         LIMIT $4
        """,
        source,
        status,
        before,
        limit,
    )
    return [row["id"] for row in rows]


async def _list_of_record(
    db: Db, record_id: str, status: str | None, source: str | None, before: UUID, limit: int
) -> list[UUID]:
    """Return one record's lookups with this status. A record has few lookups, so all of them are read."""
    rows = await db.fetch(
        """
        SELECT lookups.id
          FROM lookups
          LEFT JOIN lookup_status ON lookup_status.id = lookups.id AND $2::text IS NOT NULL
         WHERE lookups.record_id = $1
           AND ($2::text IS NULL OR lookup_status.status = $2)
           AND ($5::text IS NULL OR lookups.source = $5)
           AND lookups.id < $3
         ORDER BY lookups.id DESC
         LIMIT $4
        """,
        record_id,
        status,
        before,
        limit,
        source,
    )
    return [row["id"] for row in rows]


async def _list_open(db: Db, status: str, source: str | None, before: UUID, limit: int) -> list[UUID]:
    """Return open lookups with this status: read candidates from the open jobs, not the history, and check each."""
    found: dict[UUID, None] = {}
    while len(found) < limit:
        candidates = [*await CANDIDATES[status](db, before, limit), *await _joined(db, before, limit)]
        rows = sorted(candidates, key=lambda row: row["id"], reverse=True)[:limit]
        wanted = [row["id"] for row in rows if row["status"] == status]
        found |= dict.fromkeys(wanted if source is None else await _of_source(db, wanted, source))
        if len(rows) < limit:
            break
        before = rows[-1]["id"]
    return list(found)[:limit]


async def _of_source(db: Db, ids: Sequence[UUID], source: str) -> list[UUID]:
    """Return those of these lookups that are of this source, newest first."""
    rows = await db.fetch(
        "SELECT id FROM lookups WHERE id = ANY($1::uuid[]) AND source = $2 ORDER BY id DESC",
        ids,
        source,
    )
    return [row["id"] for row in rows]


async def _queued(db: Db, before: UUID, limit: int) -> list[asyncpg.Record]:
    """Return the newest lookups whose search has asked no provider yet."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT candidate.id, (SELECT status FROM lookup_status WHERE lookup_status.id = candidate.id) AS status
          FROM (SELECT lookup_id AS id
                  FROM jobs
                 WHERE state = 'queued' AND held IS NULL AND tries = 0 AND place = 0 AND attempt = 0
                   AND lookup_id < $1
                 ORDER BY lookup_id DESC
                 LIMIT $2) AS candidate
         ORDER BY id DESC
        """,
        before,
        limit,
    )
    return rows


async def _running(db: Db, before: UUID, limit: int) -> list[asyncpg.Record]:
    """Return the newest lookups whose search has a question under way, or has asked one before."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT candidate.id, (SELECT status FROM lookup_status WHERE lookup_status.id = candidate.id) AS status
          FROM ((SELECT lookup_id AS id
                   FROM jobs
                  WHERE state = 'submitting'
                    AND lookup_id < $1
                  ORDER BY lookup_id DESC
                  LIMIT $2)
                UNION ALL
                (SELECT lookup_id
                   FROM jobs
                  WHERE state = 'awaiting'
                    AND lookup_id < $1
                  ORDER BY lookup_id DESC
                  LIMIT $2)
                UNION ALL
                (SELECT lookup_id
                   FROM jobs
                  WHERE state = 'queued' AND held IS NULL AND (place > 0 OR attempt > 0)
                    AND lookup_id < $1
                  ORDER BY lookup_id DESC
                  LIMIT $2)
                 ORDER BY id DESC
                 LIMIT $2) AS candidate
         ORDER BY id DESC
        """,
        before,
        limit,
    )
    return rows


async def _held(db: Db, before: UUID, limit: int) -> list[asyncpg.Record]:
    """Return the newest lookups that wait for budget or for a paused provider."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT candidate.id, (SELECT status FROM lookup_status WHERE lookup_status.id = candidate.id) AS status
          FROM (SELECT lookup_id AS id
                  FROM jobs
                 WHERE held IS NOT NULL
                   AND lookup_id < $1
                 ORDER BY lookup_id DESC
                 LIMIT $2) AS candidate
         ORDER BY id DESC
        """,
        before,
        limit,
    )
    return rows


async def _joined(db: Db, before: UUID, limit: int) -> list[asyncpg.Record]:
    """Return the newest open lookups that wait for another lookup's search, or to be decided after a retry."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT candidate.id, (SELECT status FROM lookup_status WHERE lookup_status.id = candidate.id) AS status
          FROM (SELECT id
                  FROM lookups
                 WHERE (reused_from IS NOT NULL OR insists) AND final_status IS NULL
                   AND id < $1
                 ORDER BY id DESC
                 LIMIT $2) AS candidate
         ORDER BY id DESC
        """,
        before,
        limit,
    )
    return rows


# Each part of these statements uses an index, or reads from the newest on, whichever the planner finds cheaper.
# Whether a late answer ended a lookup while its job runs is checked for the candidates of one page only.
CANDIDATES = {"queued": _queued, "running": _running, "held": _held}


async def usage_by_day(db: Db, since: date) -> list[asyncpg.Record]:
    """Return the credits by provider, source and UTC day, newest day first."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT provider, source, day,
               sum(reserved) AS reserved, sum(charged) AS charged, sum(possible) AS possibly_charged
          FROM usage
         WHERE day >= $1
         GROUP BY provider, source, day
         ORDER BY day DESC, provider, source
        """,
        since,
    )
    return rows


async def outstanding(db: Db) -> list[asyncpg.Record]:
    """Return the open jobs by provider and state, with the age of the oldest, for `ringback status`."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT provider, COALESCE('held: ' || held, state::text) AS state, count(*) AS jobs,
               now() - min(COALESCE(submitted_at, due_at)) AS oldest
          FROM jobs
         GROUP BY 1, 2
         ORDER BY 1, 2
        """
    )
    return rows


async def provider_states(db: Db) -> list[asyncpg.Record]:
    """Return each provider's pause, rest and breaker."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT name, paused_reason, paused_at, check_at, rest_until, open_until, failures
          FROM providers
         ORDER BY name
        """
    )
    return rows


async def connections(db: Db) -> list[asyncpg.Record]:
    """Return each connected CRM, how far behind its sweeps are, and what went wrong last."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT crm, account, connected_at, GREATEST(now() - swept_to, interval '0') AS behind, error
          FROM connections
         ORDER BY crm
        """
    )
    return rows


async def lookups_by_status(db: Db, since: datetime) -> list[asyncpg.Record]:
    """Count by status the lookups created since then."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT COALESCE(final_status::text, 'open') AS status, count(*) AS lookups
          FROM lookups
         WHERE id >= $1   -- an id tells when it was made, and in which month it lies
         GROUP BY 1
         ORDER BY 1
        """,
        first_id(since),
    )
    return rows


async def standing_campaigns(db: Db) -> list[asyncpg.Record]:
    """Return campaigns that are under way for an hour and have no question under way, for `ringback doctor`."""
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT id, state::text, who, is_uploaded, COALESCE(approved_at, read_at, created_at) AS since
          FROM campaigns
         WHERE state IN ('reading', 'sampling', 'running')
           AND begun = ended
           AND COALESCE(approved_at, read_at, created_at) < now() - interval '1 hour'
         ORDER BY id
        """
    )
    return rows


async def has_deadlines(db: Db) -> bool:
    """Tell whether the server ends a statement that hangs."""
    bound: bool = await db.fetchval("SELECT current_setting('statement_timeout') <> '0'")
    return bound
